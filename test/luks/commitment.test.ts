import { createHmac } from 'node:crypto';
import t from 'tap';
import { commitmentLine, commitTo, isCommitted, parseCommitments } from '../../src/luks/commitment.ts';
import { secretOf } from '../support/tpm.ts';

const UUID = '83c6ce2f-5d20-47ab-a0d0-ae426bf77400';
const key = secretOf('a key');
const line = commitmentLine(commitTo(key, 'data', UUID));

t.test('a line is the documented HMAC', (t) => {
  const message = `fetch-luks-key commitment 1\n["data","${UUID}"]`;
  t.equal(line, `${UUID} ${createHmac('sha256', 'a key').update(message).digest('base64url')}`);
  t.end();
});

t.test('only that key, of that volume, on that disk', (t) => {
  const other = commitmentLine(commitTo(secretOf('older'), 'data', UUID));
  const commitments = parseCommitments(`${other}\n${line}\n`, '/c');
  t.ok(isCommitted(commitments, key, 'data', UUID));
  t.ok(isCommitted(commitments, secretOf('older'), 'data', UUID), 'each line counts');
  t.ok(isCommitted(commitments, key, 'data', null), 'a disk whose header cannot be read');
  t.notOk(isCommitted(commitments, secretOf('a kez'), 'data', UUID));
  t.notOk(isCommitted(commitments, key, 'date', UUID));
  t.notOk(isCommitted(commitments, key, 'data', UUID.replace('8', '9')));
  t.notOk(isCommitted([], key, 'data', UUID), 'an empty file allows none');
  t.end();
});

t.test('a damaged line is an error, not one line less', (t) => {
  for (const text of [
    UUID,
    `${UUID} `,
    `${line}A`,
    `${line} more`,
    ` ${line}`,
    line.slice(0, -1),
    `${line}\nx\n`,
  ]) {
    t.throws(
      () => parseCommitments(text, '/c'),
      { code: 'damaged', message: /^\/c:[12]: expected a UUID and 43/ },
      text,
    );
  }
  t.end();
});
