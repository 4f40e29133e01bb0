import { fstatSync } from 'node:fs';
import { sendDatagram } from './libc.ts';
import { say } from './standard-streams.ts';

const SOCKET = '/run/systemd/journal/socket';

/** Lines that can be found by more than their words: `journalctl LUKS_ALERT=locked`. */
export interface FieldJournal {
  /** @param fields of names in capitals (systemd.journal-fields(7)) */
  warning(line: string, fields: Readonly<Record<string, string>>): void;
}

/**
 * Where standard error goes to the journal (systemd.exec(5), `$JOURNAL_STREAM`), lines go there with their fields, in
 * its native protocol (systemd.io/JOURNAL_NATIVE_PROTOCOL); elsewhere, and when it does not take one, the line alone is
 * written there.
 * @param identifier as other lines have it from `SyslogIdentifier=`
 */
export function fieldJournal(
  environment: NodeJS.ProcessEnv,
  identifier: string,
  socket: string = SOCKET,
): FieldJournal {
  const isJournal = environment['JOURNAL_STREAM'] === standardError();
  return {
    warning(line, fields) {
      const message = line.replaceAll(/\s*\n\s*/g, ' ');
      const all = { PRIORITY: '4', SYSLOG_IDENTIFIER: identifier, MESSAGE: message, ...fields };
      if (!isJournal || !isSent(socket, all)) say(`<4>${message}`);
    },
  };
}

function standardError(): string {
  const { dev, ino } = fstatSync(2);
  return `${dev}:${ino}`;
}

function isSent(socket: string, fields: Readonly<Record<string, string>>): boolean {
  const parts = Object.entries(fields).map(([name, value]) => field(name, Buffer.from(value)));
  try {
    sendDatagram(socket, Buffer.concat(parts));
    return true;
  } catch {
    return false;
  }
}

/** With its length, as a value may have line breaks in it. */
function field(name: string, value: Buffer): Buffer {
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(value.length));
  return Buffer.concat([Buffer.from(`${name}\n`), length, value, Buffer.from('\n')]);
}
