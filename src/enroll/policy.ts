import { AppError } from '../base/errors.ts';
import { tangSigners } from '../pins/tang-signers.ts';

/** Pins by name, as a person chooses them. */
export interface PinChoice {
  /** `config`: the pin's configuration (src/pins/tpm2-config.ts); null: without the TPM. */
  readonly tpm2: { readonly config: object; readonly withPin: boolean } | null;
  /** Names of joined key servers. */
  readonly remotes: readonly string[];
  /** URLs of Tang servers. */
  readonly tangs: readonly string[];
  /** How many of them open the volume; null: all. */
  readonly require: number | null;
}

/** What `seal` takes, and what follows from it. */
export interface Policy {
  readonly pin: string;
  readonly config: object;
  /** `tpm2`, `2 of {tpm2, remote home}`. */
  readonly title: string;
  /** It may have to ask somebody on the network: the volume is then a `_netdev` one. */
  readonly needsNetwork: boolean;
  /** A person is asked for a PIN at each boot. */
  readonly asksForPin: boolean;
  /** A key server has a part in it, and wants to be kept informed. */
  readonly needsServer: boolean;
  /** It is over the hosts of a site, and follows them as they come and go (site-policy.ts). */
  readonly bySite?: boolean;
  /** What a person must know who takes it. */
  readonly warnings: readonly string[];
}

const TPM_ALONE =
  'tpm2 alone protects the disk, not the machine: whoever takes the whole machine has a disk that opens by itself';
const NEEDS_SERVER =
  'without its server this volume opens by another keyslot only: keep a passphrase or a recovery key of it where the machine is not';

/** Whether nothing of it opens while no server answers. */
export function needsServers({ tpm2, remotes, tangs, require: required }: PinChoice): boolean {
  const own = tpm2 === null ? 0 : 1;
  return (required ?? own + remotes.length + tangs.length) > own;
}

/** @throws AppError `usage` */
export function policyOf(choice: PinChoice): Policy {
  const { tpm2, remotes, tangs, require: required } = choice;
  const names = [
    ...(tpm2 === null ? [] : [tpm2.withPin ? 'tpm2 with a PIN' : 'tpm2']),
    ...remotes.map((name) => `remote ${name}`),
    ...tangs.map((url) => `tang ${url}`),
  ];
  const count = required ?? names.length;
  if (names.length === 0 || !Number.isInteger(count) || count < 1 || count > names.length) {
    throw new AppError('usage', `enroll: --require: expected 1 to ${names.length}, the pins, got ${count}`);
  }
  const servers = remotes.length + tangs.length;
  const tpmSuffices = tpm2 !== null && !tpm2.withPin && count === 1;
  const warnings = [...(tpmSuffices ? [TPM_ALONE] : []), ...(needsServers(choice) ? [NEEDS_SERVER] : [])];
  return {
    ...sealedBy({ tpm2, remotes, tangs }, count, names),
    asksForPin: tpm2?.withPin ?? false,
    needsNetwork: servers > 0,
    needsServer: remotes.length > 0,
    warnings,
  };
}

function sealedBy(
  { tpm2, remotes, tangs }: Pick<PinChoice, 'tpm2' | 'remotes' | 'tangs'>,
  count: number,
  names: readonly string[],
): Pick<Policy, 'pin' | 'config' | 'title'> {
  const pins = {
    ...tpmPins(tpm2),
    ...(remotes.length > 0 ? { remote: remotes.map((server) => ({ server })) } : {}),
    ...(tangs.length > 0 ? { tang: tangs.map((url) => ({ url })) } : {}),
  };
  const [[pin, configs] = ['', []]] = Object.entries(pins);
  const [title = ''] = names;
  if (names.length === 1) return { pin, config: configs[0] ?? {}, title };
  return { pin: 'sss', config: { t: count, pins }, title: `${count} of {${names.join(', ')}}` };
}

/** The PIN is a pin of its own: the TPM takes one for an object without a policy alone. */
function tpmPins(tpm2: PinChoice['tpm2']): Record<string, object[]> {
  if (tpm2 === null) return {};
  const { config, withPin } = tpm2;
  return withPin ? { sss: [{ t: 2, pins: { tpm2: [config, { with_pin: true }] } }] } : { tpm2: [config] };
}

/**
 * What this machine could be enrolled with: the TPM and a server, so that neither the disk nor the machine alone
 * opens; else what there is.
 * @returns null when there is neither
 */
export function proposal(hasTpm: boolean, servers: readonly string[]): PinChoice | null {
  if (!hasTpm && servers.length === 0) return null;
  const pins = (hasTpm ? 1 : 0) + servers.length;
  const needed = hasTpm ? 2 : 1;
  const tpm2 = hasTpm ? { config: {}, withPin: false } : null;
  return { tpm2, remotes: servers, tangs: [], require: needed < pins ? needed : null };
}

/** As the command line says it. */
export function asOptions({ tpm2, remotes, tangs, require: required }: PinChoice): string {
  return [
    ...(tpm2 === null ? [] : ['--tpm2']),
    ...remotes.map((name) => `--remote ${name}`),
    ...tangs.map((url) => `--tang ${url}`),
    ...(required === null ? [] : [`--require ${required}`]),
  ].join(' ');
}

/** The same policy, whose Tang servers are known by the keys that were trusted at sealing: nobody is asked again. */
export function withThumbprints(policy: Policy, sealedKey: string): Policy {
  return { ...policy, config: withSigners(policy.config, sealedKey) };
}

/** The same for a pin's configuration, as `seal` takes it. */
export function withSigners(config: object, sealedKey: string): object {
  const signers = tangSigners(sealedKey);
  const known = (one: object): object => {
    if ('url' in one) return { url: one.url, thp: signers.get(String(one.url)) };
    if (!('pins' in one)) return one;
    const { pins } = one as { pins: Record<string, object | object[]> };
    const all = Object.entries(pins).map(([pin, own]) => [
      pin,
      Array.isArray(own) ? own.map(known) : known(own),
    ]);
    return { ...one, pins: Object.fromEntries(all) };
  };
  return known(config);
}
