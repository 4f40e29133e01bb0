import { randomBytes } from 'node:crypto';
import type { Random } from '../base/ports.ts';

export const random: Random = { bytes: (count) => randomBytes(count), fraction: () => Math.random() };
