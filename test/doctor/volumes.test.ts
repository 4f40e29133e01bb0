import { openWard, runSetUps } from './set-up.ts';
import { headerSetUps, lineSetUps } from './volume-set-ups.ts';

runSetUps(await openWard(), [...lineSetUps, ...headerSetUps]);
