import t from 'tap';
import { withServer } from '../../src/config/edit.ts';
import { parseConfig } from '../../src/config/parse.ts';

const settings = { url: 'https://keys.example:7443', pin: `sha256/${'A'.repeat(43)}`, identity: '/etc/x' };

t.test('a server comes in and goes out, and everything else stays as it was written', (t) => {
  const texts = [
    '',
    '# nothing yet\n',
    'volumes:\n  data: { give-up-after: 5m } # patient\n',
    `# ours\nservers:\n  other: { url: "https://o", pin: ${settings.pin}, identity: /o } # keep\n`,
  ];
  for (const text of texts) {
    const added = withServer(text, 'home', settings);
    t.equal(parseConfig(added, 'c').servers.get('home')?.url.href, 'https://keys.example:7443/', text);
    for (const line of text.split('\n')) t.ok(added.includes(line.trim()), line);
    const removed = withServer(added, 'home', null);
    t.notOk(parseConfig(removed, 'c').servers.has('home'));
    for (const line of text.split('\n')) t.ok(removed.includes(line.trim()), line);
  }
  t.equal(withServer(withServer('', 'home', settings), 'home', null).trim(), '{}');
  t.end();
});
