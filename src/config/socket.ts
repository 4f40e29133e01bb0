import * as v from 'valibot';
import { list } from './field.ts';

/** What one of our sockets may give. */
export const socketKinds = ['volumes', 'credentials', 'encrypted-credentials'] as const;
export type SocketKind = (typeof socketKinds)[number];

/** A socket by its path. */
export interface SocketSettings {
  readonly serve: readonly SocketKind[];
}

const entries = {
  serve: list(
    v.picklist<readonly SocketKind[], string>(socketKinds, `one of ${socketKinds.join(', ')}`),
    `a list of ${socketKinds.join(', ')}`,
  ),
};

export const socketFields: readonly string[] = Object.keys(entries);
export const socketSchema = v.object(entries, 'a map');
