import { limits } from '../base/limits.ts';
import type { VolumeName } from '../base/names.ts';
import type { PinName } from '../pins/pin.ts';
import { type ProtectSettings, protectByDefault } from '../protection/settings.ts';
import type { Action } from './action.ts';
import type { ServerSettings } from './server.ts';
import type { SiteSettings } from './site.ts';
import type { SocketSettings } from './socket.ts';

/** The plain case: a volume whose key is the body of an HTTPS answer. */
export interface UrlSettings {
  /** `https:`, or `http:` where `allow-plaintext: true` says so; holds no user name and no password. */
  readonly url: URL;
  /** Absolute path of PEM certificates; null = the system's store. Never beside `pinSha256`. */
  readonly ca: string | null;
  /** SHA-256 of the server key's SubjectPublicKeyInfo: given, the key alone decides. */
  readonly pinSha256: Buffer | null;
  /** Absolute paths of PEM files. */
  readonly client: { readonly certificate: string; readonly key: string } | null;
  /** Longest answer in bytes; default 8 KiB. */
  readonly maxBodyBytes: number;
}

export interface VolumeSettings {
  readonly url: UrlSettings | null;
  /** How long opening is tried, in milliseconds; 0 = for ever; default 90 s, on a host of a site for ever. */
  readonly giveUpAfterMs: number;
  /** How long a server's `locked` and the like is waited for, as an operator may act; 0 = for ever; default 10 min. */
  readonly waitForAllowMs: number;
  /** Pins that a sealed key may use; null = all. `sss` is never listed: what is nested in it counts. */
  readonly allow: readonly PinName[] | null;
  /** Tang servers that a sealed key may name, spelt as `PinUse` spells them; null = all. */
  readonly allowTang: readonly string[] | null;
}

export interface Config {
  /** Key servers, by the names that `join` gave them. */
  readonly servers: ReadonlyMap<string, ServerSettings>;
  /** null: this machine is no host of a site. */
  readonly site: SiteSettings | null;
  readonly volumes: ReadonlyMap<string, VolumeSettings>;
  /** By the path that it is bound to; what is not listed serves what its unit is for. */
  readonly sockets: ReadonlyMap<string, SocketSettings>;
  /** In this order; none by default. */
  readonly onRevoked: readonly Action[];
  readonly onLocked: readonly Action[];
  /** How what this machine keeps is protected. */
  readonly protect: ProtectSettings;
}

/** What an absent config.yaml says. */
export const emptyConfig: Config = {
  servers: new Map(),
  site: null,
  volumes: new Map(),
  sockets: new Map(),
  onRevoked: [],
  onLocked: [],
  protect: protectByDefault,
};

const defaults: VolumeSettings = {
  url: null,
  giveUpAfterMs: limits.giveUpAfterMs,
  waitForAllowMs: limits.waitForAllowMs,
  allow: null,
  allowTang: null,
};

/** A host waits for the others: after a power cut they come back when they do, and systemd asks once. */
export function defaultGiveUpAfterMs(site: SiteSettings | null): number {
  return site === null ? limits.giveUpAfterMs : 0;
}

/** What config.yaml says of a volume, with defaults where it says nothing. */
export function settingsFor(config: Config, volume: VolumeName): VolumeSettings {
  return config.volumes.get(volume) ?? { ...defaults, giveUpAfterMs: defaultGiveUpAfterMs(config.site) };
}
