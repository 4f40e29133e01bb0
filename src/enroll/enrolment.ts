import type { EnrolStep } from './context.ts';
import { counters } from './counters.ts';
import { editCrypttab, leaveCommitment, storeFile } from './file-steps.ts';
import { addKeyslot, storeToken } from './header-steps.ts';
import { askTheSocket, prove } from './prove.ts';
import { serverKeys } from './server-step.ts';
import { disable, enable } from './units.ts';

/**
 * Nothing that opens the volume so far is touched, and nothing that the boot looks at first is written before the new way
 * is proven.
 */
export const enrolment: readonly EnrolStep[] = [
  counters,
  serverKeys,
  addKeyslot,
  storeToken,
  { title: 'proving the new way', do: prove, async undo() {} },
  storeFile,
  leaveCommitment,
  {
    title: 'enabling units',
    async do({ record, world }, signal) {
      for (const unit of record.units) await enable(unit, world, signal);
    },
    async undo({ record, world }, signal) {
      for (const unit of record.units.toReversed()) await disable(unit, world, signal);
    },
  },
  editCrypttab,
  { title: 'asking the socket', do: askTheSocket, async undo() {} },
];
