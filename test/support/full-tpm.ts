import type { Swtpm } from './swtpm.ts';

/** TPM2_PT_HR_PERSISTENT_AVAIL and TPM2_PT_NV_COUNTERS_AVAIL (TPM 2.0 Part 2 §6.13). */
function available(tpm: Swtpm, property: string): number {
  const text = tpm.run('tpm2_getcap', ['properties-variable']).toString();
  return Number(new RegExp(`${property}: (0x\\w+)`).exec(text)?.[1]);
}

function fill(tpm: Swtpm, property: string, first: number, make: (index: string) => void): void {
  // It tells how many there is room for, at least.
  for (let left = available(tpm, property), index = first; left > 0; left = available(tpm, property)) {
    for (; left > 0; left--) make(`0x${(index++).toString(16).padStart(8, '0')}`);
  }
}

/** Persistent keys from 0x81010000 on, until there is room for no more. */
export function fillHandles(tpm: Swtpm, folder: string): void {
  tpm.run('tpm2_createprimary', ['-Q', '-C', 'o', '-c', `${folder}/primary`]);
  fill(tpm, 'PERSISTENT_AVAIL', 0x81010000, (handle) => {
    tpm.run('tpm2_flushcontext', ['-t']);
    tpm.run('tpm2_evictcontrol', ['-Q', '-C', 'o', '-c', `${folder}/primary`, handle]);
  });
  tpm.flush();
}

/** NV counters from 0x01800200 on, likewise. */
export function fillCounters(tpm: Swtpm): void {
  const about = ['-s', '8', '-a', 'ownerwrite|authread|no_da|nt=counter'];
  fill(tpm, 'NV_COUNTERS_AVAIL', 0x01800200, (index) => {
    tpm.run('tpm2_nvdefine', ['-Q', '-C', 'o', ...about, index]);
  });
}
