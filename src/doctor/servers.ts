import type { ErrorCode } from '../base/errors.ts';
import { KEEPALIVE_UNIT } from '../base/names.ts';
import { isProtected } from '../protection/stored.ts';
import type { ServerStatus } from '../status/server.ts';
import { checkActUnits } from './act-units.ts';
import type { Facts } from './facts.ts';
import { type Finding, finding } from './finding.ts';

/** The key servers, and this machine's identities for them. */
export function checkServers(facts: Facts): Finding[] {
  return [...facts.servers.flatMap(checkServer), ...checkKeepalive(facts), ...checkActUnits(facts)];
}

function checkServer(server: ServerStatus): Finding[] {
  return [...checkIdentityFile(server), ...checkState(server)];
}

function checkIdentityFile({ name, identity: { path, protection } }: ServerStatus): Finding[] {
  if (protection === null || protection === 'unknown' || isProtected(protection)) return [];
  const by = protection === 'none' ? 'nothing' : 'a key on the same disk';
  const what = `${path} is protected by ${by}: who has the disk is this machine towards ${name}, until it is revoked`;
  return [
    finding(
      'identity-unprotected',
      name,
      what,
      'keep it on an encrypted root file system, or join again on a machine with a TPM',
    ),
  ];
}

/** A server that does not answer is none of these. */
const IDENTITY_FAULTS: ReadonlySet<ErrorCode> = new Set([
  'bad-config',
  'tool-missing',
  'foreign-tpm',
  'damaged',
]);

function checkState({ name, url, state, fault }: ServerStatus): Finding[] {
  if (state === 'revoked') {
    const what = 'it has revoked this machine, for ever: its keys are gone';
    return [finding('machine-revoked', name, what, 'join under another name, and seal again')];
  }
  if (state === 'locked') {
    const what = 'it has locked this machine: it gives out no key until it is allowed to';
    return [finding('machine-locked', name, what, 'on the server: luks-key-server allow NAME')];
  }
  if (fault === null) return [];
  const { code, message, hint } = fault;
  if (IDENTITY_FAULTS.has(code)) {
    return [finding('identity-unusable', name, message, hint ?? 'join the server again')];
  }
  // Of os/tls.ts.
  if (message.includes('is not the pinned one')) {
    return [
      finding(
        'server-other-key',
        name,
        message,
        'ask its operator; if the key was changed, join again and seal again',
      ),
    ];
  }
  if (code === 'refused')
    return [finding('machine-unknown', name, message, hint ?? 'join again, seal again')];
  return [
    finding(
      'server-unreachable',
      name,
      `${url}: ${message}`,
      hint ?? 'is it up, and does a firewall let this machine through?',
    ),
  ];
}

function checkKeepalive({ servers, keepaliveIsOn }: Facts): Finding[] {
  if (servers.length === 0 || keepaliveIsOn) return [];
  const what = 'it is not enabled: this machine’s leases end, and then its servers lock it';
  return [finding('keepalive-off', KEEPALIVE_UNIT, what, `systemctl enable --now ${KEEPALIVE_UNIT}`)];
}
