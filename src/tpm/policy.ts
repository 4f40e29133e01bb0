import { createHash } from 'node:crypto';
import { type HashName, hashes, PCR_COUNT, type PcrSelection } from './pcrs.ts';

/** TPM_CC_PolicyAuthorize and TPM_CC_PolicyPCR (TPM 2.0 Part 2 §6.5.2). */
const POLICY_AUTHORIZE = 0x0000016a;
const POLICY_PCR = 0x0000017f;

/**
 * The digest of a policy after PolicyPCR (TPM 2.0 Part 3 §23.7):
 * H(before ‖ TPM_CC_PolicyPCR ‖ pcrs ‖ H(values)), so that no trial session is needed.
 * @param hash name algorithm of the object that the policy is for
 * @param values of the selected PCRs, one after the other, ascending
 * @param before the policy's digest until then; null: PolicyPCR is the first of it
 */
export function pcrPolicyDigest(
  hash: HashName,
  selection: PcrSelection,
  values: Buffer,
  before: Buffer | null = null,
): Buffer {
  const { node, bytes } = hashes[hash];
  return createHash(node)
    .update(before ?? Buffer.alloc(bytes))
    .update(commandCode(POLICY_PCR))
    .update(marshalSelection(selection))
    .update(createHash(node).update(values).digest())
    .digest();
}

/**
 * The digest of a policy after PolicyAuthorize with an empty policyRef, which forgets what came before (TPM 2.0 Part 3
 * §23.16): H(H(zeros ‖ TPM_CC_PolicyAuthorize ‖ name of the key)), of SHA-256.
 */
export function authorizedPolicyDigest(keyName: Buffer): Buffer {
  const first = createHash('sha256')
    .update(Buffer.alloc(hashes.sha256.bytes))
    .update(commandCode(POLICY_AUTHORIZE))
    .update(keyName)
    .digest();
  return createHash('sha256').update(first).digest();
}

function commandCode(code: number): Buffer {
  const command = Buffer.alloc(4);
  command.writeUInt32BE(code);
  return command;
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
