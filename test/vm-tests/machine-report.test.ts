import t from 'tap';
import { preparationFault, readReport } from '../../vm-tests/harness/machine-report.ts';

const WHOLE = `== failed-units\r
data.service\r
== output\r
first\r
second\r
\r
== status 3\r
== journal\r
[    1.0] guest systemd[1]: hello\r
== end\r
`;

t.test('a whole report', async (t) => {
  t.strictSame(readReport(WHOLE), {
    status: 3,
    output: 'first\nsecond',
    journal: '[    1.0] guest systemd[1]: hello',
    hung: null,
    failedUnits: ['data.service'],
  });
});

t.test('the watchdog’s report has no status', async (t) => {
  const report = readReport('== hung\n--- jobs\n1 a.service start running\n== journal\nx\n== end\n');
  t.match(report, { status: null, output: '', journal: 'x', hung: '--- jobs\n1 a.service start running' });
});

t.test('one that breaks off, wherever, is none', async (t) => {
  const marks = [...WHOLE.matchAll(/^==/gm)].map(({ index }) => index);
  for (const end of marks) t.equal(readReport(WHOLE.slice(0, end)), null);
});

t.test('what the script prints is not taken for the report', async (t) => {
  const report = readReport(WHOLE.replace('first', 'the == end of it'));
  t.equal(report?.output, 'the == end of it\nsecond');
});

t.test('a guest that could not be prepared', async (t) => {
  t.equal(preparationFault('== failed to prepare\n'), 'failed to prepare');
  t.equal(preparationFault(WHOLE), null, 'failed units are another matter');
});
