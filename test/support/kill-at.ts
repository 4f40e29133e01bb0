import { appendFileSync } from 'node:fs';
import { durableFiles } from '../../src/os/durable-files.ts';
import { runner } from '../../src/os/processes.ts';
import { serverConnector } from '../../src/os/server-connection.ts';

/**
 * Loaded before the program (`node --import`): ends it by SIGKILL just before the KILL_AT-th thing that it does to a disk,
 * a call of cryptsetup or a change of a file, or asks of a key server, as a power cut between two of them would. Each is
 * named in a line of KILL_LOG.
 */
const killAt = Number(process.env['KILL_AT']);
const log = process.env['KILL_LOG'] ?? '/dev/null';
let count = 0;

function reach(name: string): void {
  count++;
  appendFileSync(log, `${name}\n`);
  if (count === killAt) process.kill(process.pid, 'SIGKILL');
}

const { run } = runner;
Object.assign(runner, {
  run: (...args: Parameters<typeof run>) => {
    const [tool, [verb, more]] = args;
    if (tool.endsWith('/cryptsetup')) reach(`cryptsetup ${verb} ${verb === 'token' ? more : ''}`.trim());
    return run(...args);
  },
});

const { connect } = serverConnector;
Object.assign(serverConnector, {
  async connect(...args: Parameters<typeof connect>) {
    const connection = await connect(...args);
    const { request } = connection;
    return Object.assign(connection, {
      request: (asked: Parameters<typeof request>[0]) => {
        reach(`${asked.method} ${asked.path.split('/').slice(0, 3).join('/')}`);
        return request(asked);
      },
    });
  },
});

const { replace, remove } = durableFiles;
let isInside = false;
const outermost =
  <T extends unknown[]>(name: string, work: (path: string, ...rest: T) => void) =>
  (path: string, ...rest: T) => {
    if (isInside) return work(path, ...rest);
    reach(`${name} ${path.split('/').slice(-2).join('/')}`);
    isInside = true;
    try {
      work(path, ...rest);
    } finally {
      isInside = false;
    }
  };
Object.assign(durableFiles, {
  replace: outermost('replace', replace),
  remove: outermost('remove', remove),
});
