import fc from 'fast-check';
import t from 'tap';
import { parseDuration, parseSize } from '../../src/config/quantity.ts';

t.test('durations', (t) => {
  const right: Record<string, number> = {
    '250ms': 250,
    '90s': 90_000,
    '5m': 300_000,
    '2h': 7_200_000,
    '1d': 86_400_000,
    '0': 0,
    '0s': 0,
  };
  for (const [text, ms] of Object.entries(right)) t.equal(parseDuration(text), ms, text);
  t.equal(parseDuration(0), 0);
  const wrong = [
    90,
    '90',
    '',
    's',
    '-5s',
    '1.5h',
    '5 m',
    '5M',
    '5min',
    '1e3s',
    '5s ',
    '٣s',
    '5toString',
    null,
    true,
    {},
  ];
  for (const value of wrong) t.equal(parseDuration(value), null, JSON.stringify(value));
  t.equal(parseDuration('99999999999999d'), null, 'more than a number can count exactly');
  t.end();
});

t.test('sizes', (t) => {
  t.equal(parseSize('512B'), 512);
  t.equal(parseSize('64KiB'), 65_536);
  t.equal(parseSize('1MiB'), 1_048_576);
  for (const value of [0, '0', 64, '64', '64K', '64kB', '64KB', '1GiB', '1.5MiB', '-1B']) {
    t.equal(parseSize(value), null, JSON.stringify(value));
  }
  t.end();
});

t.test('property: a count and a unit are what they say, and nothing else is a duration', (t) => {
  const units = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };
  const unit = fc.constantFrom(...(Object.keys(units) as (keyof typeof units)[]));
  fc.assert(
    fc.property(fc.nat({ max: 100_000_000 }), unit, (count, name) => {
      return parseDuration(`${count}${name}`) === count * units[name];
    }),
  );
  fc.assert(
    fc.property(fc.string({ unit: fc.constantFrom(...'0159msh dMKB.-+e') }), (text) => {
      return (parseDuration(text) !== null) === (/^\d+(ms|s|m|h|d)$/.test(text) || text === '0');
    }),
  );
  t.end();
});
