import { openWard, runSetUps } from './set-up.ts';
import { unitSetUps } from './unit-set-ups.ts';

runSetUps(await openWard(), unitSetUps);
