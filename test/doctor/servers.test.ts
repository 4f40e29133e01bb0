import t from 'tap';
import { startKeyServer } from '../support/key-server.ts';
import { serverSetUps } from './server-set-ups.ts';
import { openWard, runSetUps } from './set-up.ts';

const ward = await openWard();
const server = await startKeyServer(t);
runSetUps(
  ward,
  serverSetUps(() => server),
);
