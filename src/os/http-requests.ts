import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import { AppError } from '../base/errors.ts';
import type { HttpReply, HttpService, Peer } from '../base/http-service.ts';
import { limits } from '../base/limits.ts';
import { serverLimits } from '../base/server-limits.ts';
import { ambiguity } from './request-form.ts';

/** Requests of a server that were begun and not yet answered. */
export interface Requests {
  /** Ends streams, and resolves once everything else was answered. */
  finish(): Promise<void>;
  /** After `finish`: requests are as welcome as before it. */
  goOn(): void;
}

/** Hands a server's requests to a service, whatever they come over, and its replies back. */
export function answerRequests(
  server: Server,
  service: HttpService,
  peerOf: (socket: Socket) => Peer,
): Requests {
  const underWay = new Map<Socket, ServerResponse>();
  const streams = new Set<AbortController>();
  let idle = Promise.withResolvers<void>();
  let stopping = false;

  async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const { socket } = request;
    const before = underWay.get(socket);
    // Its client may have the whole answer before this process hears that it has left.
    const isNext = before?.writableEnded && before.shouldKeepAlive;
    if (before !== undefined && !isNext) return onlyOne(socket, before);
    underWay.set(socket, response);
    const gone = new AbortController();
    response.once('close', () => {
      gone.abort();
      if (underWay.get(socket) === response) underWay.delete(socket);
      if (stopping && underWay.size === 0) idle.resolve();
    });
    const reply = await replyTo(request, gone.signal);
    if (response.destroyed) return;
    // What is left of a body that nobody read could be taken for the next request.
    response.shouldKeepAlive &&= !reply.close && !stopping && request.complete;
    response.statusCode = reply.status;
    for (const [name, value] of Object.entries(reply.headers)) response.setHeader(name, value);
    if (Buffer.isBuffer(reply.body)) return void response.end(reply.body);
    streams.add(gone);
    if (stopping) gone.abort();
    await stream(reply.body, response).finally(() => streams.delete(gone));
  }

  function replyTo(request: IncomingMessage, signal: AbortSignal): Promise<HttpReply> | HttpReply {
    const peer = peerOf(request.socket);
    const unclear = ambiguity(request);
    if (unclear !== null) return service.refuse(unclear, peer);
    return service.answer({
      method: request.method ?? '',
      target: request.url ?? '',
      contentType: request.headers['content-type'] ?? '',
      peer,
      signal,
      body: (maxBytes) => readBody(request, maxBytes),
    });
  }

  const take = (request: IncomingMessage, response: ServerResponse) => {
    // A service never rejects, and a stream that fails ends its connection: what is left is a defect.
    answer(request, response).catch(() => request.socket.destroy());
  };
  server.on('request', take);
  // Else Node would answer by itself, and go on to the next request.
  server.on('checkExpectation', take);
  server.on('clientError', (fault: NodeJS.ErrnoException, socket: Socket) => {
    const response = underWay.get(socket);
    if (fault.code === 'ECONNRESET' || !socket.writable || response?.headersSent)
      return void socket.destroy();
    const reply = service.refuse(fault.code ?? fault.message, peerOf(socket));
    socket.setTimeout(limits.replyTimeoutMs, () => socket.destroy());
    socket.end(plainReply(reply), () => socket.destroy());
  });
  return {
    finish() {
      stopping = true;
      for (const gone of streams) gone.abort();
      if (underWay.size === 0) idle.resolve();
      return idle.promise;
    },
    goOn() {
      stopping = false;
      idle = Promise.withResolvers<void>();
    },
  };
}

/** Our clients wait for each answer (RFC 9112 §9.3.2). What another sends before it is never looked at. */
function onlyOne(socket: Socket, first: ServerResponse): void {
  socket.pause();
  if (first.headersSent) socket.destroy();
  else first.shouldKeepAlive = false;
}

/** As `ServerResponse` would write it, where the parser has no request to answer. */
function plainReply({ status, headers, body }: HttpReply): Buffer {
  const content = Buffer.isBuffer(body) ? body : Buffer.alloc(0);
  const lines = Object.entries({ ...headers, 'content-length': content.length, connection: 'close' });
  const head = lines.map(([name, value]) => `${name}: ${value}\r\n`).join('');
  return Buffer.concat([Buffer.from(`HTTP/1.1 ${status} Refused\r\n${head}\r\n`), content]);
}

function readBody(request: IncomingMessage, maxBytes: number): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let size = 0;
    request.on('data', (chunk: Buffer) => {
      chunks.push(chunk);
      size += chunk.length;
      if (size <= maxBytes) return;
      // Not destroyed: the refusal goes over the same connection.
      request.pause();
      reject(new AppError('bad-request', `a body of more than ${maxBytes} bytes`));
    });
    request.on('end', () => resolve(Buffer.concat(chunks)));
    // Not loud: its connection tells what was wrong.
    request.on('error', () => {});
    request.on('close', () => reject(new AppError('stopped', 'the client went away')));
  });
}

/** Event by event; between them, a comment that keeps the line alive (HTML §9.2.6). */
async function stream(body: AsyncIterable<string>, response: ServerResponse): Promise<void> {
  const send = (text: string) => {
    if (response.writableLength > serverLimits.unreadBytes) response.destroy();
    else response.write(text);
  };
  response.flushHeaders();
  const beat = setInterval(() => send(':\n\n'), serverLimits.heartbeatMs);
  try {
    for await (const text of body) send(text);
    response.end();
  } finally {
    clearInterval(beat);
  }
}
