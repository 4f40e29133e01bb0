import * as v from 'valibot';
import { list } from './field.ts';

/** What one of our sockets may give. */
export const socketKinds = ['volumes', 'credentials', 'encrypted-credentials'] as const;
export type SocketKind = (typeof socketKinds)[number];

/** A socket by its path. */
export interface SocketSettings {
  readonly serve: readonly SocketKind[];
}

const kind = v.picklist<readonly SocketKind[], string>(socketKinds, `one of ${socketKinds.join(', ')}`);

/** A field that is missing is read as null, and told as any other wrong value is. */
const entries = { serve: v.optional(list(kind, `a list of ${socketKinds.join(', ')}`), null as never) };

export const socketFields: readonly string[] = Object.keys(entries);
export const socketSchema = v.object(entries, 'a map');
