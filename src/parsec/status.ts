import { AppError, type ErrorCode } from '../base/errors.ts';

/** What Parsec answers (parsec-book, 'Status Codes'): the ones that mean something to us. */
export const status = {
  success: 0,
  alreadyExists: 1139,
} as const;

const AUTHENTICATOR = 'set auth_type = "UnixPeerCredentials" in /etc/parsec/config.toml';

/** All else may be over by the next try. */
const meanings: Readonly<Record<number, readonly [ErrorCode, string, string?]>> = {
  5: ['unavailable', 'it has no such provider', 'see [[provider]] in /etc/parsec/config.toml'],
  6: ['unavailable', 'it knows no such provider'],
  9: ['unavailable', 'it does not know this operation'],
  11: ['refused', 'it does not take us for who we are', AUTHENTICATOR],
  12: ['refused', 'it does not know Unix peer credentials', AUTHENTICATOR],
  13: ['refused', 'it does not authenticate by Unix peer credentials', AUTHENTICATOR],
  14: ['unavailable', 'its list of keys is unusable'],
  19: ['refused', 'it takes only who is authenticated', AUTHENTICATOR],
  1132: ['unavailable', 'its provider failed, and does not say why', 'journalctl -u parsec'],
  1133: ['refused', 'the key is not for this'],
  1134: ['unavailable', 'its provider does not support this'],
  1140: ['foreign-tpm', 'it has no such key of this user', 'sealed on another machine, or its keys are gone'],
  1146: ['unavailable', 'its storage failed', 'is its WorkingDirectory= a folder that it may write to?'],
  1149: ['foreign-tpm', 'this was not encrypted to its key'],
  1150: [
    'foreign-tpm',
    'this was not encrypted to its key',
    'sealed on another machine, or with a key that is gone',
  ],
};

export function failure(code: number): AppError {
  const [kind, reason, hint] = meanings[code] ?? ['unavailable', 'it failed', 'journalctl -u parsec'];
  return new AppError(kind, `${reason} (status ${code})`, { hint });
}
