import { createServer } from 'node:net';
import t from 'tap';
import { machine } from '../support/keepalive-machine.ts';
import { startKeyServer } from '../support/key-server.ts';

t.setTimeout(120_000);

t.test('a reboot announces itself, a power-off does not', async (t) => {
  const server = await startKeyServer(t);
  const nas = await machine(t, server);
  const announced = async () => {
    const { stdout } = await server.command('audit', 'show');
    return [...stdout.matchAll(/machine announce nas from 127\.0\.0\.1: (.*)/g)].map(
      ([, outcome]) => outcome,
    );
  };
  for (const jobs of [
    '',
    '12 poweroff.target start waiting\n13 umount.target start waiting\n',
    '12 halt.target start waiting\n',
    '12 soft-reboot.target start waiting\n',
    '12 reboot.target stop waiting\n',
  ]) {
    t.match(await nas.announce(jobs), { status: 0, stderr: '' }, jobs);
  }
  t.same(await announced(), [], 'none of these is a reboot');
  for (const target of ['reboot', 'kexec']) {
    const jobs = `12 final.target start waiting\n 7 ${target}.target start waiting\n`;
    t.match(await nas.announce(jobs), { status: 0, stderr: /^<6>home: this reboot is announced\n$/ });
  }
  t.same(await announced(), ['announced', 'announced']);

  const reboots = '7 reboot.target start waiting\n';
  await nas.announce(reboots);
  await nas.announce(reboots);
  const refused = await nas.announce(reboots);
  t.match(refused, {
    status: 5,
    stderr: /^<4>home: this reboot is not announced: the server does not grant it/,
  });
  await server.stop();
  t.match(await nas.announce(reboots), { status: 5, stderr: /not announced: .*connection refused/ });
  const silent = createServer(() => {});
  await new Promise<void>((ready) => silent.listen(Number(new URL(server.url).port), '127.0.0.1', ready));
  t.match(await nas.announce(reboots), { status: 5, stderr: /not announced: not within 8000 ms\n$/ });
  silent.close();
  nas.forget();
  t.match(await nas.announce(reboots), { status: 0, stderr: /^<6>home: .*no key of this server was opened/ });
});
