import { fromBase64url } from '../../base/bytes.ts';
import { AppError } from '../../base/errors.ts';
import { keyPinText } from '../../base/key-pin.ts';
import { limits } from '../../base/limits.ts';
import { Secret } from '../../base/secret.ts';
import type { MachineView, OperatorRequest, OperatorResponses } from '../../wire/operator.ts';
import { isBlock } from '../machine/address.ts';
import type { OperatorEvent } from '../machine/event.ts';
import { defaultPolicy, type Policy } from '../machine/policy.ts';
import { leaseLeftMs, statusAt, waiting } from '../machine/state.ts';
import type { Machine, Transaction } from '../store/store.ts';
import type { App } from './app.ts';
import { audit, heads } from './audit-pages.ts';
import { examine } from './doctor.ts';
import { type InvitationDetails, invitationHash } from './join.ts';
import { happen, stateOf } from './machine.ts';
import { identityView, rotateIdentity } from './own-keys.ts';
import { inviteTang } from './tang-invite.ts';

type Of<C extends OperatorRequest['command']> = Extract<OperatorRequest, { command: C }>;
type Response = OperatorResponses[keyof OperatorResponses];

/**
 * What an operator asks on the server's own socket, of which file permissions say who may use it.
 * @throws AppError `usage` (no such machine, request or block), `refused` (not in this state), what the store throws
 */
export async function operate(app: App, request: OperatorRequest): Promise<Response> {
  switch (request.command) {
    case 'invite':
      return invite(app, request);
    case 'invite-tang':
      return inviteTang(app, request.name, policyWith(defaultPolicy, request.policy));
    case 'list':
      return list(app, request);
    case 'show':
      return {
        machine: await app.store.snapshot(async (tx) => view(app, tx, await named(tx, request.name))),
      };
    case 'audit':
      return audit(app, request);
    case 'heads':
      return heads(app, request);
    case 'backup':
      return backup(app, request);
    case 'rotate-master':
      return rotateMasterKey(app);
    case 'doctor':
      return { findings: await examine(app) };
    case 'identity':
      return identityView(app.store, app.keys);
    case 'rotate-identity':
      return rotateIdentity(app, request.now);
    default:
      return { machine: await decide(app, request) };
  }
}

async function invite(
  app: App,
  { name, policy, rejoin }: Of<'invite'>,
): Promise<OperatorResponses['invite']> {
  const invitation = app.random.bytes(32);
  const hash = invitationHash(invitation);
  await app.store.transaction(async (transaction) => {
    const known = await transaction.machine('name', name);
    if (known !== null && stateOf(known).status === 'revoked') {
      throw new AppError('refused', `${name} is revoked, for ever`, { hint: 'choose another name' });
    }
    if (known !== null && known.tang !== null) throw taken(name);
    if ((known !== null) !== rejoin) throw rejoin ? unknown(name) : taken(name);
    const details: InvitationDetails = { policy: policyWith(defaultPolicy, policy), rejoin };
    const expiresMs = app.store.now().leaseMs + limits.serverInvitationMs;
    await transaction.addInvitation({ hash, name, expiresMs, details: { ...details } });
    transaction.record({
      who: 'operator',
      what: rejoin ? 'invite-again' : 'invite',
      machine: name,
      outcome: 'done',
    });
  });
  return {
    name,
    invitation: invitation.toString('base64url'),
    'expires-in-ms': limits.serverInvitationMs,
    pin: app.keys.pin,
  };
}

/** @throws AppError `usage` */
function policyWith(policy: Policy, change: Of<'invite'>['policy']): Policy {
  const allowedFrom = change['allowed-from'] ?? policy.allowedFrom;
  const wrong = allowedFrom.find((text) => !isBlock(text));
  if (wrong !== undefined) {
    throw new AppError('usage', `expected a block of addresses, got ${JSON.stringify(wrong)}`, {
      hint: 'for example 192.0.2.0/24 or 2001:db8::/32',
    });
  }
  return {
    leaseMs: change['lease-ms'] ?? policy.leaseMs,
    bootGraceMs: change['boot-grace-ms'] ?? policy.bootGraceMs,
    lateKeepalive: change['late-keepalive'] ?? policy.lateKeepalive,
    selfExpect: change['self-expect'] ?? policy.selfExpect,
    approval: change.approval ?? policy.approval,
    allowedFrom,
  };
}

async function list(app: App, { after }: Of<'list'>): Promise<OperatorResponses['list']> {
  return app.store.snapshot(async (transaction) => {
    const machines: MachineView[] = [];
    for (const machine of await transaction.machinesAfter(after, limits.serverPageRows)) {
      machines.push(await view(app, transaction, machine));
    }
    return { machines };
  });
}

async function backup(app: App, { passphrase }: Of<'backup'>): Promise<OperatorResponses['backup']> {
  using secret = Secret.takeFrom(fromBase64url(passphrase) ?? Buffer.alloc(0));
  const path = await app.upkeep.backup(secret);
  await note(app, 'backup');
  return { path };
}

async function rotateMasterKey(app: App): Promise<OperatorResponses['rotate-master']> {
  const version = await app.upkeep.rotateMaster();
  await note(app, 'rotate-master');
  return { version };
}

async function note(app: App, what: string): Promise<void> {
  await app.store.transaction(async (tx) => tx.record({ who: 'operator', what, outcome: 'done' }));
}

type Decision = Of<'lock' | 'revoke'> | Of<'allow'> | Of<'expect'> | Of<'approve' | 'deny'>;

async function decide(app: App, request: Decision): Promise<MachineView> {
  const requestId = app.random.bytes(9).toString('base64url');
  const { shown, step } = await app.store.transaction(async (transaction) => {
    const machine = await named(transaction, request.name);
    const entry = { who: 'operator', what: request.command, requestId };
    const step = await happen(transaction, machine, eventOf(request, machine), app.store.now(), entry);
    return { step, shown: await view(app, transaction, step.machine) };
  });
  for (const kind of step.alerts)
    app.alert({ kind, machine: request.name, from: null, requestId, text: null });
  return shown;
}

/** @throws AppError `refused` when the machine has another key than the operator has seen */
function eventOf(request: Decision, machine: Machine): OperatorEvent {
  switch (request.command) {
    case 'allow': {
      const { fingerprint } = request;
      if (fingerprint !== undefined && fingerprint !== fingerprintOf(machine)) {
        throw new AppError('refused', `${machine.name}: its key has another fingerprint`, {
          hint: 'somebody else may have used the invitation: lock or revoke it',
        });
      }
      return { type: 'allow', confirmed: fingerprint !== undefined };
    }
    case 'expect':
      return { type: 'expect', boots: request.boots, withinMs: request['within-ms'] };
    case 'approve':
    case 'deny':
      return { type: request.command, requestId: request['request-id'] };
    default:
      return { type: request.command };
  }
}

function fingerprintOf({ pin }: Machine): string | null {
  return pin === null ? null : keyPinText(pin);
}

async function view(
  app: App,
  transaction: Pick<Transaction, 'keysOf'>,
  machine: Machine,
): Promise<MachineView> {
  const state = stateOf(machine);
  const { leaseMs } = app.store.now();
  const { policy, seen } = state;
  const keys = await transaction.keysOf(machine.id);
  return {
    name: machine.name,
    status: statusAt(state, leaseMs),
    cause: state.cause ?? (statusAt(state, leaseMs) === state.status ? null : 'lease'),
    fingerprint: fingerprintOf(machine),
    tang: machine.tang === null ? null : `/t/${machine.tang}`,
    'lease-left-ms': leaseLeftMs(state, leaseMs),
    'last-seen-ms': seen?.wallMs ?? null,
    'last-seen-from': seen?.from ?? null,
    keys: keys.filter((key) => key.deletedMs === null).length,
    pending: waiting(state, leaseMs).map(({ id, from, sinceMs, kid, approved }) => ({
      id,
      from,
      'since-ms': sinceMs,
      kid,
      approved,
    })),
    policy: {
      'lease-ms': policy.leaseMs,
      'boot-grace-ms': policy.bootGraceMs,
      'late-keepalive': policy.lateKeepalive,
      'self-expect': policy.selfExpect,
      approval: policy.approval,
      'allowed-from': [...policy.allowedFrom],
    },
  };
}

async function named(transaction: Pick<Transaction, 'machine'>, name: string): Promise<Machine> {
  const machine = await transaction.machine('name', name);
  if (machine === null) throw unknown(name);
  return machine;
}

function unknown(name: string): AppError {
  return new AppError('usage', `no machine ${JSON.stringify(name)}`, {
    hint: 'luks-key-server list shows all',
  });
}

function taken(name: string): AppError {
  return new AppError('usage', `there is a machine ${JSON.stringify(name)} already`, {
    hint: 'to give it a new client key: luks-key-server invite NAME --rejoin',
  });
}
