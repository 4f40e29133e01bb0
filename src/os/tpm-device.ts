import { existsSync } from 'node:fs';

/**
 * Where the TPM is, for `-T` of tpm2-tools (tpm2-tools common/tcti.md): $TPM2TOOLS_TCTI, else the kernel's resource
 * manager, else the bare device. Left to itself libtss2 would try D-Bus first, which is not there at early boot.
 */
export function tpmDevice(environment: NodeJS.ProcessEnv): string {
  const { TPM2TOOLS_TCTI: tcti } = environment;
  if (tcti !== undefined && tcti !== '') return tcti;
  return existsSync('/dev/tpmrm0') || !existsSync('/dev/tpm0') ? 'device:/dev/tpmrm0' : 'device:/dev/tpm0';
}
