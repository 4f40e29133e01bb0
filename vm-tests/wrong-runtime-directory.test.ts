import { breaks } from './harness/breaks.ts';
import { bootContainer } from './harness/container.ts';
import { completed } from './harness/expect.ts';
import { scenario } from './harness/scenario.ts';
import { sealedGuest } from './harness/sealed.ts';
import { SOCKET } from './harness/volumes.ts';

scenario('wrong: RuntimeDirectory= in the service', { container: bootContainer }, async (t, stage) => {
  const { guest } = await sealedGuest(stage, breaks.runtimeDirectory);
  const script = `${guest.script}ls ${SOCKET}; systemctl is-active fetch-luks-key@default.socket`;
  const result = await stage.boot({ ...guest, script });
  completed(t, result);
  t.match(result.output, /^boot: data: key delivered/m, 'the first connection gets its key');
  t.notMatch(result.output, /^data: the key opens it$/m, 'the second none');
  t.match(result.output, /cannot access '\/run\/fetch-luks-key\/default.sock'/, 'for the socket is deleted');
  t.match(result.output, /^active$/m, 'and systemd takes it to be there');
});
