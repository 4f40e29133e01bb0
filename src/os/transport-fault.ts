import { AppError, asAppError } from '../base/errors.ts';

/** What people call the faults of a connection (errno(3), getaddrinfo(3), undici, OpenSSL). */
const reasons: Readonly<Record<string, string>> = {
  ECONNREFUSED: 'connection refused',
  ECONNRESET: 'connection reset',
  EPIPE: 'connection reset',
  ETIMEDOUT: 'connection timed out',
  EHOSTUNREACH: 'no route to the host',
  EHOSTDOWN: 'the host is down',
  ENETUNREACH: 'no route to the network',
  ENETDOWN: 'the network is down',
  EADDRNOTAVAIL: 'no local address to connect from',
  UND_ERR_SOCKET: 'connection closed before the answer was complete',
  UND_ERR_RES_CONTENT_LENGTH_MISMATCH: 'connection closed before the answer was complete',
  UND_ERR_HEADERS_OVERFLOW: "the answer's headers are too long",
  EPROTO: 'TLS handshake failed',
};

interface Fault {
  readonly name?: string;
  readonly code?: string;
  readonly syscall?: string;
  readonly reason?: string;
}

/** What a connection threw, as an AppError `unavailable` whose message is the reason alone. */
export function transportFault(thrown: unknown, host: string): AppError {
  if (thrown instanceof AppError) return thrown;
  // Several addresses were tried (RFC 8305): the first one's fault stands for all.
  const fault = thrown instanceof AggregateError ? thrown.errors[0] : thrown;
  const { name, code, syscall, reason } = fault as Fault;
  // It has no code; and it carries the answer's bytes, which may be a key: not as cause.
  if (name === 'HTTPParserError') return new AppError('unavailable', 'the answer is not HTTP');
  if (code === undefined) return asAppError(thrown);
  return new AppError('unavailable', reasonFor(code, syscall, reason, host), { cause: thrown });
}

function reasonFor(
  code: string,
  syscall: string | undefined,
  reason: string | undefined,
  host: string,
): string {
  if (syscall === 'getaddrinfo') return `name ${host} does not resolve (${code})`;
  if (code.startsWith('ERR_SSL_')) return `TLS failed: ${reason ?? code}`;
  return reasons[code] ?? `connection failed (${code})`;
}
