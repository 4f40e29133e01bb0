import { limits } from '../base/limits.ts';
import { volumeName } from '../base/names.ts';
import { type Command, mayPrintSecret, parseCommandLine } from './command.ts';

const DEFAULT_SOCKET = '/run/fetch-luks-key/default.sock';

export const requestCommand: Command = {
  name: 'request',
  summary: 'ask the socket for a volume, exactly as systemd does',
  help: `usage: fetch-luks-key request VOLUME [--socket PATH] [--output -] [--json]

Connects to the socket as systemd-cryptsetup does, asks for VOLUME's key and
says how many bytes came and how long it took. A refused request is answered
with ${limits.volumeRefusalBytes} random bytes, so that nothing is learnt from it here: the
journal has the reason (journalctl -t fetch-luks-key).

  --socket PATH   default ${DEFAULT_SOCKET}
  --output -      write the answer's bytes to standard output, and nothing else
  --json          print {"volume": ..., "outcome": ..., "bytes": ...,
                  "milliseconds": ...}

example:
  fetch-luks-key request data --output - |
    cryptsetup open --test-passphrase --key-file=- /dev/sdb1
`,

  async run(args, world) {
    const { values, positionals } = parseCommandLine(
      'request',
      args,
      {
        socket: { type: 'string', default: DEFAULT_SOCKET },
        output: { type: 'string' },
        json: { type: 'boolean' },
      },
      ['VOLUME'],
    );
    const volume = volumeName(positionals[0] ?? '');
    if (values.output !== undefined) mayPrintSecret(world, values.output, 'request');
    // systemd's own form: a random 64-bit number in hex, not padded (src/cryptsetup/cryptsetup.c).
    const hex = world.random.bytes(8).readBigUInt64BE().toString(16);
    const startMs = world.clock.nowMs();
    const answer = await world.askSocket(
      values.socket,
      Buffer.from(`\0${hex}/cryptsetup/${volume}`),
      limits.keyBytes,
    );
    const milliseconds = Math.round(world.clock.nowMs() - startMs);
    const outcome = answer.length === 0 ? 'nothing' : 'answered';
    if (values.output !== undefined) world.print(answer);
    else if (values.json)
      world.print(`${JSON.stringify({ volume, outcome, bytes: answer.length, milliseconds })}\n`);
    else
      world.print(
        `${volume}: ${outcome === 'nothing' ? 'no answer' : 'answered'}, ${answer.length} bytes in ${milliseconds} ms\n`,
      );
    if (values.output === undefined && answer.length === limits.volumeRefusalBytes) {
      world.say(
        `${answer.length} bytes are also what a refusal looks like: see journalctl -t fetch-luks-key`,
      );
    }
    answer.fill(0);
    return outcome === 'nothing' ? 4 : 0;
  },
};
