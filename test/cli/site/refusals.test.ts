import { readFileSync, writeFileSync } from 'node:fs';
import t, { type Test } from 'tap';
import { fails, fetchLuksKey } from '../../support/command-line.ts';
import { type KeyServerProcess, startKeyServer } from '../../support/key-server.ts';
import { ownFolder } from '../../support/tpm.ts';

t.setTimeout(300_000);

const own = await startKeyServer(t);
const other = await startKeyServer(t);
const socketOf = ({ state }: KeyServerProcess) => ['--socket', `${state}/operator.sock`];
const places = (etc: string) => ['--etc', etc, ...socketOf(own)];
const site = (etc: string, args: readonly string[], input = '') =>
  fetchLuksKey(['site', ...args, ...places(etc)], input);

async function host(t: Test, ...options: string[]): Promise<string> {
  const etc = ownFolder(t);
  const { status, stderr } = await site(etc, ['init', 'a', '--url', own.url, ...options]);
  t.equal(status, 0, stderr);
  return etc;
}

/** As the other host gives it out. */
const invitation = async (by: KeyServerProcess, name: string, host: string, forHost: string) =>
  `${(await by.invite(name)).trim().replace(`name=${name}`, `name=${forHost}`)}&host=${host}\n`;

t.test('site init', async (t) => {
  const etc = ownFolder(t);
  const init = (...args: string[]) => site(etc, ['init', ...args]);
  const url = ['--url', own.url];
  fails(
    t,
    'no action',
    await fetchLuksKey(['site']),
    2,
    /^site: expected init, add, remove, reshare, status/,
  );
  fails(t, 'no name', await init(...url), 2, /^site: expected NAME, got no arguments/);
  fails(t, 'a name', await init('../a', ...url), 2, /^site: expected letters, digits/);
  fails(t, 'no url', await init('a'), 2, /^site init: --url: expected https:\/\/HOST:PORT, got ""/);
  fails(t, 'http', await init('a', '--url', 'http://a:7443'), 2, /--url: expected https:/);
  for (const need of ['1', '0', '18', '2.5', 'x']) {
    fails(t, need, await init('a', ...url, '--need', need), 2, /^site: --need: expected 2 to 17, got/);
  }
  const away = ['site', 'init', 'a', ...url, '--etc', etc, '--socket', '/no/such.sock'];
  fails(t, 'no server of its own', await fetchLuksKey(away), 5, /^\/no\/such\.sock: ENOENT/);
  fails(
    t,
    'before init',
    await site(etc, ['add', 'b']),
    2,
    /has no site \(hint: first: fetch-luks-key site init\)/,
  );
  await host(t);
  fails(
    t,
    'twice',
    await site(await host(t), ['init', 'b', ...url]),
    2,
    /is a host of a site already, called a/,
  );
});

t.test('the server on a volume that needs the others', async (t) => {
  const folder = t.testdir({
    fstab: '/dev/sda1 / ext4\n/dev/mapper/data /var/lib ext4 _netdev 0 2\n',
    crypttab: 'data UUID=0b1c none luks\n',
    tpm: 'data UUID=0b1c none tpm2-device=auto\n',
  });
  const init = (mount: string, crypttab: string) => {
    const over = ['/usr/bin/unshare', '--mount', 'sh', '-c', `${mount} && exec "$@"`, 'sh'];
    const args = ['site', 'init', 'a', '--url', own.url, ...places(`${folder}/etc`)];
    return fetchLuksKey([...args, '--crypttab', `${folder}/${crypttab}`], '', {}, over);
  };
  const inFstab = `mount --bind ${folder}/fstab /etc/fstab`;
  // Of a tmpfs the source is any word.
  const mounted = 'mount -t tmpfs /dev/mapper/data /var/lib';
  const line = /^site init: luks-key-server keeps its keys on the encrypted volume data/;
  fails(t, 'by fstab', await init(inFstab, 'crypttab'), 4, line);
  fails(t, 'as it is mounted', await init(mounted, 'crypttab'), 4, line);
  t.match(await init(inFstab, 'tpm'), { status: 0 }, 'one that opens by itself may hold it');
});

t.test('site add', async (t) => {
  const etc = await host(t);
  const add = (names: string[], input = '') => site(etc, ['add', ...names], input);
  fails(t, 'nobody', await add([]), 2, /^site add: expected the names of other hosts/);
  fails(t, 'itself alone', await add(['a']), 2, /^site add: expected the names of other hosts/);
  fails(t, 'twice', await add(['a', 'b', 'b']), 2, /^site add: expected each host once, got b again/);
  fails(t, 'a lease', await add(['b', '--lease', 'long']), 2, /^site add: --lease: expected a duration/);
  fails(t, 'a block', await add(['b', '--from', 'here']), 2, /^expected a block of addresses, got "here"/);
  const more = await host(t, '--need', '4');
  fails(
    t,
    'too few',
    await site(more, ['add', 'b', 'c']),
    3,
    /^site: need: expected at most 3, the hosts of the site, got 4/,
  );
  const secret = 'https://a secret';
  const junk = await add(['b'], `\n${secret}\n`);
  fails(t, 'no invitation', junk, 2, /^site add: standard input, line 2: expected an invitation by a host/);
  t.notMatch(junk.stderr, secret);
  const plain = (await other.invite('plain')).replace('name=plain', 'name=a');
  fails(t, 'of no host', await add(['b'], plain), 2, /line 1: expected an invitation by a host/);
  t.equal(readFileSync(`${etc}/config.yaml`, 'utf8').includes('servers'), false, 'nothing was joined');
});

t.test('a host that answers for another', async (t) => {
  const etc = await host(t);
  const add = (names: string[], input = '') => site(etc, ['add', ...names], input);
  const by = (name: string, host: string) => invitation(other, name, host, 'a');
  const b = await by('x1', 'b');
  fails(
    t,
    'a host that nobody named',
    await add(['c'], b),
    4,
    /^site add: an invitation by b, which is none of c/,
  );
  fails(t, 'two', await add(['b'], b + (await by('x2', 'b'))), 4, /^site add: two invitations by b/);
  fails(t, 'one key', await add(['b', 'c'], b + (await by('x3', 'c'))), 4, /^site add: c has the key of b/);
  const ours = await invitation(own, 'x4', 'b', 'a');
  fails(t, 'itself', await add(['b'], ours), 4, /^site add: b has the key of this host, a/);
  const stranger = { status: 4, stderr: /: the server calls this machine x1, and the invitation a$/m };
  t.match(await add(['b'], b), stranger, 'an invitation for another');
  const right = `${(await other.invite('a')).trim()}&host=b\n`;
  t.match(await add(['b'], right), { status: 0, stderr: /^a: joined b$/m });
  fails(t, 'again, as another', await add(['c'], await by('x5', 'c')), 4, /^site add: c has the key of b/);
  const third = await startKeyServer(t);
  const taken = await invitation(third, 'x6', 'b', 'a');
  fails(t, 'another key', await add(['b'], taken), 4, /^site add: b has another key than the b that/);
  const path = `${etc}/config.yaml`;
  const text = readFileSync(path, 'utf8');
  writeFileSync(path, text.replace(/hosts:\s+- b/, 'hosts: [b, b]'));
  fails(
    t,
    'by hand',
    await site(etc, ['status']),
    3,
    /site\.hosts\[1\]: expected each host once, got "b" again/,
  );
  writeFileSync(path, text);
  const leaving = await fetchLuksKey(['leave', 'b', '--etc', etc]);
  fails(
    t,
    'leave',
    leaving,
    2,
    /^leave: b is a host of this machine's site \(hint: fetch-luks-key site remove b\)/,
  );
  fails(
    t,
    'the last',
    await site(etc, ['remove', 'b', '--yes']),
    3,
    /^site: need: expected at most 1, the hosts of the site, got 2/,
  );
  fails(t, 'a stranger', await site(etc, ['remove', 'z', '--yes']), 2, /^site remove: no host "z"/);
  fails(t, 'nobody to ask', await site(etc, ['remove', 'b']), 3, /^site: need: /);
});

t.test('a way that was named beside', async (t) => {
  const etc = t.testdir({ crypttab: 'data /no/such none luks\n' });
  const args = ['reseal', 'data', '--site', '--etc', etc, '--crypttab', `${etc}/crypttab`];
  fails(t, 'no site', await fetchLuksKey(args), 3, /^config\.yaml has no site/);
  fails(t, 'two ways', await fetchLuksKey([...args, '--remote', 'b']), 2, /^--site: not with other pins/);
});
