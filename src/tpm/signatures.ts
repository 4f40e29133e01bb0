import { AppError } from '../base/errors.ts';
import { limits } from '../base/limits.ts';
import type { Files } from '../base/ports.ts';
import { type HashName, isHashName, parsePcrIds } from './pcrs.ts';

const NAME = 'tpm2-pcr-signature.json';

/**
 * Where systemd looks for signed PCR policies (systemd-cryptsetup: `tpm2-signature=` in crypttab(5)). The stub of a
 * unified kernel image passes its `.pcrsig` section on, which ends up in /run/systemd.
 */
export const signaturePaths: readonly string[] = [
  `/etc/systemd/${NAME}`,
  `/run/systemd/${NAME}`,
  `/usr/local/lib/systemd/${NAME}`,
  `/usr/lib/systemd/${NAME}`,
];

/** One signed policy: PolicyPCR alone, with values that the PCRs are to have. */
export interface PolicySignature {
  readonly path: string;
  readonly bank: HashName;
  /** Ascending. */
  readonly pcrs: readonly number[];
  /** Of the key that signed, as `fingerprintOf` gives it. */
  readonly fingerprint: string;
  /** The policy's digest, of SHA-256. */
  readonly policy: Buffer;
  /** RSASSA-PKCS1-v1_5 over SHA-256 of `policy`. */
  readonly signature: Buffer;
}

export interface SignatureFiles {
  /** In the order of the paths. */
  readonly signatures: readonly PolicySignature[];
  /** Files that are there. */
  readonly paths: readonly string[];
  /** Of the first file that cannot be read; the others count still. */
  readonly fault: AppError | null;
}

/** All that the files hold: unlike systemd, which stops at the first file, one that is out of date hides no other. */
export async function readSignatures(files: Pick<Files, 'read'>): Promise<SignatureFiles> {
  const signatures: PolicySignature[] = [];
  const paths: string[] = [];
  let fault: AppError | null = null;
  for (const path of signaturePaths) {
    try {
      const text = await files.read(path, limits.pcrSignatureBytes);
      if (text === null) continue;
      paths.push(path);
      signatures.push(...parseSignatures(text.toString(), path));
    } catch (thrown) {
      if (!(thrown instanceof AppError)) throw thrown;
      fault ??= thrown;
    }
  }
  return { signatures, paths, fault };
}

/**
 * systemd's form: `{"sha256": [{"pcrs": [11], "pkfp": hex, "pol": hex, "sig": base64}, …], …}`. Other members are
 * passed over, as systemd does.
 * @throws AppError `damaged`
 */
export function parseSignatures(text: string, path: string): PolicySignature[] {
  const wrong = (what: string) =>
    new AppError('damaged', `${path}: ${what}`, {
      hint: 'systemd-measure sign writes it, or ukify as .pcrsig of a unified kernel image',
    });
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch {
    throw wrong('expected JSON');
  }
  if (!isRecord(json)) throw wrong('expected an object');
  return Object.entries(json)
    .filter(([bank]) => isHashName(bank))
    .flatMap(([bank, entries]) => {
      if (!Array.isArray(entries)) throw wrong(`${bank}: expected a list`);
      return entries.map((entry, index) => {
        const fields = readEntry(entry);
        if (fields === null) {
          throw wrong(`${bank}, entry ${index + 1}: expected pcrs, pkfp, pol and sig as systemd writes them`);
        }
        return { path, bank: bank as HashName, ...fields };
      });
    });
}

function readEntry(entry: unknown): Omit<PolicySignature, 'path' | 'bank'> | null {
  if (!isRecord(entry)) return null;
  const { pcrs: list, pkfp, pol, sig } = entry;
  const pcrs = Array.isArray(list) ? parsePcrIds(list) : null;
  const isHex = (value: unknown): value is string =>
    typeof value === 'string' && /^[0-9a-fA-F]{64}$/.test(value);
  if (pcrs === null || !isHex(pkfp) || !isHex(pol) || typeof sig !== 'string') return null;
  const signature = Buffer.from(sig, 'base64');
  return { pcrs, fingerprint: pkfp.toLowerCase(), policy: Buffer.from(pol, 'hex'), signature };
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
