import { execFileSync } from 'node:child_process';
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import type { Test } from 'tap';
import { Secret } from '../../src/base/secret.ts';
import { check } from '../../src/cli/checking.ts';
import { fromCheck } from '../../src/cli/doctor.ts';
import { credentialAddress } from '../../src/credentials/address.ts';
import { dropInFor, ownProcessSocket } from '../../src/credentials/drop-in.ts';
import { credentialsBySystemd } from '../../src/creds/credentials.ts';
import { diagnose } from '../../src/doctor/doctor.ts';
import { type Finding, sorted } from '../../src/doctor/finding.ts';
import { type DoctorWorld, gather } from '../../src/doctor/gather.ts';
import { commitmentLine, commitTo } from '../../src/luks/commitment.ts';
import { lastKeptAliveMs, leftProof } from '../../src/os/alive-files.ts';
import { bootId } from '../../src/os/boot-id.ts';
import { files } from '../../src/os/files.ts';
import { http } from '../../src/os/http.ts';
import { localService } from '../../src/os/local-service.ts';
import { locksIn } from '../../src/os/locks.ts';
import { memoryFiles } from '../../src/os/memory-files.ts';
import { runner } from '../../src/os/processes.ts';
import { random } from '../../src/os/random.ts';
import { makeScratchFolder } from '../../src/os/scratch-folder.ts';
import { serverConnector } from '../../src/os/server-connection.ts';
import { parsecAt } from '../../src/parsec/parsec.ts';
import { readIdentityFile } from '../../src/remote/identity-file.ts';
import { tpmLookByTools } from '../../src/tpm/look.ts';
import { tpmByTools } from '../../src/tpm/tpm.ts';
import { addToken, clevisToken, copyImage, type Image, uuidOf } from './luks.ts';

/** Of the volume that each machine begins with. */
export const KEY = 'a key that nobody can guess: 4cFh2Lwz';
const OUR_UNITS = new URL('../../units/', import.meta.url).pathname;
const SOCKET = '/run/fetch-luks-key/default.sock';

/** A machine in a folder, for the doctor to look at: right, until a test breaks it. */
export class Patient {
  readonly folder: string;
  readonly etc: string;
  readonly units: string;
  /** Of its TPM. */
  tcti: string;
  readonly #overrides: Partial<DoctorWorld> = {};

  constructor(t: Test, tcti: string) {
    this.folder = mkdtempSync(join(tmpdir(), 'patient-'));
    t.teardown(() => rmSync(this.folder, { recursive: true }));
    this.etc = `${this.folder}/etc`;
    this.units = `${this.folder}/units`;
    this.tcti = tcti;
    for (const name of [
      'fetch-luks-key@.socket',
      'fetch-luks-key@.service',
      'fetch-luks-key-keepalive.service',
      'fetch-luks-key-act@.path',
      'fetch-luks-key-act@.service',
      'fetch-luks-key-credential@.socket',
      'fetch-luks-key-credential@.service',
    ]) {
      // The package is not installed where the tests run.
      this.unit(
        name,
        readFileSync(OUR_UNITS + name, 'utf8').replaceAll('/usr/bin/fetch-luks-key', '/bin/true'),
      );
    }
    this.enable('fetch-luks-key@default.socket', 'sysinit.target');
    this.enable('fetch-luks-key-keepalive.service', 'multi-user.target');
    this.enable('remote-cryptsetup.target', 'multi-user.target');
    this.write('etc/volumes/.keep', '');
    rmSync(`${this.etc}/volumes/.keep`);
  }

  write(path: string, text: string): void {
    const file = join(this.folder, path);
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, text.replaceAll('@FOLDER', this.folder));
    chmodSync(file, 0o644);
  }

  remove(path: string): void {
    rmSync(join(this.folder, path), { recursive: true });
  }

  unit(name: string, text: string): void {
    this.write(`units/${name}`, text);
  }

  /** Changes one of our units, in the place where it overrides the package's. */
  changed(name: string, change: (text: string) => string): void {
    const text = readFileSync(`${this.units}/${name}`, 'utf8');
    const other = change(text);
    if (other === text) throw new Error(`nothing of ${name} was changed`);
    this.unit(name, other);
  }

  dropIn(unit: string, text: string): void {
    this.unit(`${unit}.d/test.conf`, text);
  }

  enable(unit: string, target: string): void {
    mkdirSync(`${this.units}/${target}.wants`, { recursive: true });
    symlinkSync(`../${unit.replace(/@.*(?=\.)/, '@')}`, `${this.units}/${target}.wants/${unit}`);
  }

  disable(unit: string, target: string): void {
    rmSync(`${this.units}/${target}.wants/${unit}`);
  }

  mask(unit: string): void {
    rmSync(`${this.units}/${unit}`, { force: true });
    symlinkSync('/dev/null', `${this.units}/${unit}`);
  }

  /**
   * A volume as `enroll` leaves it.
   * @param source an image to copy
   * @param jwe its sealed key; null: no token
   */
  volume(name: string, source: Image, jwe: string | null, options = 'luks'): Image {
    const path = `${this.folder}/${name}.img`;
    copyImage(source.path, path);
    if (jwe !== null) addToken({ path, keyFile: source.keyFile }, clevisToken(['1'], jwe));
    using key = new Secret(Buffer.from(KEY));
    this.write(`etc/commitments/${name}`, `${commitmentLine(commitTo(key, name, uuidOf(path)))}\n`);
    this.line(`${name} ${path} ${SOCKET} ${options}`);
    return { path, keyFile: source.keyFile };
  }

  /** A service with a secret of its own, as `seal` and `credential install` leave it. @param sealed null: there is none */
  service(unit: string, credential: string, sealed: string | null): void {
    this.unit(unit, '[Service]\nExecStart=/bin/true\n');
    const { text, path } = dropInFor(credentialAddress(`${unit}/${credential}`), 'plain', ownProcessSocket);
    this.unit(path.replace(/^.*\/(?=[^/]+\/[^/]+$)/, ''), text);
    if (sealed !== null) this.write(`etc/credentials/${unit}/${credential}.jwe`, sealed);
  }

  line(text: string): void {
    let before = '';
    try {
      before = readFileSync(`${this.folder}/crypttab`, 'utf8');
    } catch {
      // The first line.
    }
    this.write('crypttab', `${before}${text}\n`);
  }

  /** @param options of the volume's line instead */
  options(volume: string, options: string): void {
    const lines = readFileSync(`${this.folder}/crypttab`, 'utf8');
    this.write('crypttab', lines.replace(new RegExp(`^(${volume} \\S+ \\S+) .*$`, 'm'), `$1 ${options}`));
  }

  config(text: string): void {
    this.write('etc/config.yaml', text);
  }

  but(overrides: Partial<DoctorWorld>): void {
    Object.assign(this.#overrides, overrides);
  }

  world(): DoctorWorld {
    const locks = locksIn(this.folder);
    const parsec = parsecAt(
      localService(() => `${this.folder}/parsec.sock`),
      0,
    );
    const tpm = tpmByTools({ runner, memoryFiles, locks, files }, { tcti: this.tcti });
    const protection = { files, http, random, tpm, parsec, credentials: credentialsBySystemd(runner) };
    return {
      files,
      runner,
      memoryFiles,
      http,
      scratchFolder: makeScratchFolder,
      unitFolders: [this.units, `${this.folder}/run-units`, '/usr/lib/systemd/system'],
      tpmLook: tpmLookByTools({ runner, memoryFiles, locks, files }, { tcti: this.tcti }),
      nowUnixMs: Date.now,
      parsec,
      lastKeptAliveMs,
      serverWorld: {
        connector: serverConnector,
        bootId,
        leftProof,
        async identity(path, signal) {
          const { certificate, key } = await readIdentityFile(path, protection, signal);
          return { clientCertificate: certificate, clientKey: key };
        },
      },
      ...this.#overrides,
    };
  }

  async findings(): Promise<Finding[]> {
    const places = { etc: this.etc, crypttab: `${this.folder}/crypttab` };
    const signal = new AbortController().signal;
    return sorted([
      ...fromCheck(await check(files, places.etc, places.crypttab), places.etc),
      ...diagnose(await gather(places, `${this.folder}/fstab`, this.world(), signal)),
    ]);
  }
}

/**
 * An image with a passphrase in keyslot 0, derived as slowly as one should be, here for fun only, and `KEY` in keyslot
 * 1, as `enroll` makes it.
 */
export function enrolledImage(folder: string): Image {
  const image = { path: `${folder}/enrolled.img`, keyFile: `${folder}/enrolled.pass` };
  writeFileSync(image.keyFile, 'correct horse');
  writeFileSync(`${folder}/enrolled.key`, KEY);
  execFileSync('truncate', ['--size=20M', image.path]);
  const quick = (iterations: number) => ['--pbkdf', 'pbkdf2', '--pbkdf-force-iterations', String(iterations)];
  const format = ['luksFormat', '-q', '--type', 'luks2', '--disable-locks', ...quick(2000)];
  execFileSync('cryptsetup', [...format, image.path, image.keyFile]);
  const add = ['luksAddKey', '-q', '--disable-locks', ...quick(1000), '--key-file', image.keyFile];
  execFileSync('cryptsetup', [...add, image.path, `${folder}/enrolled.key`]);
  return image;
}
