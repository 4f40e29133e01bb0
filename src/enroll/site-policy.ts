import { AppError } from '../base/errors.ts';
import type { Config } from '../config/config.ts';
import { type Policy, policyOf } from './policy.ts';

/**
 * How a host's volumes are sealed: `need - 1` of the other hosts, as its own key server is stolen along with it. With
 * `allow-local-unseal` its TPM alone does too.
 * @throws AppError `bad-config` when there is no site, or it has fewer hosts than it needs
 */
export function sitePolicy({ site }: Pick<Config, 'site'>): Policy {
  if (site === null) {
    throw new AppError('bad-config', 'config.yaml has no site: this machine is no host of one', {
      hint: 'see fetch-luks-key site --help',
    });
  }
  const { hosts, need, allowLocalUnseal } = site;
  refuseTooFew(need, hosts.length + 1);
  const others = policyOf({ tpm2: null, remotes: hosts, tangs: [], require: need - 1 });
  if (!allowLocalUnseal) return { ...others, bySite: true };
  const local = policyOf({ tpm2: { config: {}, withPin: false }, remotes: [], tangs: [], require: null });
  return {
    ...others,
    bySite: true,
    pin: 'sss',
    config: { t: 1, pins: { tpm2: [{}], [others.pin]: [others.config] } },
    title: `1 of {tpm2, ${others.title}}`,
    warnings: local.warnings,
  };
}

/** @param hosts how many there are @throws AppError `bad-config` */
export function refuseTooFew(need: number, hosts: number): void {
  if (need <= hosts) return;
  throw new AppError(
    'bad-config',
    `site: need: expected at most ${hosts}, the hosts of the site, got ${need}`,
    {
      hint: 'have more hosts join (fetch-luks-key site add), or change need: in config.yaml of each',
    },
  );
}

/** Names of the key servers that a pin's configuration needs. */
export function serversIn(config: object): string[] {
  const { server, pins } = config as { server?: string; pins?: Record<string, object[]> };
  if (server !== undefined) return [server];
  return Object.values(pins ?? {}).flatMap((all) => all.flatMap(serversIn));
}

/** Whether it is sealed over the hosts that there are now. */
export function followsSite(policy: Policy, config: Pick<Config, 'site'>): boolean {
  const now = sitePolicy(config);
  const text = ({ pin, config: own }: Policy) => JSON.stringify([pin, own]);
  return text(policy) === text(now);
}
