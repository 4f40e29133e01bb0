import t from 'tap';
import { severityOf } from '../../src/doctor/finding.ts';
import { committedPage, table, untested } from './page.ts';

t.test('the table of docs/DOCTOR.md is what the tests look for: npm run doctor-page', async (t) => {
  t.equal(committedPage().table, table());
  // Only what depends on what is not systemd's.
  t.strictSame(untested(), ['other-init']);
});

t.test('docs/DOCTOR.md has a section for each finding, in their order, and no others', async (t) => {
  const headings = [...committedPage().text.matchAll(/^### `([a-z-]+)`$/gm)].map((match) => match[1]);
  t.strictSame(headings, Object.keys(severityOf));
});
