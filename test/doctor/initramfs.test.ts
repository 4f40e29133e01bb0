import { initramfsSetUps } from './initramfs-set-ups.ts';
import { openWard, runSetUps } from './set-up.ts';

runSetUps(await openWard(), initramfsSetUps);
