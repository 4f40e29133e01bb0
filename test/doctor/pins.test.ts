import { pinSetUps } from './pin-set-ups.ts';
import { openWard, runSetUps } from './set-up.ts';

runSetUps(await openWard(), pinSetUps);
