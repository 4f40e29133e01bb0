import type { KeyObject } from 'node:crypto';
import type { HttpResponse, TlsSettings } from './ports.ts';

/** A request to a key server, as JSON or nothing. */
export interface ServerRequest {
  readonly method: string;
  readonly path: string;
  readonly json?: Uint8Array;
  readonly maxBodyBytes: number;
  readonly timeoutMs: number;
  readonly signal: AbortSignal;
}

export interface ServerStream {
  readonly status: number;
  /** Ends when the server ends it. @throws AppError `unavailable` (cut off, or silent for too long), `stopped` */
  readonly chunks: AsyncIterable<Buffer>;
}

/** One connection to the server that we want, for many requests, one after the other. */
export interface ServerConnection {
  /** The public key that the server proved to have. */
  readonly serverKey: KeyObject;
  /**
   * After a failure the connection is closed, and every later request fails: whoever wants another makes one.
   * @throws AppError `unavailable` (anything between us and a complete answer), `stopped`
   */
  request(request: ServerRequest): Promise<HttpResponse>;
  /**
   * A GET whose answer goes on: nothing else can be asked on this connection until it has ended.
   * @param silenceMs the longest pause in it
   * @throws AppError `unavailable`, `stopped`
   */
  stream(path: string, silenceMs: number, signal: AbortSignal): Promise<ServerStream>;
  close(): void;
}

export interface ServerConnector {
  /**
   * @param url origin of the server
   * @param timeoutMs for the connection and its handshake
   * @throws AppError `unavailable` (not there, or not whom we want), `bad-config` (certificate and key), `stopped`
   */
  connect(url: URL, tls: TlsSettings, timeoutMs: number, signal: AbortSignal): Promise<ServerConnection>;
}
