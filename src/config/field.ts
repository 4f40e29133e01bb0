import * as v from 'valibot';

/** A value that `parse` understands; null from it is an issue whose message is what was expected. */
export function read<T>(parse: (value: unknown) => T | null, expected: string) {
  return v.pipe(
    v.unknown(),
    v.rawTransform<unknown, T>(({ dataset, addIssue, NEVER }) => {
      const parsed = parse(dataset.value);
      if (parsed !== null) return parsed;
      addIssue({ message: expected });
      return NEVER;
    }),
  );
}

/** At least one: a list that is empty by mistake must not forbid, or allow, everything. */
export function list<T>(item: v.GenericSchema<unknown, T>, expected: string) {
  return v.pipe(v.array(item, expected), v.minLength(1, expected));
}

export const path = read(
  (value) => (typeof value === 'string' && /^\/[^\0]*$/.test(value) ? value : null),
  'an absolute path',
);
