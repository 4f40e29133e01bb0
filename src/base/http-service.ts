/** The two sides of a server: `os/` listens and moves bytes, a service decides. */

/** Who is at the other end of a connection. */
export type Peer =
  | {
      readonly kind: 'network';
      readonly address: string;
      /**
       * SHA-256 of the SubjectPublicKeyInfo of the key that the peer proved to have, in a full handshake of this
       * connection; null = it proved none.
       */
      readonly pinSha256: Buffer | null;
    }
  /** It opened a socket of this machine that only we and root may open. */
  | { readonly kind: 'local'; readonly uid: number };

export interface HttpCall {
  readonly method: string;
  /** As it stands in the request: nothing decoded, its query with it (RFC 9112 §3.2). A stranger's text. */
  readonly target: string;
  /** `''` where there is none. */
  readonly contentType: string;
  readonly peer: Peer;
  /** Aborts when the client has gone; and when a stream is to end, because the server stops. */
  readonly signal: AbortSignal;
  /** @throws AppError `bad-request` when it is longer; `stopped` when the client goes away */
  body(maxBytes: number): Promise<Buffer>;
}

export interface HttpReply {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  /** Whole, or text as it comes: then until `signal` aborts. */
  readonly body: Buffer | AsyncIterable<string>;
  /** Whether the connection ends with it. */
  readonly close: boolean;
}

export interface HttpService {
  /** Whether a connection from there may begin a handshake. */
  admits(address: string): boolean;
  /** Told when connections begin to be closed for their number. @param line for the log */
  crowded(line: string): void;
  /** Never rejects. */
  answer(call: HttpCall): Promise<HttpReply>;
  /** For what is no request. @param reason inside: for the log alone */
  refuse(reason: string, peer: Peer): HttpReply;
}
