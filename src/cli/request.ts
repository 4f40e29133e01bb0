import { AppError } from '../base/errors.ts';
import { limits } from '../base/limits.ts';
import { volumeName } from '../base/names.ts';
import { type Command, checkOutput, outputOptions, parseCommandLine } from './command.ts';

export const DEFAULT_SOCKET = '/run/fetch-luks-key/default.sock';

export const requestCommand: Command = {
  name: 'request',
  summary: 'ask the socket for a volume, exactly as systemd does',
  help: `usage: fetch-luks-key request VOLUME [--socket PATH] [--output - | --json]

Connects to the socket as systemd-cryptsetup does, asks for VOLUME's key, and
says how many bytes came and how long it took. A refusal is ${limits.volumeRefusalBytes} random bytes,
which could be a key, for all that shows here: the journal knows
(journalctl -t fetch-luks-key).

  --socket PATH   default ${DEFAULT_SOCKET}
  --output -      write the bytes that came to standard output, nothing else
  --json          print {"volume": ..., "outcome": "answered" or "nothing",
                  "bytes": ..., "milliseconds": ...}

exit status: 0 bytes came, 4 none came or asking is not permitted, 5 nobody
listens

example:
  fetch-luks-key request data --output - |
    cryptsetup open --test-passphrase --token-type none --key-file=- /dev/sdb1
`,

  async run(args, world) {
    const options = { ...outputOptions, socket: { type: 'string', default: DEFAULT_SOCKET } } as const;
    const { values, positionals } = parseCommandLine('request', args, options, ['VOLUME']);
    checkOutput('request', values);
    const volume = volumeName(positionals[0] ?? '');
    // systemd's own form: a random 64-bit number in hex, not padded (src/cryptsetup/cryptsetup.c).
    const hex = world.random.bytes(8).readBigUInt64BE().toString(16);
    const address = Buffer.from(`\0${hex}/cryptsetup/${volume}`);
    const startMs = world.clock.nowMs();
    const answer = await world.askSocket(values.socket, address, limits.keyBytes).catch(withHint);
    const milliseconds = Math.round(world.clock.nowMs() - startMs);
    const bytes = answer.length;
    const outcome = bytes === 0 ? 'nothing' : 'answered';
    if (values.output !== undefined) world.print(answer);
    else if (values.json) world.print(`${JSON.stringify({ volume, outcome, bytes, milliseconds })}\n`);
    else world.print(`${volume}: ${outcome}, ${bytes} bytes in ${milliseconds} ms\n`);
    answer.fill(0);
    if (bytes === 0 || bytes === limits.volumeRefusalBytes) {
      const reading = bytes === 0 ? 'no bytes came' : `${bytes} bytes are what a refusal has too`;
      world.say(`fetch-luks-key: ${volume}: ${reading} (hint: journalctl -t fetch-luks-key says why)`);
    }
    return bytes === 0 ? 4 : 0;
  },
};

function withHint(thrown: unknown): never {
  if (!(thrown instanceof AppError)) throw thrown;
  const { code, message, hint } = thrown;
  const hints: Partial<Record<typeof code, string>> = {
    unavailable: 'is it started? systemctl start fetch-luks-key@default.socket',
    refused: 'keys are for root alone',
  };
  throw new AppError(code, message, { hint: hint ?? hints[code], cause: thrown });
}
