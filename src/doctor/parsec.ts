import { isNamed } from '../config/server-keys.ts';
import { opensWith, type PinPolicy } from '../status/policy.ts';
import type { VolumeFacts } from '../status/volume.ts';
import type { Facts } from './facts.ts';
import { type Finding, finding } from './finding.ts';

/** Parsec starts with the services, which wait for every volume that is opened before them. */
export function checkParsec({ volumes, servers }: Facts): Finding[] {
  const needsParsec = (pin: PinPolicy) => {
    if (pin.pin !== 'remote') return pin.pin === 'parsec';
    const server = servers.find((one) => isNamed(one, pin.server));
    return server?.identity.protection?.startsWith('parsec') === true;
  };
  return volumes.filter(isEarly).flatMap(({ volume, used }) => {
    const policies = used.flatMap(({ policy }) => (policy === null ? [] : [policy]));
    if (policies.length === 0 || policies.some((one) => opensWith(one, (pin) => !needsParsec(pin))))
      return [];
    const what =
      'it needs the Parsec service, by its pins or to show who this machine is, which starts after it';
    const fix =
      'add _netdev to its options in crypttab; for a key server: protection: tpm2, and join --rejoin';
    return [finding('parsec-too-late', volume, what, fix)];
  });
}

function isEarly({ entry: { options } }: VolumeFacts): boolean {
  return !options.includes('_netdev') && !options.includes('noauto');
}
