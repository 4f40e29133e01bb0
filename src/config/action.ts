import * as v from 'valibot';
import { list } from './field.ts';

/**
 * What a running machine does when its server says that it is locked or revoked: `suspend` and `close` are for every
 * volume of ours (cryptsetup-luksSuspend(8), cryptsetup-close(8)); `run` starts a program by its absolute path.
 */
export type Action = 'suspend' | 'close' | 'poweroff' | { readonly run: readonly string[] };

const ACTIONS = 'a list of suspend, close, poweroff or { run: [/path, argument…] }';

const argv = v.pipe(
  v.array(v.string(ACTIONS), ACTIONS),
  v.check((words) => words[0]?.startsWith('/') === true, 'a program by its absolute path'),
);

export const actionsSchema = list(
  v.union([v.picklist(['suspend', 'close', 'poweroff'] as const), v.strictObject({ run: argv })], ACTIONS),
  ACTIONS,
);
