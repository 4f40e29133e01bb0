const start = performance.now();

/** One line to stderr: what takes long says that it goes on. */
export function say(line: string): void {
  const seconds = ((performance.now() - start) / 1000).toFixed(0).padStart(4);
  process.stderr.write(`vm-tests ${seconds} s: ${line}\n`);
}
