import { AppError } from '../base/errors.ts';
import { limits } from '../base/limits.ts';

/**
 * One message of Parsec's wire protocol 1.0: a header of 36 bytes, little-endian, and a body
 * (https://parallaxsecond.github.io/parsec-book/parsec_client/wire_protocol.html, 'The Fixed Common Header').
 */

const MAGIC = 0x5ec0a710;
/** After the magic number and itself. */
const HEADER_SIZE = 30;
const WHOLE_HEADER = 4 + 2 + HEADER_SIZE;
const at = {
  size: 4,
  major: 6,
  minor: 7,
  provider: 10,
  auth: 21,
  body: 22,
  authLength: 26,
  opcode: 28,
  status: 32,
};

/** Authentication types (parsec-book, api_overview 'Authentication and Sessions'): with a user id of 32 bits. */
const UNIX_PEER_CREDENTIALS = 3;
const UID_BYTES = 4;

export interface Request {
  /** 0 = the service itself. */
  readonly provider: number;
  readonly opcode: number;
  readonly body: Buffer;
  /** Who we say we are, which the service compares with SO_PEERCRED. */
  readonly uid: number;
}

export interface Response {
  /** 0 = success (parsec-book, 'Status Codes'). */
  readonly status: number;
  readonly body: Buffer;
}

/** @returns the message; `body` may be wiped then */
export function encodeRequest({ provider, opcode, body, uid }: Request): Buffer {
  const message = Buffer.alloc(WHOLE_HEADER + body.length + UID_BYTES);
  message.writeUInt32LE(MAGIC);
  message.writeUInt16LE(HEADER_SIZE, at.size);
  message.writeUInt8(1, at.major);
  message.writeUInt8(provider, at.provider);
  message.writeUInt8(UNIX_PEER_CREDENTIALS, at.auth);
  message.writeUInt32LE(body.length, at.body);
  message.writeUInt16LE(UID_BYTES, at.authLength);
  message.writeUInt32LE(opcode, at.opcode);
  message.set(body, WHOLE_HEADER);
  message.writeUInt32LE(uid, WHOLE_HEADER + body.length);
  return message;
}

/**
 * How many bytes a response has in all.
 * @param head its first bytes
 * @returns null when these are too few to tell
 * @throws AppError `unavailable` when they begin no response
 */
export function responseBytes(head: Buffer): number | null {
  if (head.length >= 4 && head.readUInt32LE() !== MAGIC) throw strange('no response of Parsec');
  if (head.length < WHOLE_HEADER) return null;
  const [size, major, minor] = [
    head.readUInt16LE(at.size),
    head.readUInt8(at.major),
    head.readUInt8(at.minor),
  ];
  if (size !== HEADER_SIZE || major !== 1 || minor !== 0) {
    throw strange(`wire protocol ${major}.${minor} with a header of ${size} bytes`);
  }
  const length = WHOLE_HEADER + head.readUInt32LE(at.body);
  if (length > limits.parsecResponseBytes) throw strange(`a response of ${length} bytes`);
  return length;
}

/**
 * @param message as long as `responseBytes` says
 * @throws AppError `unavailable` when it answers something else
 */
export function decodeResponse(
  message: Buffer,
  { provider, opcode }: Pick<Request, 'provider' | 'opcode'>,
): Response {
  const [gotProvider, gotOpcode] = [message.readUInt8(at.provider), message.readUInt32LE(at.opcode)];
  if (gotOpcode !== opcode || gotProvider !== provider) {
    throw strange(`a response to operation ${gotOpcode} of provider ${gotProvider}`);
  }
  return { status: message.readUInt16LE(at.status), body: message.subarray(WHOLE_HEADER) };
}

/** Whatever is at the socket may be another by the next try. */
function strange(got: string): AppError {
  return new AppError('unavailable', `expected a response in wire protocol 1.0, got ${got}`);
}
