import t from 'tap';
import { followsSite, serversIn, sitePolicy } from '../../src/enroll/site-policy.ts';

const url = new URL('https://a:7443');
const site = (need: number, hosts: string[], allowLocalUnseal = false) => ({
  site: { host: 'a', url, need, hosts, allowLocalUnseal },
});
const remotes = (...names: string[]) => names.map((server) => ({ server }));

t.test(
  'one less than is needed of the others: this host is up itself, and its own server does not count',
  (t) => {
    t.match(sitePolicy(site(2, ['b', 'c'])), {
      title: '1 of {remote b, remote c}',
      config: { t: 1, pins: { remote: remotes('b', 'c') } },
      bySite: true,
      needsNetwork: true,
      needsServer: true,
    });
    t.match(sitePolicy(site(3, ['b', 'c'])), { config: { t: 2 } });
    t.match(sitePolicy(site(2, ['b'])), { pin: 'remote', config: { server: 'b' }, title: 'remote b' });
    t.end();
  },
);

t.test('more than there are', (t) => {
  const message = /^site: need: expected at most 3, the hosts of the site, got 4$/;
  t.throws(() => sitePolicy(site(4, ['b', 'c'])), { code: 'bad-config', message });
  t.throws(() => sitePolicy(site(2, [])), { code: 'bad-config' });
  t.throws(() => sitePolicy({ site: null }), { code: 'bad-config', message: /no site/ });
  t.end();
});

t.test('allow-local-unseal: the TPM alone too, and it is said what that costs', (t) => {
  const shared = { t: 1, pins: { remote: remotes('b', 'c') } };
  t.match(sitePolicy(site(2, ['b', 'c'], true)), {
    title: '1 of {tpm2, 1 of {remote b, remote c}}',
    config: { t: 1, pins: { tpm2: [{}], sss: [shared] } },
    warnings: [/protects the disk, not the machine/],
  });
  t.match(sitePolicy(site(2, ['b'], true)), { config: { t: 1, pins: { tpm2: [{}], remote: remotes('b') } } });
  t.end();
});

t.test('whether something is sealed over the hosts that there are', (t) => {
  const sealed = sitePolicy(site(2, ['b', 'c'], true));
  t.strictSame(serversIn(sealed.config), ['b', 'c']);
  t.ok(followsSite(sealed, site(2, ['b', 'c'], true)));
  for (const now of [site(3, ['b', 'c'], true), site(2, ['b'], true), site(2, ['b', 'c'])]) {
    t.notOk(followsSite(sealed, now));
  }
  t.end();
});
