import { AppError } from '../../base/errors.ts';
import { parseDuration } from '../../config/quantity.ts';
import type { OperatorRequest } from '../../wire/operator.ts';

export const policyOptions = {
  lease: { type: 'string' },
  'boot-grace': { type: 'string' },
  'late-keepalive': { type: 'string' },
  'self-expect': { type: 'string' },
  approval: { type: 'string' },
  from: { type: 'string', multiple: true },
} as const;

type Policy = Extract<OperatorRequest, { command: 'invite' }>['policy'];
export type GivenPolicy = Readonly<
  Partial<Record<Exclude<keyof typeof policyOptions, 'from'>, string>> & { from?: string[] }
>;

/** @param command that has these options @throws AppError `usage` */
export function policyOf(command: string, values: GivenPolicy): Policy {
  const duration = (name: 'lease' | 'boot-grace') => {
    const text = values[name];
    const ms = text === undefined ? undefined : parseDuration(text);
    if (ms === null) throw wrong(command, name, 'a duration with its unit (90s, 15m, 2h), or 0', text);
    return ms;
  };
  const choice = <const T extends string>(
    name: keyof Omit<GivenPolicy, 'from'>,
    one: T,
    other: T,
  ): T | undefined => {
    const text = values[name];
    if (text === undefined || text === one || text === other) return text as T | undefined;
    throw wrong(command, name, `${one} or ${other}`, text);
  };
  return {
    'lease-ms': duration('lease'),
    'boot-grace-ms': duration('boot-grace'),
    'late-keepalive': choice('late-keepalive', 'rearm', 'lock'),
    'self-expect': choice('self-expect', 'reboot', 'never'),
    approval: choice('approval', 'auto', 'manual'),
    'allowed-from': values.from,
  };
}

function wrong(command: string, option: string, expected: string, got: string | undefined): AppError {
  return new AppError('usage', `${command}: --${option}: expected ${expected}, got ${JSON.stringify(got)}`);
}
