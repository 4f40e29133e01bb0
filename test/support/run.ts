import { spawn } from 'node:child_process';
import { buffer, text } from 'node:stream/consumers';

/** Runs a program to its end without blocking the test's own event loop. */
export async function run(
  [program = '', ...args]: readonly string[],
  input: Uint8Array,
  environment: Readonly<Record<string, string>>,
): Promise<{ status: number | null; stdout: Buffer; stderr: string }> {
  const child = spawn(program, args, { env: { PATH: '/usr/sbin:/usr/bin:/sbin:/bin', ...environment } });
  const status = new Promise<number | null>((ended) => child.on('close', ended));
  // One that does not read all of it: how it ends tells.
  child.stdin.on('error', () => {});
  child.stdin.end(input);
  const [stdout, stderr] = await Promise.all([buffer(child.stdout), text(child.stderr)]);
  return { status: await status, stdout, stderr };
}
