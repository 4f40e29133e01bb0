import { AppError } from '../base/errors.ts';
import { type Command, etcOption, parseCommandLine } from './command.ts';
import { setUpJournal } from './journal-setup.ts';
import { journalStatus } from './journal-status.ts';
import { verifyByKey } from './journal-verify.ts';
import { knowingPins, oldAndNew, pinFileOption } from './tpm-pin.ts';

export const journalCommand: Command = {
  name: 'journal',
  summary: 'seal the journal, so that what is changed later shows',
  help: `usage: fetch-luks-key journal setup PIN CONFIG [-y] [--interval TIME]
                              [--json] [--etc DIR]
       fetch-luks-key journal verify [--key-id ID] [--json] [--etc DIR]
       fetch-luks-key journal status [--json] [--etc DIR]

journald's Forward Secure Sealing: who takes the machine over can still write
to the journal, but not change what it had written before without being found.

  setup      make both keys. The sealing key stays where journald changes it
             with each interval; the verification key is sealed to a policy, as
             by 'seal PIN CONFIG', in DIR/journal, and never shown. Its id is
             told to all key servers that this machine has joined
  verify     open the verification key and have journalctl verify all files;
             the key is in no argument that others see
  status     whether journald seals, since when, what opens the verification
             key, the last verify

  --interval TIME  with which the sealing key changes: what is younger can
               still be changed; default 15m
  --key-id ID  refuse any other verification key: ID as setup printed it, or as
               a key server's audit log has it
  --tpm2-pin-file FILE
               the PIN of the TPM's key; default: you are asked
  -y, --yes    trust a Tang server's keys without being asked
      --json   print {"key-id", "since", "verified", ...}
      --etc DIR  default /etc/fetch-luks-key

exit status of verify: 0, or 6 when a file is not what journald wrote

example:
  fetch-luks-key journal setup sss '{"t": 2, "pins": {"tpm2": {},
    "tang": {"url": "http://tang.example"}}}'
  fetch-luks-key journal verify
To keep the verification key elsewhere too, on paper or in a telephone:
  fetch-luks-key open /etc/fetch-luks-key/journal/verification-key.jwe |
    qrencode -t UTF8
`,

  async run(args, base) {
    const { values, positionals } = parseCommandLine(
      'journal',
      args,
      {
        interval: { type: 'string' },
        'key-id': { type: 'string' },
        yes: { type: 'boolean', short: 'y' },
        json: { type: 'boolean' },
        ...etcOption,
        ...pinFileOption,
      },
      ['ACTION', '[PIN]', '[CONFIG]'],
    );
    const [action, pin, config] = positionals;
    const { etc, interval, json = false, yes: trusting = false, 'key-id': keyId } = values;
    const world = knowingPins(base, oldAndNew(values));
    const isSetup = action === 'setup' && pin !== undefined && config !== undefined && keyId === undefined;
    if (isSetup) return await setUpJournal({ pin, config, etc, trusting }, interval, json, world);
    if (pin === undefined && interval === undefined && !trusting) {
      if (action === 'verify') return await verifyByKey(etc, keyId, json, world);
      if (action === 'status' && keyId === undefined) return await journalStatus(etc, json, world);
    }
    throw new AppError('usage', 'journal: expected setup PIN CONFIG, verify, or status', {
      hint: 'see fetch-luks-key journal --help',
    });
  },
};
