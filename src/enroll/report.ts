import { commitmentsPath } from '../handler/committed.ts';
import type { Plan } from './plan.ts';

/** What is, or was, done about units. */
export interface UnitReport {
  /** systemd is PID 1 here, so it could be asked. */
  readonly systemd: boolean;
  /** Those that the volume needs. */
  readonly needed: readonly string[];
  /** Of these, those that were not enabled yet. */
  readonly enabled: readonly string[];
}

/** The plan in lines for people, crypttab's diff at the end. */
export function planLines(plan: Plan, units: UnitReport): string[] {
  const { target, policy, keyslot, store, places, edit, editCrypttab } = plan;
  const crypttab =
    edit.diff === '' ? 'as it should be already' : editCrypttab ? 'changed:' : 'to be changed by hand:';
  return [
    `  device      ${target.device}, LUKS2 ${target.uuid}`,
    `  opened by   ${policy.title}`,
    `  keyslot     ${keyslot}, ${store.kind === 'clevis' ? 'as it is' : 'a new random key'}`,
    `  sealed key  ${storeText(store)}`,
    `  commitment  ${commitmentsPath(places.etc, target.volume)}`,
    `  units       ${unitsText(units)}`,
    `  crypttab    ${crypttab}`,
    ...edit.diff.split('\n').filter((line) => line !== ''),
  ];
}

function storeText(store: Plan['store']): string {
  if (store.kind === 'file') return store.path;
  if (store.kind === 'clevis') return `token ${store.id}, as it is`;
  return store.kind === 'token' ? `token ${store.id}` : 'none';
}

function unitsText({ systemd, needed, enabled }: UnitReport): string {
  if (needed.length === 0) return 'none';
  if (!systemd) return `systemd is not running here, enable them where it is: ${needed.join(' ')}`;
  return enabled.length === 0 ? 'enabled already' : `enabled: ${enabled.join(' ')}`;
}

/** The same for programs. */
export function planJson(plan: Plan, units: UnitReport): Record<string, unknown> {
  const { target, policy, keyslot, store, places, edit, editCrypttab } = plan;
  return {
    volume: target.volume,
    device: target.device,
    uuid: target.uuid,
    policy: policy.title,
    warnings: policy.warnings,
    keyslot: Number(keyslot),
    ...('id' in store ? { token: Number(store.id) } : {}),
    ...(store.kind === 'file' ? { file: store.path } : {}),
    commitment: commitmentsPath(places.etc, target.volume),
    units: { needed: units.needed, enabled: units.enabled },
    crypttab: { path: places.crypttab, changed: editCrypttab && edit.diff !== '', diff: edit.diff },
  };
}

/** What to do next: the last line. */
export function lastLine({ target, policy, edit, editCrypttab, places }: Plan): string {
  const { volume } = target;
  if (!editCrypttab && edit.diff !== '') {
    return `change the line of ${volume} in ${places.crypttab} as shown, and at the next boot it opens by itself`;
  }
  const how = policy.asksForPin ? 'asks for the PIN' : 'opens by itself';
  return `at the next boot ${volume} ${how}; keep the passphrase that opened it until now, it still does`;
}
