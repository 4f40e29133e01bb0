import { fromBase64url } from '../../base/bytes.ts';
import { AppError } from '../../base/errors.ts';
import { Secret } from '../../base/secret.ts';
import { serverLimits } from '../../base/server-limits.ts';
import type { MachineView, OperatorRequest, OperatorResponses } from '../../wire/operator.ts';
import type { OperatorEvent } from '../machine/event.ts';
import { defaultPolicy } from '../machine/policy.ts';
import type { Machine, Transaction } from '../store/store.ts';
import type { App } from './app.ts';
import { audit, heads } from './audit-pages.ts';
import { examine } from './doctor.ts';
import { type InvitationDetails, invitationHash } from './join.ts';
import { happen, stateOf } from './machine.ts';
import { fingerprintOf, view } from './machine-view.ts';
import { identityView, rotateIdentity } from './own-keys.ts';
import { policyFor, policyWith, told } from './policy-change.ts';
import { newRequestId } from './serve.ts';
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
    case 'undelete':
      return { machine: await undelete(app, request) };
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
    if (rejoin && Object.keys(policy).length > 0) throw keepsPolicy(name);
    const details: InvitationDetails = { policy: policyWith(defaultPolicy, policy), rejoin };
    const expiresMs = app.store.now().leaseMs + serverLimits.invitationMs;
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
    'expires-in-ms': serverLimits.invitationMs,
    pin: app.keys.pin,
  };
}

async function list(app: App, { after }: Of<'list'>): Promise<OperatorResponses['list']> {
  return app.store.snapshot(async (transaction) => {
    const machines: MachineView[] = [];
    for (const machine of await transaction.machinesAfter(after, serverLimits.pageRows)) {
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

/** Until it is destroyed a deleted key comes back, and opens what was sealed with it. @throws AppError `usage` */
async function undelete(app: App, { name, kid }: Of<'undelete'>): Promise<MachineView> {
  return app.store.transaction(async (transaction) => {
    const machine = await named(transaction, name);
    const key = await transaction.key(kid);
    if (key === null || key.machine !== machine.id || key.deletedMs === null) {
      throw new AppError('usage', `${name}: no deleted key ${kid}`, {
        hint: `luks-key-server show ${name} has those that can come back`,
      });
    }
    await transaction.setDeleted(kid, null);
    transaction.record({ who: 'operator', what: 'undelete', machine: name, key: kid, outcome: 'done' });
    return view(app, transaction, machine);
  });
}

type Decision = Of<'lock' | 'revoke'> | Of<'allow'> | Of<'policy'> | Of<'expect'> | Of<'approve' | 'deny'>;

async function decide(app: App, request: Decision): Promise<MachineView> {
  const requestId = newRequestId(app.random);
  const { shown, step } = await app.store.transaction(async (transaction) => {
    const machine = await named(transaction, request.name);
    const details = request.command === 'policy' ? { details: told(request.policy) } : {};
    const entry = { who: 'operator', what: request.command, requestId, ...details };
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
    case 'policy':
      return { type: 'policy', policy: policyFor(machine, request.policy) };
    case 'expect':
      return { type: 'expect', boots: request.boots, withinMs: request['within-ms'] };
    case 'approve':
    case 'deny':
      return { type: request.command, requestId: request['request-id'] };
    default:
      return { type: request.command };
  }
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

function keepsPolicy(name: string): AppError {
  return new AppError('usage', `${name} keeps its policy when it joins again`, {
    hint: `luks-key-server policy ${name} changes it`,
  });
}

function taken(name: string): AppError {
  return new AppError('usage', `there is a machine ${JSON.stringify(name)} already`, {
    hint: 'to give it a new client key: luks-key-server invite NAME --rejoin',
  });
}
