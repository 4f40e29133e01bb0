import { hash } from 'node:crypto';
import type { TLSSocket } from 'node:tls';

/**
 * Who the other end is: SHA-256 of its key's SubjectPublicKeyInfo (RFC 5280 §4.1.2.7), whatever else its certificate
 * says. To be asked after the handshake.
 * @returns null for one that has shown no certificate; and for one that resumed a session, which brings the
 *   certificate of the one before along, but proves no key (RFC 8446 §4.2.11)
 */
export function provenKey(socket: TLSSocket): Buffer | null {
  if (socket.isSessionReused()) return null;
  const certificate = socket.getPeerX509Certificate();
  if (certificate === undefined) return null;
  try {
    return hash('sha256', certificate.publicKey.export({ type: 'spki', format: 'der' }), 'buffer');
  } catch {
    // A kind of key that Node does not know is none that joined.
    return null;
  }
}
