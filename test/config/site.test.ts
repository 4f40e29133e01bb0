import t from 'tap';
import { withServer, withSite } from '../../src/config/edit.ts';
import { parseConfig, readConfig } from '../../src/config/parse.ts';

const key = (letter: string) => `sha256/${letter.repeat(42)}A`;
const server = (name: string, letter: string) =>
  `  ${name}: { url: "https://${name}:7443", pin: ${key(letter)}, identity: /etc/${name} }\n`;
const servers = `servers:\n${server('b', 'B')}${server('c', 'C')}${server('twin', 'B')}`;
const withHosts = (rest: string) => `${servers}site: { host: a, url: "https://a:7443", ${rest} }\n`;

t.test('a site, as it is written', (t) => {
  const { site, volumes } = parseConfig(
    `${withHosts('need: 3, hosts: [b, c], allow-local-unseal: true')}volumes:\n  data: { allow: [remote] }\n`,
    'c',
  );
  t.match(site, { host: 'a', need: 3, hosts: ['b', 'c'], allowLocalUnseal: true });
  t.equal(site?.url.origin, 'https://a:7443');
  t.equal(volumes.get('data')?.giveUpAfterMs, 0, 'a host waits for the others');
  t.match(parseConfig(withHosts('hosts: [b]'), 'c').site, { need: 2, allowLocalUnseal: false });
  t.equal(parseConfig(servers, 'c').site, null);
  t.end();
});

t.test('what would let one host count as two is refused, and named', (t) => {
  const wrong: [string, RegExp][] = [
    [withHosts('hosts: [b, b]'), /^site\.hosts\[1\]: expected each host once, got "b" again$/],
    [withHosts('hosts: [b, a]'), /^site\.hosts\[1\]: expected another host, got "a", which is this one$/],
    [withHosts('hosts: [b, d]'), /^site\.hosts\[1\]: expected a name under servers:, got "d"$/],
    [
      withHosts('hosts: [b, twin]'),
      /^site\.hosts\[1\]: expected another server .*, got the key of b for "twin"$/,
    ],
    [withHosts('need: 1, hosts: [b]'), /^site\.need: expected 2 to 17: one host alone .*, got 1$/],
    [withHosts('need: 18, hosts: [b]'), /^site\.need: expected 2 to 17/],
    [withHosts('need: 2.5, hosts: [b]'), /^site\.need: expected 2 to 17/],
    [withHosts('hosts: []'), /^site\.hosts: expected a list of the other hosts' names/],
    [withHosts('hosts: ["../b"]'), /^site\.hosts\[0\]: expected a name of letters/],
    [
      withHosts('lease: 0'),
      /^site\.lease: expected one of the keys host, url, need, hosts, allow-local-unseal/,
    ],
    ['site: { host: a }\n', /^site\.url: expected an https:\/\/ URL/],
    ['site: { host: a, url: "http://a" }\n', /^site\.url: expected an https:\/\/ URL/],
    ['site: { url: "https://a" }\n', /^site\.host: expected a name/],
    ['site: 3\n', /^site: expected a map, got 3$/],
  ];
  for (const [text, message] of wrong) {
    const [first] = readConfig(text).problems;
    t.match(first?.message, message, text);
  }
  t.end();
});

t.test('what is written is what is read, and comments stay', (t) => {
  const url = new URL('https://a:7443');
  const site = { host: 'a', url, need: 2, hosts: [], allowLocalUnseal: false };
  const begun = withSite('# ours\n', site);
  t.match(begun, /^# ours\n/);
  t.match(parseConfig(begun, 'c').site, { host: 'a', hosts: [] });
  const settings = { url: 'https://b:7443', pin: key('B'), identity: '/etc/b' };
  const joined = withSite(withServer(begun, 'b', settings), { ...site, need: 3, hosts: ['b'] });
  t.match(parseConfig(joined, 'c').site, { need: 3, hosts: ['b'] });
  t.end();
});
