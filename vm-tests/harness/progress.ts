import { record } from './results.ts';

const start = performance.now();

/** To stderr, by way of the runner where there is one: what takes long says that it goes on. */
export function say(text: string): void {
  if (record({ said: text })) return;
  const seconds = ((performance.now() - start) / 1000).toFixed(0).padStart(4);
  process.stderr.write(`vm-tests ${seconds} s: ${text}\n`);
}
