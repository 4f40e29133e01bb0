import { readFileSync } from 'node:fs';
import t, { type Test } from 'tap';
import { givesUpAfter, type Host, hostOn, ownNetwork } from '../../support/site.ts';

// Three hosts, each with a server, on cores that other tests share.
t.setTimeout(900_000);

const network = ownNetwork(t);
const addresses: Record<string, string> = { a: '192.0.2.1', b: '192.0.2.2', c: '192.0.2.3' };
const hosts = await Promise.all(
  Object.entries(addresses).map(([name, address]) => hostOn(t, network, name, address)),
);
const [a, b, c] = hosts as [Host, Host, Host];

/** What one host after the other is told, as by `on a | on b | …`. */
async function pipe(t: Test, order: readonly Host[], ...names: string[]): Promise<string> {
  let bundle = '';
  for (const host of order) {
    const { status, stdout, stderr } = await host.site(['add', ...names], bundle);
    t.equal(status, 0, `${host.name}: ${stderr}`);
    bundle = stdout;
  }
  return bundle;
}

async function done(t: Test, ended: Promise<{ status: number | null; stderr: string; stdout: string }>) {
  const { status, stdout, stderr } = await ended;
  t.equal(status, 0, stderr);
  return stdout;
}

const all = <T>(work: (host: Host) => Promise<T>) => Promise.all(hosts.map(work));

t.test('three hosts join each other, and seal their volumes over the others', async (t) => {
  await all((host) => host.on());
  for (const host of hosts) {
    t.match(
      await done(t, host.site(['init', host.name, '--url', host.url])),
      `${host.name}, 2 hosts have to be up`,
    );
  }
  t.equal(await pipe(t, [a, b, c, a, b], 'a', 'b', 'c'), '', 'nobody is left to be invited');
  for (const host of hosts) {
    const stdout = await done(t, host.enroll('--site', '--json'));
    t.match(JSON.parse(stdout), { policy: /^1 of \{remote [abc], remote [abc]\}$/, 'proven-by': 'socket' });
    t.ok(await host.opens(), host.name);
    const status = JSON.parse(await done(t, host.site(['status', '--json'])));
    t.match(status, { host: host.name, need: 2, up: 3, opens: true });
    t.match(status.volumes, [{ volume: 'data', current: true }]);
    for (const one of status.siblings) t.match(one, { state: 'armed', here: 'armed', fault: null });
  }
});

t.test('after a power cut three that start at once open all', async (t) => {
  await all((host) => host.off());
  // Each asks before any server is there, and waits for as long as it takes.
  const opening = all((host) => host.opens());
  await all((host) => host.on());
  t.strictSame(await opening, [true, true, true]);
});

t.test('any two open, one does not', async (t) => {
  for (const host of hosts) givesUpAfter(host, '3s');
  for (const pair of [
    [a, b],
    [b, c],
    [c, a],
  ] as const) {
    await all((host) => host.off());
    const [first, second] = pair;
    await first.on();
    t.notOk(await first.opens(), `${first.name} alone`);
    t.match(first.journal().at(-1), /^<3>.*gave up/, 'it waited');
    await second.on();
    t.ok(await first.opens(), `${first.name} with ${second.name}`);
    t.ok(await second.opens(), `${second.name} with ${first.name}`);
  }
});

t.test('a host that answers for another is refused', async (t) => {
  await all((host) => host.off());
  network.move('192.0.2.2', 'b', 'c');
  await a.on();
  await c.on('192.0.2.2:7443');
  t.notOk(await a.opens());
  const status = JSON.parse(await done(t, a.site(['status', '--json'])));
  t.match(status, { up: 1, opens: false });
  t.match(status.siblings[0], { host: 'b', state: null, fault: /is not the pinned one/ });
  network.move('192.0.2.2', 'c', 'b');
});

t.test('a host that is removed neither opens nor helps', async (t) => {
  await all((host) => host.off());
  await all((host) => host.on());
  t.ok((await Promise.all([a.opens(), b.opens()])).every(Boolean));
  for (const host of [a, b]) await done(t, host.site(['remove', 'c', '--yes']));
  t.match(JSON.parse(await done(t, a.site(['status', '--json']))).volumes, [
    { over: ['b', 'c'], current: false },
  ]);
  for (const host of [a, b]) {
    const stdout = await done(t, host.site(['reshare']));
    t.match(stdout, /^rotated data in \S+ s: remote [ab], keyslot 1 → 2, the socket opens it\n$/);
  }
  for (const host of [a, b]) {
    const status = JSON.parse(await done(t, host.site(['status', '--json'])));
    t.match(status, { need: 2, up: 2, opens: true, siblings: { length: 1 } });
    t.match(status.volumes, [{ current: true }]);
    t.notMatch(readFileSync(`${host.etc}/config.yaml`, 'utf8'), '192.0.2.3', 'its server is forgotten');
  }
  await all((host) => host.off());
  await all((host) => host.on());
  t.notOk(await c.opens(), 'it opens nothing');
  t.match(c.journal().at(-1), /^<4>.*this machine is revoked/);
  await b.off();
  t.notOk(await a.opens(), 'it helps nobody');
  await b.on();
  t.ok(await a.opens());
  const again = await a.site(['add', 'c']);
  t.equal(again.status, 4);
  t.match(
    again.stderr,
    /site add: c was removed, for ever \(hint: a host that comes back takes another name\)/,
  );
});

t.test('a host that comes later', async (t) => {
  const d = await hostOn(t, network, 'd', '192.0.2.4');
  await d.on();
  await done(t, d.site(['init', 'd', '--url', d.url]));
  t.equal(await pipe(t, [d, a, b, d], 'a', 'b', 'd'), '');
  for (const host of [a, b]) {
    t.match(await done(t, host.site(['reshare'])), /1 of \{remote \w, remote d\}, keyslot 2 → 1/);
  }
  await done(t, d.enroll('--site'));
  await Promise.all([b, d].map((host) => host.off()));
  await a.off();
  await a.on();
  await d.on();
  t.ok(await a.opens(), 'by the new one alone');
  t.ok(await d.opens(), 'and it by an old one');
});
