import { mkdirSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { seal } from '../../test/support/sealing.ts';
import { outputOf } from './command.ts';
import type { GuestFile } from './guest.ts';

const PORT = 7500;
const KEYS = '/etc/boot-test-tang';
const TANGD = '/usr/libexec/tangd';

/** A Tang server inside the guest, on its own loopback: a container has no other network. */
export interface InnerTang {
  /** In the guest. */
  readonly url: string;
  /** A sealed key that this server opens. */
  seal(secret: string): Promise<string>;
  /** The server's keys and its unit. @param startsAfterSeconds how late it listens; null = never */
  files(startsAfterSeconds: number | null): Readonly<Record<string, GuestFile>>;
}

/** The unit's name; it is to be enabled. */
export const TANG_UNIT = 'boot-test-tang.service';

/** @param folder for the server's keys */
export function innerTang(folder: string): InnerTang {
  const database = join(folder, 'tang');
  mkdirSync(database);
  outputOf('making keys of a Tang server', ['/usr/libexec/tangd-keygen', database]);
  const url = `http://127.0.0.1:${PORT}`;
  return {
    url,
    seal: (secret) => seal('tang', { url, adv: advertisement(database) }, secret),
    files: (startsAfterSeconds) => ({
      ...Object.fromEntries(
        readdirSync(database).map((name) => [
          `${KEYS}/${name}`,
          { content: readFileSync(join(database, name)) },
        ]),
      ),
      [`/etc/systemd/system/${TANG_UNIT}`]: { content: unit(startsAfterSeconds) },
    }),
  };
}

/** What the server would answer to `GET /adv`: it speaks HTTP on its standard input. */
function advertisement(database: string): Record<string, unknown> {
  const step = 'asking a Tang server for its keys';
  const answer = outputOf(step, [TANGD, database], 'GET /adv HTTP/1.1\r\n\r\n');
  return JSON.parse(answer.slice(answer.indexOf('\r\n\r\n') + 4)) as Record<string, unknown>;
}

/** Stands for a server on another machine, so it waits for nothing in this one's boot. */
function unit(startsAfterSeconds: number | null): string {
  return `[Unit]
Description=Tang server for this test
DefaultDependencies=no
${startsAfterSeconds === null ? 'ConditionPathExists=/nowhere' : ''}
[Service]
TimeoutStartSec=infinity
ExecStartPre=/bin/sleep ${startsAfterSeconds ?? 0}
ExecStart=/usr/bin/socat TCP-LISTEN:${PORT},bind=127.0.0.1,reuseaddr,fork EXEC:"${TANGD} ${KEYS}"
[Install]
WantedBy=sysinit.target
`;
}
