import { AppError } from '../base/errors.ts';
import { limits } from '../base/limits.ts';
import { seal } from '../pins/table.ts';
import { type Command, parseCommandLine } from './command.ts';

export const sealCommand: Command = {
  name: 'seal',
  summary: 'seal a secret from standard input: prints the sealed key',
  help: `usage: fetch-luks-key seal PIN CONFIG [-y] < SECRET > SEALED-KEY

Seals standard input to a policy, in the calling convention and the format of
'clevis encrypt'. All of standard input is the secret: a final newline counts.

  PIN      tpm2, tang or sss
  CONFIG   the pin's configuration, JSON:
           tpm2  {"pcr_bank": "sha256", "pcr_ids": "7", "hash": "sha256",
                  "pcr_digest": BASE64URL, "key": "ecc", "clevis": false}
                 all optional; "clevis": true seals the way that Clevis does,
                 for 'clevis decrypt'
           tang  {"url": URL, "thp": THUMBPRINT, "adv": FILE-OR-OBJECT}
           sss   {"t": K, "pins": {PIN: CONFIG-OR-LIST, ...}}
  -y, --yes    trust a Tang server's keys without asking
      --json   print {"sealed-key": ..., "pin": ...}

example:
  head -c 64 /dev/urandom | base64 -w0 > /run/key
  fetch-luks-key seal sss '{"t":2,"pins":{"tpm2":{"pcr_ids":"7"},
    "tang":{"url":"http://tang.example","thp":"kZ..."}}}' \\
    < /run/key > /etc/fetch-luks-key/volumes/data.jwe
`,

  async run(args, world) {
    const { values, positionals } = parseCommandLine(
      'seal',
      args,
      { yes: { type: 'boolean', short: 'y' }, json: { type: 'boolean' } },
      ['PIN', 'CONFIG'],
    );
    const [pin = '', configText = ''] = positionals;
    const config = parseConfig(configText);
    using secret = await world.readStandardInput(limits.keyBytes);
    if (secret.length === 0) {
      throw new AppError(
        'usage',
        'seal: standard input is empty: an empty secret would be the empty passphrase',
        {
          hint: 'pipe the secret in, for example: fetch-luks-key seal tpm2 {} < keyfile',
        },
      );
    }
    const confirm = values.yes ? async () => {} : world.confirm;
    const sealedKey = await seal(pin, config, secret, { ...world, confirm });
    world.print(`${values.json ? JSON.stringify({ 'sealed-key': sealedKey, pin }) : sealedKey}\n`);
    return 0;
  },
};

function parseConfig(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new AppError(
      'bad-config',
      `seal: CONFIG: expected JSON, got ${text === '' ? 'nothing' : text} (${reason})`,
      {
        cause,
        hint: "quote it for the shell: fetch-luks-key seal tpm2 '{}'",
      },
    );
  }
}
