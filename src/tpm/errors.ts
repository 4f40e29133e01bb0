import { AppError, type ErrorCode } from '../base/errors.ts';

/** What the TPM, or the library before it, answered, as tpm2-tools print it on standard error. */
export interface Response {
  /** TPM_RC (TPM 2.0 Part 2 §6.6), with the layer of the TSS in the upper half. */
  readonly code: number;
  readonly text: string;
}

/**
 * `ERROR: Esys_Unseal(0x99D) - tpm:session(1):a policy check failed`; the first one is the cause of the others. From
 * tpm2_nvincrement it is the library's line alone: `ERROR:esys:…:Esys_NV_Increment() Esys Finish ErrorCode (0x000009a2)`.
 */
export function responseIn(stderr: string): Response | null {
  const found =
    /^ERROR: \w+\(0x([0-9A-Fa-f]{1,8})\) - (.*)$/m.exec(stderr) ??
    /^ERROR:esys:.*:(?=\w+\(\) .*ErrorCode \(0x([0-9A-Fa-f]{1,8})\))(\w+)/m.exec(stderr);
  if (found?.[1] === undefined) return null;
  return { code: Number.parseInt(found[1], 16), text: printable(found[2] ?? '') };
}

const FORMAT_ONE = 0x80;
const ABOUT_PARAMETER = 0x40;

/** A format-one code without the number of the handle, session or parameter that it is about; others as they are. */
export function errorNumber(code: number): number {
  return isFormatOne(code) ? FORMAT_ONE | (code & 0x3f) : code;
}

/** Of the TPM itself, not of a layer above it. */
function isFormatOne(code: number): boolean {
  return code <= 0xffff && (code & FORMAT_ONE) !== 0;
}

/** Error numbers as `errorNumber` gives them, by their names in Part 2 without `TPM_RC_`. */
export const rc = {
  HANDLE: 0x80 | 0x0b,
  AUTH_FAIL: 0x80 | 0x0e,
  SIGNATURE: 0x80 | 0x1b,
  POLICY_FAIL: 0x80 | 0x1d,
  INTEGRITY: 0x80 | 0x1f,
  BAD_AUTH: 0x80 | 0x22,
  INITIALIZE: 0x100,
  FAILURE: 0x101,
  POLICY: 0x126,
  AUTH_UNAVAILABLE: 0x12f,
  NV_UNINITIALIZED: 0x14a,
  NV_SPACE: 0x14b,
  OBJECT_MEMORY: 0x902,
  SESSION_MEMORY: 0x903,
  SESSION_HANDLES: 0x905,
  LOCKOUT: 0x921,
} as const;

interface Meaning {
  readonly code: ErrorCode;
  readonly what: string;
  readonly hint?: string;
}

const SEAL_AGAIN = 'open the volume with another key and seal this one again';
export const WRONG_SIGNATURE = 'a signature is not by the policy key whose fingerprint it carries';
const NOT_OURS = 'the TPM holds another storage key than the one that the key was sealed under';

/** What a code means when it comes back while a sealed key is opened or made, whatever the tool. */
const meanings: Readonly<Record<number, Meaning>> = {
  [rc.HANDLE]: { code: 'foreign-tpm', what: 'the TPM has no storage key at 0x81000001', hint: SEAL_AGAIN },
  [rc.AUTH_FAIL]: { code: 'foreign-tpm', what: NOT_OURS, hint: SEAL_AGAIN },
  [rc.BAD_AUTH]: { code: 'foreign-tpm', what: NOT_OURS, hint: SEAL_AGAIN },
  [rc.INTEGRITY]: {
    code: 'foreign-tpm',
    what: 'the key was sealed by another TPM, or before this one was cleared',
    hint: SEAL_AGAIN,
  },
  [rc.SIGNATURE]: {
    code: 'damaged',
    what: WRONG_SIGNATURE,
  },
  [rc.AUTH_UNAVAILABLE]: {
    code: 'damaged',
    what: 'the sealed object has a policy of which the sealed key says nothing',
  },
  [rc.INITIALIZE]: {
    code: 'unavailable',
    what: 'the TPM was not started',
    hint: 'the firmware does that: reboot',
  },
  [rc.FAILURE]: {
    code: 'unavailable',
    what: 'the TPM is in failure mode',
    hint: 'switch the machine off and on',
  },
  [rc.NV_SPACE]: {
    code: 'refused',
    what: 'no room in the TPM for what is to stay in it',
    hint: 'tpm2_getcap handles-persistent and handles-nv-index list what does; tpm2_evictcontrol -c HANDLE and tpm2_nvundefine INDEX remove one',
  },
  [rc.OBJECT_MEMORY]: {
    code: 'unavailable',
    what: 'no room in the TPM for another object',
    hint: 'tpm2_flushcontext -t',
  },
  [rc.SESSION_MEMORY]: {
    code: 'unavailable',
    what: 'no room in the TPM for another session',
    hint: 'tpm2_flushcontext -l',
  },
  [rc.SESSION_HANDLES]: {
    code: 'unavailable',
    what: 'the TPM has no session handle left',
    hint: 'tpm2_flushcontext -s',
  },
};

/** The owner's hierarchy has a password: these tools are the ones that ask for it. */
const OWNER_TOOLS: ReadonlySet<string> = new Set([
  'tpm2_createprimary',
  'tpm2_evictcontrol',
  'tpm2_nvdefine',
  'tpm2_nvincrement',
  'tpm2_nvundefine',
]);
/** A parameter that these refuse came from the configuration. */
const MAKING_TOOLS: ReadonlySet<string> = new Set(['tpm2_createprimary', 'tpm2_create', 'tpm2_pcrread']);

/**
 * @param tool name of the tool that failed
 * @param stderr what it printed
 * @param tcti where it looked for the TPM
 */
export function toolFailure(tool: string, stderr: string, tcti: string): AppError {
  const response = responseIn(stderr);
  if (response === null) return withoutResponse(tool, stderr, tcti);
  const { code, what, hint } = meaningOf(tool, response.code);
  const origin = `${tool}: ${response.text}, 0x${response.code.toString(16)}`;
  return new AppError(code, `${what} (${origin})`, { hint });
}

function meaningOf(tool: string, code: number): Meaning {
  const number = errorNumber(code);
  if (OWNER_TOOLS.has(tool) && (number === rc.BAD_AUTH || number === rc.AUTH_FAIL)) {
    return {
      code: 'refused',
      what: "the TPM's owner hierarchy has a password",
      hint: 'a parent key is made without one only: tpm2_changeauth -c owner -p PASSWORD removes it',
    };
  }
  const known = meanings[number];
  if (known !== undefined) return known;
  const isParameter = isFormatOne(code) && (code & ABOUT_PARAMETER) !== 0;
  if (isParameter && tool === 'tpm2_load')
    return { code: 'damaged', what: 'the sealed object is not well-formed' };
  if (isParameter && MAKING_TOOLS.has(tool))
    return { code: 'bad-config', what: 'the TPM does not support that' };
  return { code: 'unavailable', what: 'the TPM answered with an error' };
}

/** The tool failed by itself: it found no TPM, or could not do with a file. */
function withoutResponse(tool: string, stderr: string, tcti: string): AppError {
  if (/could not load tcti/i.test(stderr)) {
    const [first = ''] = stderr.split('\n');
    const reason = printable(first.replace(/^\w+:\w+:\S+ /, '').replace(/^\w+\(\) /, ''));
    return new AppError('unavailable', `no TPM at ${tcti} (${reason})`, {
      hint: reason.includes('Permission denied')
        ? 'the user that runs this must be in group tss'
        : 'is the TPM switched on in the firmware, and its driver loaded?',
    });
  }
  const [line = 'no message'] = stderr.split('\n').filter((text) => text.startsWith('ERROR'));
  return new AppError('unavailable', `${tool} failed: ${printable(line)}`);
}

/** One short line of printable ASCII: it goes into the journal. */
function printable(text: string): string {
  return text
    .replaceAll(/[^ -~]/g, '?')
    .trim()
    .slice(0, 200);
}
