import type { KeyObject } from 'node:crypto';
import { headSigner, type SignedHead } from '../audit/heads.ts';
import type { Store } from '../store/store.ts';

/** The server's word for where its log ends, given anew when it has grown. */
export class AuditHeads {
  readonly #store: Store;
  #sign: ReturnType<typeof headSigner>;
  #latest: SignedHead | null = null;

  constructor(store: Store, key: KeyObject) {
    this.#store = store;
    this.#sign = headSigner(key);
  }

  get latest(): SignedHead | null {
    return this.#latest;
  }

  /** What was signed by another key is signed anew; until then there is no head. */
  signWith(key: KeyObject): void {
    this.#sign = headSigner(key);
    this.#latest = null;
  }

  /** @throws AppError what the store throws */
  async sign(): Promise<void> {
    this.#latest = await this.#store.transaction(async (transaction) => {
      const head = await transaction.auditHead();
      if (head.seq === (this.#latest?.seq ?? 0)) return this.#latest;
      const signed = this.#sign(head, this.#store.now().wallMs);
      await transaction.saveHead(signed);
      return signed;
    });
  }
}
