import { bytesOf, numberOf, type Query, textOf } from './database.ts';
import type { Invitation } from './store.ts';

export async function insertInvitation(query: Query, invitation: Invitation): Promise<void> {
  await dropInvitations(query, invitation.name);
  await query.change(
    'INSERT INTO invitations (hash, name, expires_ms, details) VALUES (?1, ?2, ?3, ?4)',
    invitation.hash,
    invitation.name,
    invitation.expiresMs,
    JSON.stringify(invitation.details),
  );
}

/** Whoever has one for this name finds it gone. */
export async function dropInvitations(query: Query, name: string): Promise<void> {
  await query.change('DELETE FROM invitations WHERE name = ?1', name);
}

/** Deleting is what uses it up: of two who try, one finds it gone. */
export async function takeInvitation(query: Query, hash: Buffer, nowMs: number): Promise<Invitation | null> {
  const sql = 'DELETE FROM invitations WHERE hash = ?1 RETURNING hash, name, expires_ms, details';
  const [row] = await query.rows(sql, hash);
  if (row === undefined) return null;
  const expiresMs = numberOf(row, 'expires_ms');
  if (expiresMs <= nowMs) return null;
  return {
    hash: bytesOf(row, 'hash'),
    name: textOf(row, 'name'),
    expiresMs,
    details: JSON.parse(textOf(row, 'details')) as Invitation['details'],
  };
}
