import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import type { Test } from 'tap';
import { type Ended, fetchLuksKey } from './command-line.ts';
import { dumpJson, type Image, makeImage, opens, PASSPHRASE } from './luks.ts';
import { type Stage, setStage } from './stage.ts';
import { ownFolder } from './tpm.ts';

/** A machine with one LUKS2 image, `data` in its crypttab, and a real socket that serves it. */
export interface Machine extends Stage {
  readonly image: Image;
  /**
   * Runs `fetch-luks-key NAME data ARGS` there. What it says of its progress depends on how busy this machine is, and
   * is left out. @param input the passphrase, on standard input
   */
  command(name: string, args?: readonly string[], input?: string): Promise<Ended>;
  /** With `--json`; throws when it fails. */
  json(name: string, args?: readonly string[], input?: string): Promise<Record<string, unknown>>;
  /** What the socket answers is a key of the image. */
  opensBySocket(): Promise<boolean>;
  /** Keyslots, tokens, and what is left under etc: `keyslots 0,1 tokens 0 enrolled 1 unfinished no`. */
  state(): string;
}

/** @param environment for the handler and for commands: TPM2TOOLS_TCTI */
export async function machineWith(
  t: Test,
  environment: Record<string, string> = {},
  imageOptions: readonly string[] = [],
): Promise<Machine> {
  const stage = await setStage(t, { environment });
  const folder = ownFolder(t);
  const image = makeImage(folder, 'image', imageOptions);
  writeFileSync(stage.crypttab, `# disks\n\ndata ${image.path} none luks # ours\n`);
  const lock = `/run/fetch-luks-key/enroll${stage.crypttab.replaceAll('/', '-')}.lock`;
  t.teardown(() => rmSync(lock, { force: true }));
  const command: Machine['command'] = async (name, args = [], input = PASSPHRASE) => {
    const places = ['--etc', stage.etc, '--crypttab', stage.crypttab];
    const socket = takesSocket(name) ? ['--socket', stage.path] : [];
    const all = [name, 'data', ...places, ...socket, ...args];
    const { stderr, ...ended } = await fetchLuksKey(all, input, environment);
    return { ...ended, stderr: stderr.replaceAll(/^.* …\n/gm, '') };
  };
  const enrolled = () => {
    const path = `${stage.etc}/enrolled/data.json`;
    return existsSync(path) ? JSON.parse(readFileSync(path, 'utf8')).length : 0;
  };
  return {
    ...stage,
    image,
    command,
    async json(name, args = [], input) {
      const { status, stdout, stderr } = await command(name, ['--json', ...args], input);
      if (status !== 0) throw new Error(stderr);
      return JSON.parse(stdout);
    },
    opensBySocket: async () => opens(image.path, await stage.ask('data')),
    state() {
      const { keyslots = {}, tokens = {} } = dumpJson(image.path) ?? {};
      const unfinished = existsSync(`${stage.etc}/unfinished/data.json`) ? 'yes' : 'no';
      const ids = (of: object) => Object.keys(of).join(',') || 'none';
      return `keyslots ${ids(keyslots)} tokens ${ids(tokens)} enrolled ${enrolled()} unfinished ${unfinished}`;
    },
  };
}

/** A passphrase on standard input. */
export const BY_STDIN = ['--unlock-key-file', '-'];

/** The commands that may have crypttab name another socket than the default one. */
export const takesSocket = (command: string) => command === 'enroll' || command === 'adopt';
