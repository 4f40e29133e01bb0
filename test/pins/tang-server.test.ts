import t from 'tap';
import { parseCompact } from '../../src/jwe/compact.ts';
import { startTang } from '../support/tang.ts';
import { parse, seal, withHeader } from '../support/tang-pin.ts';

t.test('URLs that go nowhere good are refused, at sealing and in a header', async (t) => {
  const server = await startTang(t);
  const jwe = await seal({ url: server.url, thp: server.thp }, 'x');
  const { header } = parseCompact(jwe);
  const { adv } = (header.clevis as { tang: { adv: unknown } }).tang;
  const urls = [
    undefined,
    7,
    '',
    'http://',
    'ftp://127.0.0.1',
    'file:///etc/passwd',
    'javascript:alert(1)',
    'http://user:secret@127.0.0.1',
    'http://user@127.0.0.1',
    'user@127.0.0.1',
    'http://127.0.0.1/?q',
    'http://127.0.0.1/#f',
    'http://127.0.0.1:99999',
    'http://127.0.0.1/a b',
    ' http://127.0.0.1',
    'http://127.0.0.1\n',
    'http:\\\\127.0.0.1',
    'http://127.0.0.1\\@other',
    'http://tängelö.example',
    `http://127.0.0.1/${'a'.repeat(1024)}`,
  ];
  for (const url of urls) {
    const name = String(url).slice(0, 40);
    const changed = { ...header, clevis: { pin: 'tang', tang: { adv, url } } };
    t.throws(
      () => parse(withHeader(jwe, changed)),
      { code: 'damaged', message: /clevis\.tang\.url: expected an http or https URL/ },
      name,
    );
    await t.rejects(
      seal({ url, thp: server.thp }, 'x'),
      { code: 'bad-config', message: /^pin tang: url: expected / },
      name,
    );
  }
});
