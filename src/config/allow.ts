import { AppError } from '../base/errors.ts';
import type { SealedKey } from '../pins/pin.ts';
import type { VolumeSettings } from './config.ts';

/**
 * A header is read before it can be authenticated: what it may make this machine do is for config.yaml to say.
 * @param where names the sealed key: a path, or a device and its token
 * @throws AppError `not-allowed`
 */
export function checkAllowed(
  sealed: Pick<SealedKey, 'uses'>,
  { allow, allowTang }: VolumeSettings,
  where: string,
): void {
  for (const { pin, url } of sealed.uses) {
    if (pin === 'sss') continue;
    if (allow !== null && !allow.includes(pin)) {
      throw refusal(`${where}: expected only the pins ${allow.join(', ')}, got ${pin}`, 'allow');
    }
    if (pin === 'tang' && allowTang !== null && (url === undefined || !allowTang.includes(url))) {
      throw refusal(
        `${where}: expected only the Tang servers ${allowTang.join(', ')}, got ${JSON.stringify(url)}`,
        'allow-tang',
      );
    }
  }
}

function refusal(message: string, field: string): AppError {
  return new AppError('not-allowed', message, {
    hint: `${field} of this volume in config.yaml says so; if you sealed it that way yourself, add it there`,
  });
}
