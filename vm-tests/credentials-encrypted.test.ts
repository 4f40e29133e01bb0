import { bootContainer } from './harness/container.ts';
import { completed } from './harness/expect.ts';
import { type GuestFile, plainGuest } from './harness/guest.ts';
import { scenario } from './harness/scenario.ts';
import { innerTang, TANG_UNIT } from './harness/tang.ts';

const ID = 'password';
const FOLDER = '/etc/fetch-luks-key/credentials.encrypted';
const OWN = ['fetch-luks-key-credential@default.socket', '/run/fetch-luks-key/credentials/default.sock'];
const SHARED = ['fetch-luks-key-encrypted.socket', '/run/fetch-luks-key/encrypted.sock'];

/** Shows what it got. There is no ExecStartPre=: systemd alone keeps it from starting. */
function service([unit, path]: string[], setting = 'LoadCredentialEncrypted', more = ''): GuestFile {
  return {
    content: `[Unit]
Wants=${unit}
After=${unit}
[Service]
Type=oneshot
${setting}=${ID}:${path}
${more}ExecStart=/bin/sh -c 'echo "%N started with <$$(head -c 40 $$CREDENTIALS_DIRECTORY/${ID})> of $$(stat -Lc %%s $$CREDENTIALS_DIRECTORY/${ID})" >> /run/started'
`,
  };
}

const BELT = `ExecStartPre=/usr/bin/test -s %d/${ID}\n`;
const plain = (more?: string) => service(SHARED, 'LoadCredential', more);
const SERVICES: Readonly<Record<string, GuestFile>> = {
  own: service(OWN),
  shared: service(SHARED),
  'template@': service(SHARED),
  big: service(SHARED),
  revoked: service(SHARED),
  'own-cut': service(OWN),
  'own-killed': service(OWN),
  before: service(SHARED),
  during: service(SHARED),
  after: service(SHARED),
  gone: service(SHARED),
  othername: service(SHARED),
  expired: service(SHARED),
  otherhost: service(SHARED),
  unencrypted: plain(),
  'unencrypted-killed': plain(),
  'unencrypted-tested': plain(BELT),
};

const SEALED = ['own', 'shared', 'template@', 'own-cut', 'own-killed', 'before', 'during', 'after', 'gone'];

/** A process for all that takes a connection from its socket, writes a file to it, and is killed. */
const WRITES_AND_DIES = `open(L, '+<&=', 3); accept(C, L); open(F, '<', $ARGV[0]); local $/; syswrite(C, <F>);
sleep 1; kill('KILL', $$);
`;

const script = (url: string) => `pin='{"url": "${url}"}'
seal() { fetch-luks-key seal --credential $1.service/${ID} --encrypted tang "$pin" -y 2>&1 | sed 's/^/sealed: /'; }
for one in ${SEALED.join(' ')}; do printf 'open sesame' | seal $one; done
head -c 700000 /dev/zero | tr '\\0' x | seal big
# As they would be by mistake, or by malice: sealed as text of another origin.
foreign() { mkdir -p ${FOLDER}/$1.service; fetch-luks-key seal tang "$pin" -y > ${FOLDER}/$1.service/${ID}.jwe; }
printf 'open sesame' | systemd-creds encrypt --with-key=host --name=other - - | foreign othername
printf 'open sesame' | systemd-creds encrypt --with-key=host --name=${ID} --not-after=+1s - - | foreign expired
mv /var/lib/systemd/credential.secret /root/secret
printf 'open sesame' | systemd-creds encrypt --with-key=host --name=${ID} - - | foreign otherhost
rm -f /var/lib/systemd/credential.secret; mv /root/secret /var/lib/systemd/credential.secret
printf 'open sesame' | fetch-luks-key seal --credential unencrypted.service/${ID} tang "$pin" -y 2>/dev/null
sleep 1.5
try() { timeout 30 systemctl start $1 2>/dev/null; echo "$1: $?"; }
try own.service; try shared.service; try template@one.service; try big.service
for one in othername expired otherhost unencrypted revoked; do try $one.service; done
systemctl show -p MainPID fetch-luks-key-encrypted.service
journalctl -b --no-pager -o cat | grep -c 'Started .*Encrypted secrets of services, one process' | sed 's/^/processes: /'

# Before a byte is written: the server does not answer.
systemctl stop ${TANG_UNIT}
killed() { until pgrep -f "$1" >/dev/null; do sleep 0.1; done; sleep 2; pkill -KILL -f "$1"; echo killed; }
killed '^/usr/bin/fetch-luks-key handle --all$' & try before.service; wait
killed '^/usr/bin/fetch-luks-key handle$' & try own-killed.service; wait
systemctl start ${TANG_UNIT}

# While it writes, and after it has: what is sent is what would be, and the process ends by SIGKILL.
fetch-luks-key open ${FOLDER}/during.service/${ID}.jwe > /root/credential
head -c 100 /root/credential > /root/half
mv /usr/bin/fetch-luks-key /usr/bin/kept
fake() {
  systemctl stop fetch-luks-key-encrypted.service; systemctl reset-failed; systemctl start ${SHARED[0]}
  printf '#!/bin/sh\n%s\n' "$1" > /usr/bin/fetch-luks-key; chmod 755 /usr/bin/fetch-luks-key
}
fake 'exec perl /root/writes-and-dies /root/half'
try during.service
fake 'exec perl /root/writes-and-dies /root/credential'
try after.service
for one in killed tested; do
  fake 'exec perl /root/writes-and-dies /dev/null'
  try unencrypted-$one.service
done
fake 'cat /root/half >&0; kill -KILL $$'
try own-cut.service
systemctl stop fetch-luks-key-encrypted.service; systemctl reset-failed; systemctl start ${SHARED[0]}
rm /usr/bin/fetch-luks-key
try gone.service
mv /usr/bin/kept /usr/bin/fetch-luks-key
# The next who asks is served again.
systemctl reset-failed; try own.service; try shared.service
journalctl -b --no-pager -t fetch-luks-key -o cat
cat /run/started
`;

scenario('encrypted secrets of services', { container: bootContainer }, async (t, stage) => {
  const tang = innerTang(stage.folder);
  const units = Object.entries(SERVICES).map(([name, file]) => [`/etc/systemd/system/${name}.service`, file]);
  const result = await stage.boot({
    ...plainGuest,
    enable: [TANG_UNIT],
    files: {
      ...tang.files(0),
      ...Object.fromEntries(units),
      '/root/writes-and-dies': { content: WRITES_AND_DIES },
    },
    script: script(tang.url),
    watchdogSeconds: 150,
  });
  completed(t, result);
  const { output } = result;
  const starts = (name: string, how: string) => {
    t.match(output, new RegExp(`^${name}\\.service: 0$`, 'm'), name);
    t.ok(
      output.includes(`\n${name.replace(/\.service$/, '')} started with ${how}\n`),
      `${name}: with ${how}`,
    );
  };
  const fails = (name: string, why: string) => {
    t.match(output, new RegExp(`^${name}\\.service: 1$`, 'm'), `${name}: ${why}`);
    t.notMatch(output, `\n${name} started`, `${name}: and does not start with less`);
  };
  const right = '<open sesame> of 11';
  for (const name of ['own', 'shared', 'template@one', 'after']) starts(name, right);
  starts('big', `<${'x'.repeat(40)}> of 700000`);
  fails('before', 'killed before it writes');
  fails('own-killed', 'the same, with a process of its own');
  fails('during', 'killed when it has written half');
  fails('own-cut', 'the same, with a process of its own');
  fails('gone', 'the program is missing');
  fails('othername', 'a credential of another name');
  fails('expired', 'one past its time');
  fails('otherhost', 'one of another host');
  fails('unencrypted', 'one process for all serves no plain secrets');
  fails('revoked', 'nothing is sealed for it');
  // Why: whoever dies leaves an empty secret.
  starts('unencrypted-killed', '<> of 0');
  fails('unencrypted-tested', 'its ExecStartPre= notices what systemd does not');
  t.equal(output.match(/^killed$/gm)?.length, 2);
  t.match(output, /^MainPID=[1-9]\d*\nprocesses: 1$/m, 'one process served all of them');
});
