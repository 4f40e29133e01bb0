import { createHash } from 'node:crypto';
import { type HashName, hashes, PCR_COUNT, type PcrSelection } from './pcrs.ts';

/** TPM_CC_PolicyPCR (TPM 2.0 Part 2 §6.5.2). */
const POLICY_PCR = 0x0000017f;

/**
 * The digest of a policy that is PolicyPCR alone (TPM 2.0 Part 3 §23.7):
 * H(zeros ‖ TPM_CC_PolicyPCR ‖ pcrs ‖ H(values)), so that no trial session is needed.
 * @param hash name algorithm of the object that the policy is for
 * @param values of the selected PCRs, one after the other, ascending
 */
export function pcrPolicyDigest(hash: HashName, selection: PcrSelection, values: Buffer): Buffer {
  const { node, bytes } = hashes[hash];
  const command = Buffer.alloc(4);
  command.writeUInt32BE(POLICY_PCR);
  return createHash(node)
    .update(Buffer.alloc(bytes))
    .update(command)
    .update(marshalSelection(selection))
    .update(createHash(node).update(values).digest())
    .digest();
}

/** TPML_PCR_SELECTION with one entry (TPM 2.0 Part 2 §10.6.2, §10.9.7): bit n of the map stands for PCR n. */
function marshalSelection({ bank, ids }: PcrSelection): Buffer {
  const mapBytes = PCR_COUNT / 8;
  const bytes = Buffer.alloc(4 + 2 + 1 + mapBytes);
  bytes.writeUInt32BE(1, 0);
  bytes.writeUInt16BE(hashes[bank].id, 4);
  bytes.writeUInt8(mapBytes, 6);
  bytes.writeUIntLE(
    ids.reduce((map, id) => map | (1 << id), 0),
    7,
    mapBytes,
  );
  return bytes;
}
