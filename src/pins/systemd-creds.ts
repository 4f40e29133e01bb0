import { fromBase64url, toBase64url } from '../base/bytes.ts';
import { AppError } from '../base/errors.ts';
import { Secret } from '../base/secret.ts';
import { type CredentialKey, type CredentialOptions, credentialKeys } from '../creds/credentials.ts';
import { damaged, isObject, type Jwe, shown } from '../jwe/compact.ts';
import { CONTENT_KEY_BYTES, decryptContent, encryptCompact } from '../jwe/content.ts';
import { pinHeader } from './header.ts';
import type { OpenContext, Pin } from './pin.ts';

const NAME = 'systemd-creds';
/** A file's name, as systemd wants it of a credential (systemd.exec(5), LoadCredential=). */
const CREDENTIAL_NAME = /^[A-Za-z0-9_][A-Za-z0-9_.@-]{0,63}$/;

/**
 * The content key is inside an encrypted credential, which systemd-creds(1) opens with the host's key, the TPM, or
 * both; the header has it as `clevis.systemd-creds.credential`, base64url, and its name beside it.
 */
export const systemdCreds: Pin = {
  name: NAME,

  parse(jwe) {
    const own = pinHeader(jwe, NAME, 'dir');
    if (own === null) return null;
    const { credential: text, name } = own;
    const credential = typeof text === 'string' ? fromBase64url(text) : null;
    if (credential === null || credential.length === 0) {
      throw damaged(`header field clevis.${NAME}.credential: expected base64url, got ${shown(text)}`);
    }
    if (typeof name !== 'string' || !CREDENTIAL_NAME.test(name)) {
      throw damaged(`header field clevis.${NAME}.name: expected a credential's name, got ${shown(name)}`);
    }
    return {
      pin: NAME,
      title: NAME,
      uses: [{ pin: NAME }],
      open: (context, signal) =>
        context.attempt(NAME, signal, (once) => open(jwe, credential, name, context, once)),
    };
  },

  async seal(config, secret, { credentials, random, signal }) {
    const options = readConfig(config);
    using contentKey = new Secret(random.bytes(CONTENT_KEY_BYTES));
    const text = (await credentials.encrypt(contentKey, options, signal)).toString('latin1');
    const own = { credential: toBase64url(Buffer.from(text, 'base64')), name: options.name };
    const header = { alg: 'dir', clevis: { pin: NAME, [NAME]: own } };
    return encryptCompact(header, contentKey, secret, random);
  },
};

async function open(
  jwe: Jwe,
  credential: Buffer,
  name: string,
  { credentials }: OpenContext,
  signal: AbortSignal,
): Promise<Secret> {
  const text = Buffer.from(credential.toString('base64'));
  using contentKey = await credentials.decrypt(text, name, signal);
  const plaintext = contentKey.length === CONTENT_KEY_BYTES ? decryptContent(jwe, contentKey) : null;
  if (plaintext === null)
    throw damaged('content does not authenticate with the key that systemd-creds opened');
  return plaintext;
}

/** `{"with-key": "host", "tpm2-pcrs": "7", "name": "…", "not-after": "2027-01-01"}`; each may be absent. */
function readConfig(config: unknown): CredentialOptions {
  const bad = (field: string, expected: string, got: unknown) =>
    new AppError('bad-config', `pin ${NAME}: ${field}: expected ${expected}, got ${shown(got)}`, {
      hint: 'for example {"with-key":"host+tpm2"}',
    });
  if (!isObject(config)) throw bad('configuration', 'an object', config);
  const {
    'with-key': key = 'auto',
    'tpm2-pcrs': pcrs = null,
    name = 'fetch-luks-key',
    'not-after': notAfter = null,
    ...others
  } = config;
  const [unknown] = Object.keys(others);
  if (unknown !== undefined) {
    throw bad('configuration', 'only with-key, tpm2-pcrs, name and not-after', unknown);
  }
  if (!isCredentialKey(key)) throw bad('with-key', credentialKeys.join(', '), key);
  if (pcrs !== null && (typeof pcrs !== 'string' || !/^(\d{1,2}(\+\d{1,2})*)?$/.test(pcrs))) {
    throw bad('tpm2-pcrs', 'PCRs as in 7+11', pcrs);
  }
  if (typeof name !== 'string' || !CREDENTIAL_NAME.test(name)) throw bad('name', "a credential's name", name);
  if (notAfter !== null && typeof notAfter !== 'string')
    throw bad('not-after', 'a time as text (systemd.time(7))', notAfter);
  return { name, key, pcrs, notAfter };
}

function isCredentialKey(value: unknown): value is CredentialKey {
  return credentialKeys.some((key) => key === value);
}
