import { AppError } from '../base/errors.ts';
import { limits } from '../base/limits.ts';
import type { VolumeName } from '../base/names.ts';
import type { Secret } from '../base/secret.ts';

/**
 * The last look before a key leaves. An empty one would be tried as the empty passphrase, which opens a volume
 * that has one, whoever made it.
 * @throws AppError `damaged`
 */
export function verify(secret: Secret, volume: VolumeName): void {
  if (secret.length === 0) {
    throw new AppError(
      'damaged',
      `the key of ${volume} is empty, which would be tried as the empty passphrase`,
      {
        hint: 'seal the volume’s key again',
      },
    );
  }
  if (secret.length > limits.keyBytes) {
    throw new AppError(
      'damaged',
      `the key of ${volume}: expected at most ${limits.keyBytes} bytes, got ${secret.length}`,
    );
  }
}
