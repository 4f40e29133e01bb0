import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { eventsOf, parseEventLog, replay } from '../../src/tpm/event-log.ts';
import { eventName } from '../../src/tpm/event-names.ts';
import { changesSince, MARK_BYTES, marksOf } from '../../src/tpm/measured.ts';
import {
  action,
  digestOf,
  eventLog,
  image,
  type Measurement,
  separator,
  startupLocality,
  variable,
} from '../support/event-logs.ts';
import { ownFolder } from '../support/tpm.ts';

const boot: Measurement[] = [
  startupLocality(3),
  { pcr: 0, type: 8, data: Buffer.from('1.2.3\0', 'utf16le') },
  { pcr: 0, type: 0x80000008, data: Buffer.alloc(16, 7), measured: Buffer.from('firmware') },
  variable('SecureBoot', '\u0001'),
  variable('PK', 'platform key'),
  variable('KEK', 'exchange keys'),
  variable('db', 'allowed'),
  variable('dbx', 'forbidden'),
  separator(7),
  separator(4),
  action(4, 'Calling EFI Application from Boot Option'),
  image('\\EFI\\debian\\shimx64.efi', 'shim 15.7'),
];

t.test('PCRs are what tpm2_eventlog computes of the same log', async (t) => {
  const file = join(ownFolder(t), 'log');
  for (const events of [boot.slice(1), [separator(0)], [separator(4), separator(4)]]) {
    const log = eventLog(events);
    writeFileSync(file, log);
    const yaml = execFileSync('/usr/bin/tpm2_eventlog', [file], {
      stdio: ['ignore', 'pipe', 'ignore'],
    }).toString();
    const parsed = parseEventLog(log) ?? [];
    t.equal(parsed.length, events.length);
    for (const bank of ['sha1', 'sha256'] as const) {
      const [, values = ''] = yaml.split(new RegExp(`^pcrs:[^]*?^  ${bank}:\n`, 'm'));
      const told = [...(values.split(/^ {2}\w/m)[0]?.matchAll(/^ {4}(\d+) *: 0x([0-9a-f]+)$/gm) ?? [])];
      t.ok(told.length > 0, 'it says something');
      for (const [, pcr, value] of told) t.equal(replay(parsed, Number(pcr), bank).toString('hex'), value);
    }
  }
});

t.test('PCR 0 begins with the locality that the TPM was started from', async (t) => {
  // Debian 12's tpm2_eventlog does not know this; swtpm that is started from locality 3 has this value.
  const parsed = parseEventLog(eventLog([startupLocality(3)])) ?? [];
  t.equal(replay(parsed, 0, 'sha256').toString('hex'), `${'00'.repeat(31)}03`);
  t.equal(replay(parsed, 7, 'sha256').toString('hex'), '00'.repeat(32));
  const extended = parseEventLog(eventLog([startupLocality(3), separator(0)])) ?? [];
  const first = Buffer.from(`${'00'.repeat(31)}03`, 'hex');
  const digest = createHash('sha256').update(Buffer.alloc(4)).digest();
  t.same(replay(extended, 0, 'sha256'), createHash('sha256').update(first).update(digest).digest());
});

t.test('events are named by what they say', async (t) => {
  const names = (parseEventLog(eventLog(boot)) ?? []).map(eventName);
  t.match(names, [
    /^event of type 0x3/,
    'EV_S_CRTM_VERSION 1.2.3',
    'EV_EFI_PLATFORM_FIRMWARE_BLOB',
    'EV_EFI_VARIABLE_DRIVER_CONFIG SecureBoot',
    'EV_EFI_VARIABLE_DRIVER_CONFIG PK',
    'EV_EFI_VARIABLE_DRIVER_CONFIG KEK',
    'EV_EFI_VARIABLE_DRIVER_CONFIG db',
    'EV_EFI_VARIABLE_DRIVER_CONFIG dbx',
    'EV_SEPARATOR',
    'EV_SEPARATOR',
    'EV_ACTION Calling EFI Application from Boot Option',
    'EV_EFI_BOOT_SERVICES_APPLICATION \\EFI\\debian\\shimx64.efi',
  ]);
  const hostile = [
    { type: 5, data: Buffer.from(`\u001b[2J${'x'.repeat(1000)}`) },
    { type: 0x80000001, data: Buffer.alloc(31, 0xff) },
    { type: 0x80000001, data: Buffer.alloc(40, 0xff) },
    { type: 0x80000003, data: Buffer.alloc(40) },
    { type: 0x80000003, data: Buffer.alloc(40, 0xff) },
    { type: 0x80000003, data: Buffer.alloc(0) },
    { type: 0xffffffff, data: Buffer.alloc(3) },
  ];
  for (const event of hostile) t.match(eventName(event), /^[ -~]{4,140}$/);
});

t.test('a log that is cut, or is none, is none', async (t) => {
  const log = eventLog(boot);
  const ends = new Set<number>();
  let whole = 0;
  for (let end = 0; end < log.length; end++) {
    const events = parseEventLog(log.subarray(0, end));
    if (events === null) continue;
    whole++;
    ends.add(events.length);
  }
  // What ends with an event is a log.
  t.equal(whole, boot.length);
  t.equal(ends.size, boot.length);
  const announced = Buffer.from(log);
  announced.writeUInt16LE(0x7777, log.indexOf('Spec ID') + 28);
  for (const bad of [Buffer.alloc(0), Buffer.alloc(100), Buffer.alloc(100, 0xff), announced]) {
    t.equal(parseEventLog(bad), null);
  }
  for (let at = 0; at < log.length; at++) {
    const changed = Buffer.from(log);
    changed[at] = (changed[at] ?? 0) ^ 0xff;
    t.doesNotThrow(() => parseEventLog(changed)?.map(eventName));
  }
});

function changes(then: readonly Measurement[], now: readonly Measurement[], pcr = 7): string[] {
  const old = eventsOf(parseEventLog(eventLog(then)) ?? [], pcr, 'sha256');
  const marks = Buffer.concat(old.map(({ digest }) => digest.subarray(0, MARK_BYTES)));
  return changesSince(marks, parseEventLog(eventLog(now)) ?? [], pcr, 'sha256').map(
    ({ what, number, name }) => `${what} ${number} ${name?.split(' ').at(-1)}`,
  );
}

t.test('what changed is the fewest events', async (t) => {
  const [a, b, c, d, e] = ['a', 'b', 'c', 'd', 'e'].map((name) => variable(name, name)) as [
    Measurement,
    ...Measurement[],
  ] as Measurement[];
  const of = (...events: (Measurement | undefined)[]) => events.filter((one) => one !== undefined);
  t.same(changes(boot, boot), []);
  t.same(changes(of(a, b, c), of(a, d, c)), ['changed 2 d']);
  t.same(changes(of(a, b, c), of(a, c)), ['gone 2 undefined']);
  t.same(changes(of(a, c), of(a, b, c)), ['new 2 b']);
  t.same(changes(of(), of(a, b)), ['new 1 a', 'new 2 b']);
  t.same(changes(of(a, b), of()), ['gone 1 undefined', 'gone 2 undefined']);
  t.same(changes(of(a, b, c, d), of(b, c, e, d)), ['gone 1 undefined', 'new 3 e']);
  t.same(changes(of(a, a, b), of(a, b)).length, 1);
  const update = boot.map((event) => (eventName(event).endsWith(' dbx') ? variable('dbx', 'more') : event));
  t.same(changes(boot, update), ['changed 5 dbx']);
  t.same(changes(boot, update, 4), []);
  t.same(changes(boot, [...boot, image('\\EFI\\debian\\grubx64.efi', 'grub')], 4), [
    'new 4 \\EFI\\debian\\grubx64.efi',
  ]);
});

t.test('marks are kept of what the log accounts for, and of so much only', async (t) => {
  const events = parseEventLog(eventLog(boot)) ?? [];
  const selection = { bank: 'sha256', ids: [0, 4, 7, 11] } as const;
  const values = selection.ids.map((pcr) => replay(events, pcr, 'sha256'));
  const all = marksOf(events, { selection, values: Buffer.concat(values) });
  t.same([...all.keys()], [0, 4, 7, 11]);
  const sevens = boot
    .filter(({ pcr }) => pcr === 7)
    .map((one) => digestOf(one, 'sha256').subarray(0, MARK_BYTES));
  t.same(all.get(7), Buffer.concat(sevens));
  values[1] = Buffer.alloc(32);
  t.same([...marksOf(events, { selection, values: Buffer.concat(values) }).keys()], [0, 7, 11]);
  t.equal(marksOf(events, { selection, values: null }).size, 0);
  const long = parseEventLog(eventLog(Array.from({ length: 129 }, (_, n) => action(4, `event ${n}`)))) ?? [];
  const many = { selection: { bank: 'sha256', ids: [4, 5] } as const, values: Buffer.alloc(64) };
  many.values.set(replay(long, 4, 'sha256'));
  t.same([...marksOf(long, many).keys()], [5]);
});
