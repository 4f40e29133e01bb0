import { constants, X509Certificate } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { isIP, type Socket } from 'node:net';
import { connect, createSecureContext, type SecureContext, type TLSSocket } from 'node:tls';
import { AppError } from '../base/errors.ts';
import { keyPinOf, keyPinText } from '../base/key-pin.ts';
import type { TlsSettings } from '../base/ports.ts';
import { printable } from '../base/printable.ts';
import { established } from './established.ts';

/**
 * The one place that makes TLS clients. The rules (docs/ARCHITECTURE.md has no other way to a `node:tls` socket):
 * a socket is handed on only after a full handshake, in which the peer proved that it has its key, and only when
 * that key is the pinned one, or its certificate is valid for the name. No session is offered, stored or taken.
 */
export interface TlsClient {
  /**
   * @param transport a connected socket, on which nothing was written or read
   * @param host the name or address that was asked for
   * @throws AppError `unavailable`: the peer is not whom we want; or what the socket throws
   */
  secure(transport: Socket, host: string): Promise<TLSSocket>;
}

/**
 * @param systemStore file of the certificates that are trusted where `settings` names neither `ca` nor a pin
 * @throws AppError `bad-config`: unusable certificate, key or CA
 */
export function tlsClient(settings: TlsSettings, systemStore: string): TlsClient {
  const secureContext = contextOf(settings, systemStore);
  return {
    async secure(transport, host) {
      const socket = connect({
        socket: transport,
        host,
        servername: isIP(host) === 0 ? host : '',
        secureContext,
        ALPNProtocols: ['http/1.1'],
        // Node would destroy the socket before the certificate could be read for its fault: `judge` decides.
        rejectUnauthorized: false,
      });
      await established(socket, 'secureConnect');
      const fault = judge(socket, host, settings.pinsSha256);
      if (fault === null) return socket;
      socket.destroy();
      throw fault;
    },
  };
}

function contextOf(settings: TlsSettings, systemStore: string): SecureContext {
  const { pinsSha256, clientCertificate, clientKey } = settings;
  const ca = pinsSha256 === undefined ? (settings.ca ?? readStore(systemStore)) : undefined;
  if (ca !== undefined) checkStore(ca, settings.ca === undefined ? systemStore : 'ca');
  if ((clientCertificate === undefined) !== (clientKey === undefined)) {
    throw new AppError('bad-config', 'client certificate and key: expected both or none, got one');
  }
  try {
    return createSecureContext({
      // With a pin the key alone decides, and no authority is needed.
      ca: ca ?? [],
      cert: clientCertificate,
      key: clientKey,
      minVersion: settings.minVersion ?? 'TLSv1.2',
      secureOptions: constants.SSL_OP_NO_TICKET | constants.SSL_OP_NO_RENEGOTIATION,
    });
  } catch (cause) {
    throw new AppError('bad-config', `client certificate and key: ${reasonOf(cause)}`, { cause });
  }
}

function readStore(path: string): Buffer {
  try {
    return readFileSync(path);
  } catch (cause) {
    throw new AppError('bad-config', `${path}: cannot be read: ${reasonOf(cause)}`, {
      cause,
      hint: "install the package ca-certificates, or name a ca or the server key's sha256",
    });
  }
}

/** OpenSSL takes a store without a certificate for an empty one: say so here, not as an unknown authority. */
function checkStore(pem: Buffer, name: string): void {
  try {
    new X509Certificate(pem);
  } catch (cause) {
    throw new AppError('bad-config', `${name}: expected certificates in PEM`, { cause });
  }
}

/** @returns what is wrong with the peer; null when it is the one we want */
function judge(socket: TLSSocket, host: string, pinsSha256: readonly Buffer[] | undefined): AppError | null {
  const certificate = socket.getPeerX509Certificate();
  // A resumed session proves no key (and brings no certificate); none was offered.
  if (certificate === undefined || socket.isSessionReused()) {
    return new AppError('unavailable', 'TLS: expected a full handshake with a certificate');
  }
  if (pinsSha256 !== undefined) return judgeKey(certificate, pinsSha256);
  // Chain, dates and name: Node checks the name too when nothing else is wrong (tls.connect's checkServerIdentity).
  if (socket.authorized) return null;
  return new AppError('unavailable', certificateFault(certificate, host, String(socket.authorizationError)), {
    cause: socket.authorizationError,
  });
}

function judgeKey(certificate: X509Certificate, expected: readonly Buffer[]): AppError | null {
  const got = keyPinOf(certificate.publicKey);
  if (expected.some((pin) => pin.equals(got))) return null;
  return new AppError(
    'unavailable',
    `the server's key is not the pinned one: expected ${expected.map(keyPinText).join(' or ')}, got ${keyPinText(got)}`,
    { hint: 'it has a new key, or it is another server' },
  );
}

const unknownAuthority = [
  'UNABLE_TO_GET_ISSUER_CERT',
  'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
  'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
  'DEPTH_ZERO_SELF_SIGNED_CERT',
  'SELF_SIGNED_CERT_IN_CHAIN',
];

/** @param code OpenSSL's name of the fault (X509_STORE_CTX_get_error(3)), or Node's for a wrong name */
function certificateFault(certificate: X509Certificate, host: string, code: string): string {
  if (unknownAuthority.includes(code))
    return `certificate of an unknown authority, ${printable(certificate.issuer)}`;
  if (code === 'ERR_TLS_CERT_ALTNAME_INVALID') {
    return `certificate of another name: expected ${host}, got ${printable(certificate.subjectAltName ?? 'none')}`;
  }
  const now = new Date();
  if (code === 'CERT_HAS_EXPIRED' && certificate.validToDate < now) {
    return `certificate expired on ${certificate.validToDate.toISOString()}, by our clock it is ${now.toISOString()}`;
  }
  if (code === 'CERT_NOT_YET_VALID' && certificate.validFromDate > now) {
    return `certificate valid from ${certificate.validFromDate.toISOString()}, by our clock it is ${now.toISOString()}`;
  }
  return `certificate refused: ${code}`;
}

function reasonOf(thrown: unknown): string {
  const { reason, code, message } = thrown as { reason?: string; code?: string; message?: string };
  return reason ?? code ?? message ?? 'unusable';
}
