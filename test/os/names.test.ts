import t from 'tap';
import { lookUp } from '../../src/os/names.ts';

function found(name: string): Promise<string> {
  return new Promise((resolve) => {
    lookUp(name, { all: false }, (error, address) =>
      resolve(error === null ? String(address) : (error.code ?? '')),
    );
  });
}

t.test('a name is found, also by several at once and again later', async (t) => {
  const all = await Promise.all(Array.from({ length: 20 }, () => found('localhost')));
  t.match(all[0], /^(127\.0\.0\.1|::1)$/);
  t.equal(new Set(all).size, 1);
  t.equal(await found('localhost'), all[0]);
});

t.test('a name that nobody has is not found, for each who asks', async (t) => {
  const all = await Promise.all(Array.from({ length: 5 }, () => found('nobody.invalid')));
  for (const code of all) t.match(code, /^(ENOTFOUND|EAI_AGAIN)$/);
});
