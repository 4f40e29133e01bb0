import type { AppError } from '../base/errors.ts';
import type { CrypttabEntry } from '../luks/crypttab.ts';
import type { PinPolicy, Policy } from '../status/policy.ts';
import type { ServerStatus } from '../status/server.ts';
import type { VolumeFacts } from '../status/volume.ts';
import type { TpmProperties } from '../tpm/look.ts';
import type { UnitFacts } from './unit-facts.ts';

/** What was found out, once, before any check looks at it. */
export interface Facts {
  readonly crypttab: string;
  /** Whose key file is one of our sockets, in crypttab's order. */
  readonly volumes: readonly VolumeFacts[];
  readonly headers: readonly HeaderFacts[];
  readonly mounts: readonly Mount[];
  /** Why there are no facts about units, else those. */
  readonly units: UnitFacts | AppError;
  readonly bootedWithSystemd: boolean;
  readonly keepaliveIsOn: boolean;
  /** Of the units that have done what config.yaml says about a verdict, those that cannot start. */
  readonly actUnitsOff: readonly { readonly unit: string; readonly masked: boolean }[];
  readonly credentials: readonly CredentialUse[];
  /** Of each pin of each sealed key that is used: null = it would answer, else why not. */
  readonly answers: ReadonlyMap<PinPolicy, AppError | null>;
  /** null: no sealed key needs one, or it does not answer. */
  readonly tpm: TpmFacts | null;
  readonly servers: readonly ServerStatus[];
  /** null: it is no host of a site. */
  readonly site: SiteFacts | null;
  /** Wall clock. */
  readonly nowMs: number;
  readonly initramfs: readonly InitramfsFacts[];
}

/** A LUKS2 header with what only cryptsetup tells of it. */
export interface HeaderFacts {
  readonly volume: VolumeFacts;
  /** null: it could not be tried. */
  readonly emptyPassphraseOpens: boolean | null;
  /** Active keyslots with a key derivation that is fit for a random key only. */
  readonly fastKeyslots: readonly string[];
  /** An `enroll` that did not end has left its record. */
  readonly isUnfinished: boolean;
}

/** A line of fstab(5) that mounts one of our volumes. */
export interface Mount {
  readonly volume: string;
  readonly path: string;
  readonly options: readonly string[];
}

/** A service whose credential comes from one of our sockets (systemd.exec(5), LoadCredential=). */
export interface CredentialUse {
  readonly unit: string;
  readonly credential: string;
  /** Of the socket. */
  readonly path: string;
  /** As its setting has it (LoadCredential=, LoadCredentialEncrypted=). */
  readonly form: 'plain' | 'encrypted';
  /** Why the socket does not serve it; null: it does. */
  readonly refusal: string | null;
  /** Where its sealed key is looked for, if there is none. */
  readonly missing: string | null;
  /** How its sealed key opens; null: there is none, or of a damaged one `check` tells. */
  readonly policy: Policy | null;
  /** It does not start with an empty one. */
  readonly isTested: boolean;
}

/** What this host of a site needs its siblings for, and what they need it for. */
export interface SiteFacts {
  /** Volumes that do not open without other hosts. */
  readonly volumes: readonly CrypttabEntry[];
  /** The volume that its own key server's state lies on. */
  readonly serverVolume: string | null;
}

export interface TpmFacts {
  readonly properties: TpmProperties;
  /** Of each sealed key's PCRs, those that nothing was measured into. */
  readonly unused: ReadonlyMap<PinPolicy, readonly number[]>;
  /** Likewise, those that have other values now than it was sealed to. */
  readonly changed: ReadonlyMap<PinPolicy, readonly number[]>;
}

/** A volume that is opened before the root file system is there. */
export interface InitramfsFacts {
  readonly volume: string;
  readonly image: string;
  /** What it lacks; null: what is in it could not be listed. */
  readonly missing: readonly string[] | null;
}
