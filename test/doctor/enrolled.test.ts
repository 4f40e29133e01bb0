import { enrolledSetUps } from './enrolled-set-ups.ts';
import { openWard, runSetUps } from './set-up.ts';

runSetUps(await openWard(), enrolledSetUps);
