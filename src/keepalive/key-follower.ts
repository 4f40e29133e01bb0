import { asAppError, failureLine } from '../base/errors.ts';
import { keyPinOf, keyPinText } from '../base/key-pin.ts';
import type { ServerConnection } from '../base/server-connection.ts';
import type { ServerSettings } from '../config/server.ts';
import { type ServerKeys, serverKeys, serverKeysText } from '../config/server-keys.ts';
import type { Succession } from '../identity/succession.ts';
import { ask } from '../remote/key-server.ts';
import * as wire from '../wire/machine.ts';
import type { WitnessWorld } from './head-witness.ts';

/** Keeps up with a server that changes its key, so that the next boot knows it too. */
export class KeyFollower {
  readonly #server: string;
  readonly #settings: ServerSettings;
  readonly #path: string;
  readonly #world: Pick<WitnessWorld, 'durable' | 'journal'>;
  #keys: ServerKeys;
  #told = '';

  /** @param path `serverKeysPath` */
  constructor(server: string, settings: ServerSettings, path: string, world: WitnessWorld) {
    this.#server = server;
    this.#settings = settings;
    this.#path = path;
    this.#world = world;
    this.#keys = settings.keys;
  }

  get keys(): ServerKeys {
    return this.#keys;
  }

  get newest(): string {
    return keyPinText(this.#keys.names.at(-1) ?? this.#settings.pinSha256);
  }

  /**
   * @param newest what the server says is its newest key; undefined = it says nothing
   * @param connection of the server, by a key that we take
   */
  async see(newest: string | undefined, connection: ServerConnection, signal: AbortSignal): Promise<void> {
    const current = keyPinText(keyPinOf(connection.serverKey));
    try {
      const isNews = newest !== undefined && !this.#knows(newest);
      const chain = isNews ? await this.#ask(connection, signal) : this.#keys.chain;
      if (isNews || keyPinText(this.#keys.accepted[0] ?? this.#settings.pinSha256) !== current) {
        this.#follow(chain, current);
      }
    } catch (thrown) {
      this.#tell(failureLine(asAppError(thrown)));
    }
  }

  /** For a machine that is locked, whose keep-alives are not answered. */
  async look(connection: ServerConnection, signal: AbortSignal): Promise<void> {
    try {
      const chain = await this.#ask(connection, signal);
      const newest = chain.at(-1)?.next;
      if (newest !== undefined && !this.#knows(newest)) {
        this.#follow(chain, keyPinText(keyPinOf(connection.serverKey)));
      }
    } catch (thrown) {
      this.#tell(failureLine(asAppError(thrown)));
    }
  }

  #knows(pin: string): boolean {
    return this.#keys.names.some((name) => keyPinText(name) === pin);
  }

  async #ask(connection: ServerConnection, signal: AbortSignal): Promise<readonly Succession[]> {
    const { response } = wire.identity;
    return (await ask(connection, 'GET', '/v1/identity', undefined, response, signal)).chain;
  }

  /** @param current the key that the server has just proved: what came before is taken no more */
  #follow(chain: readonly Succession[], current: string): void {
    const keys = serverKeys(this.#settings.pinSha256, chain, current);
    if (keys === null || keyPinText(keys.accepted[0] ?? this.#settings.pinSha256) !== current) {
      this.#tell('its next key is not signed by the one that this machine knows');
      return;
    }
    this.#keys = keys;
    const { durable, journal } = this.#world;
    durable.makeFolder(this.#path.slice(0, this.#path.lastIndexOf('/')));
    durable.replace(this.#path, serverKeysText(chain, current));
    const then = keys.accepted.slice(1).map((pin) => `, then ${keyPinText(pin)}`);
    journal.info(`${this.#server}: its key is ${current}${then.join('')}`);
  }

  #tell(reason: string): void {
    if (reason === this.#told) return;
    this.#told = reason;
    this.#world.journal.warning(`${this.#server}: its next key: ${reason}`);
  }
}
