import type { Test } from 'tap';
import type { Files } from '../../src/base/ports.ts';
import { type LuksHeader, readLuksHeader } from '../../src/luks/header.ts';
import { files } from '../../src/os/files.ts';
import {
  addKeyslot,
  addToken,
  copyImage,
  dumpJson,
  type Image,
  killKeyslot,
  makeImage,
  uuidOf,
} from './luks.ts';

/** Size of one copy of the model's header. */
export const HEADER_BYTES = 16 * 1024;

/** A real LUKS2 image for tests of the header: its copies are for them to change. */
export interface Model {
  readonly image: Image;
  /** @returns the path of a copy of the model, or of another image */
  copy(of?: string): string;
  /** Reads a header, and looks whether it is what cryptsetup reads. */
  agrees(t: Test, path: string, name: string): Promise<LuksHeader | null>;
}

/** Three keyslots, of which 1 was killed and 2 does not open the data; two tokens. */
export function makeModel(folder: string): Model {
  const image = makeImage(folder, 'model');
  addKeyslot(image, 'second');
  addKeyslot(image, 'third', ['--unbound', '--key-size', '512']);
  addKeyslot(image, 'fourth');
  killKeyslot(image, 1);
  addToken(image, { type: 'clevis', keyslots: ['3'], jwe: {} });
  addToken(image, { type: 'other', keyslots: [], 'more of it': { a: [1, 'ü'] } });
  let copies = 0;
  const copy = (of = image.path) => {
    const path = `${folder}/copy${copies++}`;
    copyImage(of, path);
    return path;
  };
  const agrees = async (t: Test, path: string, name: string) => {
    const ours = await readLuksHeader(files, path);
    t.not(ours, null, name);
    t.strictSame(ours, asCryptsetupReads(copy(path)), `${name}: as cryptsetup`);
    return ours;
  };
  return { image, copy, agrees };
}

/** What cryptsetup says of an image, which it may repair, in the form of ours. */
function asCryptsetupReads(path: string): LuksHeader | null {
  const json = dumpJson(path);
  if (json === null) return null;
  const bound = Object.values(json.digests ?? {})
    .filter((digest) => (digest.segments as string[]).length > 0)
    .flatMap((digest) => digest.keyslots as string[]);
  return {
    version: 2,
    uuid: uuidOf(path),
    metadata: {
      keyslots: Object.keys(json.keyslots ?? {}),
      activeKeyslots: Object.keys(json.keyslots ?? {}).filter((id) => bound.includes(id)),
      salts: Object.fromEntries(
        Object.entries(json.keyslots ?? {}).map(([id, { kdf }]) => [id, (kdf as { salt: string }).salt]),
      ),
      tokens: Object.entries(json.tokens ?? {}).map(([id, content]) => ({
        id,
        type: String(content.type),
        keyslots: content.keyslots as string[],
        content,
      })),
    },
  };
}

/** A device in memory: what a file gives, thousands of times, or different bytes at each read. */
export function deviceOf(read: (nr: number) => Buffer): Files {
  let nr = 0;
  return {
    ...files,
    readRange: async (_path, offset, length) => Buffer.from(read(nr++).subarray(offset, offset + length)),
  };
}
