import t from 'tap';
import { asOptions, policyOf, proposal, withThumbprints } from '../../src/enroll/policy.ts';
import { seal } from '../support/sealing.ts';
import { startTang } from '../support/tang.ts';

const tpm = { config: {}, withPin: false };
const choice = { tpm2: null, remotes: [], tangs: [], require: null };

t.test('what is named becomes what seal takes', (t) => {
  t.match(policyOf({ ...choice, tpm2: tpm }), { pin: 'tpm2', config: {}, title: 'tpm2' });
  t.match(policyOf({ ...choice, remotes: ['home'] }), {
    pin: 'remote',
    config: { server: 'home' },
    needsNetwork: true,
    needsServer: true,
  });
  t.match(policyOf({ tpm2: tpm, remotes: ['home'], tangs: ['http://a', 'http://b'], require: 2 }), {
    pin: 'sss',
    config: {
      t: 2,
      pins: { tpm2: [{}], remote: [{ server: 'home' }], tang: [{ url: 'http://a' }, { url: 'http://b' }] },
    },
    title: '2 of {tpm2, remote home, tang http://a, tang http://b}',
  });
  t.end();
});

t.test('a PIN is a pin of its own, beside the TPM’s state', (t) => {
  const tpm2 = { config: { pcr_ids: '0,7' }, withPin: true };
  const both = { t: 2, pins: { tpm2: [{ pcr_ids: '0,7' }, { with_pin: true }] } };
  t.match(policyOf({ ...choice, tpm2 }), {
    pin: 'sss',
    config: both,
    title: 'tpm2 with a PIN',
    asksForPin: true,
    warnings: [],
  });
  t.match(policyOf({ ...choice, tpm2, remotes: ['home'], require: 1 }), {
    pin: 'sss',
    config: { t: 1, pins: { sss: [both], remote: [{ server: 'home' }] } },
    title: '1 of {tpm2 with a PIN, remote home}',
  });
  t.end();
});

t.test('what has to be known is said', (t) => {
  const tpmAlone = /protects the disk, not the machine/;
  const server = /without its server/;
  const said = (tpm2: boolean, tangs: string[], required: number | null) =>
    policyOf({ ...choice, tpm2: tpm2 ? tpm : null, tangs, require: required }).warnings;
  t.match(said(true, [], null), [tpmAlone]);
  t.match(said(true, ['http://a'], 1), [tpmAlone], 'the TPM suffices');
  t.match(said(true, ['http://a'], null), [server]);
  t.match(said(false, ['http://a'], null), [server]);
  t.match(said(false, ['http://a', 'http://b'], 1), [server]);
  t.end();
});

t.test('how many', (t) => {
  for (const required of [0, 3, 1.5, Number.NaN]) {
    t.throws(() => policyOf({ ...choice, tpm2: tpm, tangs: ['http://a'], require: required }), {
      code: 'usage',
      message: /--require: expected 1 to 2/,
    });
  }
  t.end();
});

t.test('a proposal is neither the disk nor the machine alone, where there is a choice', (t) => {
  t.equal(proposal(false, []), null);
  const options = (hasTpm: boolean, ...servers: string[]) => {
    const proposed = proposal(hasTpm, servers);
    return proposed && `${policyOf(proposed).title}: ${asOptions(proposed)}`;
  };
  t.equal(options(true), 'tpm2: --tpm2');
  t.equal(options(true, 'a'), '2 of {tpm2, remote a}: --tpm2 --remote a');
  t.equal(
    options(true, 'a', 'b'),
    '2 of {tpm2, remote a, remote b}: --tpm2 --remote a --remote b --require 2',
  );
  t.equal(options(false, 'a', 'b'), '1 of {remote a, remote b}: --remote a --remote b --require 1');
  t.end();
});

t.test('Tang servers are known by their keys from then on', async (t) => {
  const tang = await startTang(t);
  const sealed = await seal('tang', { url: tang.url, thp: tang.thp }, 'x');
  const alone = policyOf({ ...choice, tangs: [tang.url] });
  t.strictSame(withThumbprints(alone, sealed).config, { url: tang.url, thp: tang.thp });
  const pins = { tang: [{ url: tang.url, thp: tang.thp }] };
  const two = policyOf({ ...choice, tpm2: tpm, tangs: [tang.url], require: 1 });
  const nested = await seal('sss', { t: 1, pins }, 'x');
  t.strictSame(withThumbprints(two, nested).config, { t: 1, pins: { tpm2: [{}], ...pins } });
});
