import { existsSync } from 'node:fs';
import t from 'tap';
import { tpmDevice } from '../../src/os/tpm-device.ts';

t.test('tpmDevice', async (t) => {
  const configured = 'swtpm:host=127.0.0.1,port=2321';
  t.equal(tpmDevice({ TPM2TOOLS_TCTI: configured }), configured);
  const device =
    existsSync('/dev/tpm0') && !existsSync('/dev/tpmrm0') ? 'device:/dev/tpm0' : 'device:/dev/tpmrm0';
  t.equal(tpmDevice({}), device);
  t.equal(tpmDevice({ TPM2TOOLS_TCTI: '' }), device);
});
