import t from 'tap';
import { checkAllowed } from '../../src/config/allow.ts';
import type { VolumeSettings } from '../../src/config/config.ts';
import { parseConfig } from '../../src/config/parse.ts';
import type { PinUse } from '../../src/pins/pin.ts';

function settings(fields: string): VolumeSettings {
  const of = parseConfig(`volumes: { data: { ${fields} } }`, 'c').volumes.get('data');
  if (of === undefined) throw new Error('no settings');
  return of;
}

const tpm2: PinUse = { pin: 'tpm2' };
const sss: PinUse = { pin: 'sss' };
const tang = (url: string): PinUse => ({ pin: 'tang', url });

t.test('allowed', (t) => {
  const allowed: [fields: string, uses: PinUse[]][] = [
    ['', [tpm2, tang('http://anywhere'), sss]],
    ['allow: [tpm2]', [tpm2]],
    ['allow: [tpm2]', [sss, tpm2]],
    ['allow: [tpm2, tang]', [sss, tpm2, sss, tang('http://anywhere')]],
    ['allow-tang: ["http://b", "http://a"]', [tang('http://a'), tang('http://b'), tpm2]],
    // Whatever the spelling: PinUse has one.
    ['allow-tang: ["HTTP://A:80//"]', [tang('http://a')]],
    ['allow-tang: ["a"]', [tang('http://a')]],
    ['allow-tang: ["a:7500/tang/"]', [tang('http://a:7500/tang')]],
  ];
  for (const [fields, uses] of allowed) {
    t.doesNotThrow(
      () => checkAllowed({ uses }, settings(fields), 'x.jwe'),
      `${fields}: ${JSON.stringify(uses)}`,
    );
  }
  t.end();
});

t.test('not allowed', (t) => {
  const refused: [fields: string, uses: PinUse[], said: RegExp][] = [
    ['allow: [tpm2]', [tang('http://a')], /^x\.jwe: expected only the pins tpm2, got tang$/],
    ['allow: [tang]', [sss, tang('http://a'), tpm2], /^x\.jwe: expected only the pins tang, got tpm2$/],
    [
      'allow-tang: ["http://a"]',
      [tang('http://b')],
      /^x\.jwe: expected only the Tang servers http:\/\/a, got "http:\/\/b"$/,
    ],
    ['allow-tang: ["http://a"]', [tang('http://a'), tang('http://a/x')], /got "http:\/\/a\/x"$/],
    ['allow-tang: ["http://a"]', [tang('https://a')], /got/],
    ['allow-tang: ["http://a"]', [tang('http://a:81')], /got/],
    ['allow-tang: ["http://a"]', [{ pin: 'tang' }], /got/],
  ];
  for (const [fields, uses, said] of refused) {
    const expected = { code: 'not-allowed', message: said, hint: /config\.yaml/ };
    t.throws(
      () => checkAllowed({ uses }, settings(fields), 'x.jwe'),
      expected,
      `${fields}: ${JSON.stringify(uses)}`,
    );
  }
  t.end();
});
