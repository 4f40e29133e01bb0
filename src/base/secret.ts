import { inspect } from 'node:util';

/**
 * Bytes that must not be seen. Printing or serializing one gives `[secret]`; `using` or `wipe()` overwrites it.
 * JavaScript cannot promise erasure: a BigInt, a string or a copy that the engine made stays until collected.
 */
export class Secret implements Disposable {
  readonly #bytes: Buffer;

  /** Takes `bytes` over: the caller keeps no reference. */
  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  /** A copy of `bytes` outside Node's shared buffer pool; `bytes` is wiped. */
  static takeFrom(bytes: Uint8Array): Secret {
    const own = Buffer.allocUnsafeSlow(bytes.length);
    own.set(bytes);
    bytes.fill(0);
    return new Secret(own);
  }

  get length(): number {
    return this.#bytes.length;
  }

  /** The bytes themselves, not a copy: gone after `wipe()`. */
  reveal(): Buffer {
    return this.#bytes;
  }

  wipe(): void {
    this.#bytes.fill(0);
  }

  [Symbol.dispose](): void {
    this.wipe();
  }

  toString(): string {
    return '[secret]';
  }

  toJSON(): string {
    return '[secret]';
  }

  [inspect.custom](): string {
    return '[secret]';
  }
}
