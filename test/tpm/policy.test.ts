import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { type HashName, parsePcrIds, selectionText } from '../../src/tpm/pcrs.ts';
import { pcrPolicyDigest } from '../../src/tpm/policy.ts';
import { ownFolder, ownSwtpm } from '../support/tpm.ts';

t.test('pcrPolicyDigest is what the TPM computes, whatever the hash, bank and PCRs', async (t) => {
  const swtpm = await ownSwtpm(t);
  const folder = ownFolder(t);
  swtpm.extend(7);
  swtpm.extend(16);
  const cases: [HashName, HashName, number[]][] = [
    ['sha256', 'sha256', [7]],
    ['sha256', 'sha1', [0, 7, 8, 16, 23]],
    ['sha1', 'sha256', [16]],
    ['sha384', 'sha256', [1, 7]],
    ['sha512', 'sha512', [0]],
    ['sha256', 'sha384', [0, 1, 2, 3, 8, 15, 16, 23]],
  ];
  for (const [hash, bank, ids] of cases) {
    const selection = { bank, ids };
    const [policyFile, valuesFile] = [join(folder, 'policy'), join(folder, 'values')];
    const text = selectionText(selection);
    swtpm.run('tpm2_pcrread', ['-Q', text, '-o', valuesFile]);
    swtpm.run('tpm2_createpolicy', ['-Q', '-g', hash, '--policy-pcr', '-l', text, '-L', policyFile]);
    swtpm.flush();
    const digest = pcrPolicyDigest(hash, selection, readFileSync(valuesFile));
    t.same(digest, readFileSync(policyFile), `${hash} of ${text}`);
  }
});

t.test('parsePcrIds reads both of Clevis spellings', async (t) => {
  t.same(parsePcrIds('7'), [7]);
  t.same(parsePcrIds(' 8, 0,7 ,7'), [0, 7, 8]);
  t.same(parsePcrIds(['1', '3']), [1, 3]);
  t.same(parsePcrIds([23, '3']), [3, 23]);
  t.same(parsePcrIds(''), []);
  t.same(parsePcrIds([]), []);
});

t.test('parsePcrIds refuses the rest', async (t) => {
  for (const bad of [
    '24',
    '-1',
    '1,',
    ',',
    '7;x',
    '0x7',
    '1.0',
    'all',
    [24],
    [1.5],
    [-1],
    [null],
    [['1']],
    7,
    null,
    {},
  ]) {
    t.equal(parsePcrIds(bad), null, JSON.stringify(bad));
  }
});
