import { AppError } from '../base/errors.ts';
import { limits } from '../base/limits.ts';
import { credentialAddress } from '../credentials/address.ts';
import { type Command, etcOption, parseCommandLine } from './command.ts';
import { parsePinConfig } from './pin-config.ts';
import { sealAs } from './sealing.ts';
import { storeSecret } from './stored-secret.ts';
import { knowingPins, pinFile, pinFileOption } from './tpm-pin.ts';

export const sealCommand: Command = {
  name: 'seal',
  summary: 'seal a secret from standard input: prints the sealed key',
  help: `usage: fetch-luks-key seal PIN CONFIG [-y] [--json] [--etc DIR]
                           < SECRET > SEALED-KEY
       fetch-luks-key seal --credential UNIT/ID [--encrypted] PIN CONFIG [-y]
                           [--json] [--etc DIR] < SECRET

Seals standard input to a policy, in the calling convention and the format of
'clevis encrypt'. All of standard input is the secret: a final newline counts.

  PIN      tpm2, tang, remote, systemd-creds, parsec or sss
  CONFIG   the pin's configuration, JSON; for

    tpm2   {"pcr_bank": "sha256", "pcr_ids": "7", "pcr_digest": BASE64URL}
           All optional: else it is bank sha256, PCR 7 and the value that it has
           now; "pcr_ids": "" is this TPM in any state. {"clevis": true} seals
           as Clevis does, for 'clevis decrypt': to no PCR unless one is given,
           and under a parent key of "hash" (sha256) and "key" (ecc or rsa).
           {"with_pin": true} is to a PIN alone, which is asked for.
    tang   {"url": URL, "thp": THUMBPRINT, "adv": FILE-OR-OBJECT}
           With neither thp nor adv the thumbprints are shown, and you decide.
    remote {"server": NAME, "crv": "P-256"}
           A key server that this machine has joined; P-521 on request.
    systemd-creds {"with-key": "host+tpm2", "tpm2-pcrs": "7+11",
            "name": NAME, "not-after": TIME}
           Systemd's encrypted credential around the key; all optional.
    parsec {"provider": "tpm"}
           A key in the Parsec service, of its first provider that keeps keys in
           a TPM or HSM; or pkcs11, mbed-crypto (a key on the same disk).
    sss    {"t": K, "pins": {PIN: CONFIG-OR-LIST, ...}}
           K of the pins are needed to open it; without t, one.

  --credential UNIT/ID
               keep it as the secret of a service: DIR/credentials/UNIT/ID.jwe,
               in place of the one before; for foo@.service also that of its
               instances
  --encrypted  as systemd's encrypted credential of this host, which systemd
               itself authenticates, for 'credential install --encrypted'
  --tpm2-pin-file FILE
               the PIN, without the newline at its end; default: you are asked
  -y, --yes    trust a Tang server's keys without being asked
      --json   print {"sealed-key" or "credential" and "path", "pin"}
      --etc DIR  default /etc/fetch-luks-key: its config.yaml names key servers

example:
  umask 077
  head -c 64 /dev/urandom | base64 -w0 > /run/key
  fetch-luks-key seal sss '{"t": 2, "pins": {"tpm2": {},
    "tang": {"url": "http://tang.example"}}}' \\
    < /run/key > /etc/fetch-luks-key/volumes/data.jwe
`,

  async run(args, base) {
    const { values, positionals } = parseCommandLine(
      'seal',
      args,
      {
        credential: { type: 'string' },
        encrypted: { type: 'boolean' },
        yes: { type: 'boolean', short: 'y' },
        json: { type: 'boolean' },
        ...etcOption,
        ...pinFileOption,
      },
      ['PIN', 'CONFIG'],
    );
    const world = knowingPins(base, { toSeal: pinFile(values['tpm2-pin-file']) });
    const [pin = '', configText = ''] = positionals;
    const config = parsePinConfig('seal', configText);
    const address = values.credential === undefined ? null : credentialAddress(values.credential);
    if (values.encrypted && address === null) {
      throw new AppError('usage', 'seal: --encrypted: expected --credential UNIT/ID beside it');
    }
    const most = address === null ? limits.keyBytes : limits.credentialBytes;
    using secret = await world.readStandardInput(most);
    if (secret.length === 0) {
      const why = address === null ? ', and would be the empty passphrase' : '';
      throw new AppError('usage', `seal: standard input is empty${why}`, {
        hint: "for example: fetch-luks-key seal tpm2 '{}' < KEYFILE",
      });
    }
    const trusting = values.yes ?? false;
    if (address !== null) {
      const form = values.encrypted ? 'encrypted' : 'plain';
      const place = { etc: values.etc, address, form } as const;
      const record = { pin, config: config as object };
      const path = await storeSecret('seal', place, record, secret, null, trusting, world);
      if (values.json) world.print(`${JSON.stringify({ credential: values.credential, path, pin })}\n`);
      else world.say(`wrote ${path}`);
      return 0;
    }
    const sealedKey = await sealAs('seal', { pin, config, etc: values.etc, trusting }, secret, world);
    // `clevis decrypt` ends with status 1 when a newline follows, although it has opened it.
    const newline = world.standardOutputIsTerminal() ? '\n' : '';
    world.print(values.json ? `${JSON.stringify({ 'sealed-key': sealedKey, pin })}\n` : sealedKey + newline);
    return 0;
  },
};
