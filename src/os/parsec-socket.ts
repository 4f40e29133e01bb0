import { AppError } from '../base/errors.ts';

const DEFAULT = '/run/parsec/parsec.sock';

/**
 * Where the Parsec service listens: $PARSEC_SERVICE_ENDPOINT (parsec-book, 'Service Discovery'), else where it is by
 * default.
 * @throws AppError `bad-config` for another kind of address than `unix:PATH`
 */
export function parsecSocket(environment: NodeJS.ProcessEnv): string {
  const { PARSEC_SERVICE_ENDPOINT: endpoint = '' } = environment;
  if (endpoint === '') return DEFAULT;
  const [, path] = /^unix:(\/.*)$/s.exec(endpoint) ?? [];
  if (path !== undefined) return path;
  throw new AppError(
    'bad-config',
    `environment variable PARSEC_SERVICE_ENDPOINT: expected unix:/PATH, got ${JSON.stringify(endpoint)}`,
  );
}
