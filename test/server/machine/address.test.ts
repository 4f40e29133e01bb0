import t from 'tap';
import { isAllowedFrom, isBlock, isSameAddress } from '../../../src/server/machine/address.ts';

t.test('blocks', (t) => {
  for (const good of [
    '10.0.0.0/8',
    '10.0.0.1',
    '0.0.0.0/0',
    '::/0',
    '2001:db8::/32',
    '::1',
    '::ffff:10.0.0.0/104',
  ])
    t.ok(isBlock(good), good);
  const bad = [
    '',
    '10.0.0.1/8',
    '10.0.0/8',
    '10.0.0.256',
    '010.0.0.1',
    '10.0.0.0/33',
    '10.0.0.0/08',
    '10.0.0.0/',
  ];
  for (const wrong of [
    ...bad,
    ':::',
    '1::2::3',
    '2001:db8::1/32',
    '12345::',
    '::/129',
    'fe80::1%eth0',
    'localhost',
  ])
    t.notOk(isBlock(wrong), wrong);
  t.end();
});

t.test('who is within', (t) => {
  t.ok(isAllowedFrom('anything', []), 'no block allows all');
  const cases: [address: string, blocks: string[], allowed: boolean][] = [
    ['10.1.2.3', ['10.0.0.0/8'], true],
    ['11.1.2.3', ['10.0.0.0/8'], false],
    ['::ffff:10.1.2.3', ['10.0.0.0/8'], true],
    ['::FFFF:0A01:0203', ['10.0.0.0/8'], true],
    ['10.1.2.3', ['::ffff:0:0/96'], true],
    ['10.1.2.3', ['::/0'], true],
    ['2001:db8::1', ['0.0.0.0/0'], false],
    ['2001:db8:ffff::1', ['10.0.0.0/8', '2001:db8::/32'], true],
    ['2001:db9::1', ['2001:db8::/32'], false],
    ['192.0.2.7', ['192.0.2.7'], true],
    ['192.0.2.8', ['192.0.2.7'], false],
    ['not an address', ['0.0.0.0/0', '::/0'], false],
  ];
  for (const [address, blocks, allowed] of cases)
    t.equal(isAllowedFrom(address, blocks), allowed, `${address} ${blocks}`);
  t.end();
});

t.test('the same address, however it is written', (t) => {
  t.ok(isSameAddress('10.0.0.1', '::ffff:a00:1'));
  t.ok(isSameAddress('2001:db8::1', '2001:DB8:0:0:0:0:0:1'));
  t.notOk(isSameAddress('10.0.0.1', '10.0.0.2'));
  t.notOk(isSameAddress('nonsense', 'nonsense'));
  t.end();
});
