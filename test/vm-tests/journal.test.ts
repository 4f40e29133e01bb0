import t from 'tap';
import { inOrder, lineOf, timeOf } from '../../vm-tests/harness/journal.ts';

const journal = `Welcome to Debian
[    1.500000] guest systemd[1]: first
[   12.345678] guest systemd[1]: second
[   13.000000] guest systemd[1]: first again`;

t.test('the first line that matches', async (t) => {
  t.equal(lineOf(journal, /first/), '[    1.500000] guest systemd[1]: first');
  t.equal(lineOf(journal, /third/), null);
});

t.test('when it was written', async (t) => {
  t.equal(timeOf(journal, /second/), 12.345678);
  t.equal(timeOf(journal, /third/), Number.POSITIVE_INFINITY);
  t.throws(() => timeOf(journal, /Welcome/), { name: 'HarnessError', message: /no time stamp in: Welcome/ });
});

t.test('order is true only when both are there', async (t) => {
  t.ok(inOrder(journal, /first$/, /second/));
  t.notOk(inOrder(journal, /second/, /first$/));
  t.notOk(inOrder(journal, /first/, /third/));
  t.notOk(inOrder(journal, /third/, /first/));
  t.notOk(inOrder(journal, /first$/, /first$/));
});
