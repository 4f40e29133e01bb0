import { AppError } from '../../base/errors.ts';
import type { MasterKey } from '../master/master-key.ts';
import { bytesOf, numberOf, type Query, textOf } from './database.ts';

/** The master keys that this process was given, by the version under which the store knows them. */
export class Keyring {
  readonly #given: MasterKey[];
  readonly #versions = new Map<number, MasterKey>();
  #storeId = '';

  /** @param given the present one first; others that rows may still be sealed under, or will be after a rotation */
  constructor(given: readonly MasterKey[]) {
    this.#given = [...given];
  }

  /** One more, as if it had been given at the start. */
  add(key: MasterKey): void {
    this.#given.push(key);
  }

  /** Who the store is: part of what each row is bound to. */
  get storeId(): string {
    return this.#storeId;
  }

  /**
   * Reads which key is which version. A new store takes the first key as version 1 and `newId` as its id.
   * @throws AppError `bad-config` when new rows are sealed under a key that this process was not given
   */
  async load(query: Query, newId: string): Promise<void> {
    const [first] = this.#given;
    if (first === undefined) throw new AppError('bad-config', 'master key: none given');
    const found = await query.rows('SELECT id, master_version FROM store FOR UPDATE');
    if (found.length === 0) {
      await query.change('INSERT INTO master_keys (version, proof) VALUES (1, ?1)', first.proof);
      await query.change(
        'INSERT INTO store (one, id, master_version, lease_ms, ticked_ms) VALUES (1, ?1, 1, 0, 0)',
        newId,
      );
    }
    const [store = { id: newId, master_version: 1 }] = found;
    this.#storeId = textOf(store, 'id');
    await this.of(query, numberOf(store, 'master_version'));
  }

  /** @throws AppError `bad-config` when this process was not given that version */
  async of(query: Query, version: number): Promise<MasterKey> {
    const known = this.#versions.get(version);
    if (known !== undefined) return known;
    for (const row of await query.rows('SELECT version, proof FROM master_keys')) {
      const proof = bytesOf(row, 'proof');
      const key = this.#given.find((each) => each.proof.equals(proof));
      if (key !== undefined) this.#versions.set(numberOf(row, 'version'), key);
    }
    const found = this.#versions.get(version);
    if (found !== undefined) return found;
    throw new AppError(
      'bad-config',
      `master key: version ${version} of this store is not the one that was given`,
      {
        hint: 'give the master key that belongs to this database; after master rotate that is the new one',
      },
    );
  }

  /** The version for a new row. The store keeps it until this transaction ends, so that a rotation misses no row. */
  async current(query: Query): Promise<{ version: number; key: MasterKey }> {
    const [row = {}] = await query.rows('SELECT master_version FROM store FOR SHARE');
    const version = numberOf(row, 'master_version');
    return { version, key: await this.of(query, version) };
  }
}
