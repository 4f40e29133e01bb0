import t from 'tap';
import { responseIn, toolFailure } from '../../src/tpm/errors.ts';
import { lockoutFailure } from '../../src/tpm/lockout.ts';

/** As tpm2-tools 5.4 print a TPM's response. */
function printed(tool: string, code: string, text: string): string {
  return [
    'WARNING:esys:src/tss2-esys/api/Esys_X.c:295:Esys_X_Finish() Received TPM Error ',
    `ERROR:esys:src/tss2-esys/api/Esys_X.c:98:Esys_X() Esys Finish ErrorCode (${code.toLowerCase()}) `,
    `ERROR: Esys_X(${code}) - ${text}`,
    `ERROR: Unable to run ${tool}`,
    '',
  ].join('\n');
}

t.test('each response has the code of what it means', async (t) => {
  const cases: [tool: string, response: string, code: string][] = [
    ['tpm2_load', '0x1DF', 'foreign-tpm'],
    ['tpm2_load', '0x9A2', 'foreign-tpm'],
    ['tpm2_load', '0x98E', 'foreign-tpm'],
    ['tpm2_startauthsession', '0x18B', 'foreign-tpm'],
    ['tpm2_load', '0x2D5', 'damaged'],
    ['tpm2_createprimary', '0x9A2', 'refused'],
    ['tpm2_evictcontrol', '0x9A2', 'refused'],
    ['tpm2_createprimary', '0x2C3', 'bad-config'],
    ['tpm2_unseal', '0x902', 'unavailable'],
    ['tpm2_unseal', '0x903', 'unavailable'],
    ['tpm2_startauthsession', '0x905', 'unavailable'],
    ['tpm2_unseal', '0x101', 'unavailable'],
    ['tpm2_unseal', '0x100', 'unavailable'],
    ['tpm2_unseal', '0x128', 'unavailable'],
    ['tpm2_unseal', '0x922', 'unavailable'],
    // Layers above the TPM: the low half is not the TPM's.
    ['tpm2_load', '0x701DF', 'unavailable'],
    ['tpm2_unseal', '0xB01DF', 'unavailable'],
  ];
  for (const [tool, response, code] of cases) {
    const error = toolFailure(tool, printed(tool, response, 'some text'), 'device:/dev/tpmrm0');
    t.equal(error.code, code, `${tool} ${response}`);
    t.match(error.message, `${tool}: some text, ${response.toLowerCase()}`);
  }
});

t.test('the first response is the cause, and is found behind a misspelt name', async (t) => {
  const stderr =
    'ERROR: Eys_Load(0x1DF) - tpm:parameter(1):integrity check failed\nERROR: Esys_Y(0x902) - x\n';
  t.same(responseIn(stderr), { code: 0x1df, text: 'tpm:parameter(1):integrity check failed' });
});

t.test('what a tool prints is one short printable line in the message', async (t) => {
  const long = `a\u001b[31m\u0007${'b'.repeat(5000)}`;
  for (const stderr of [printed('tpm2_load', '0x922', long), `ERROR: ${long}\nERROR: second line\n`]) {
    const { message } = toolFailure('tpm2_load', stderr, 'x');
    t.match(message, /^[ -~]+$/);
    t.ok(message.length < 400);
    t.notMatch(message, /second/);
  }
});

t.test('no TPM: the reason is said, and for a permission what to do', async (t) => {
  const stderr = (reason: string) =>
    `ERROR:tcti:src/tss2-tcti/tcti-device.c:452:Tss2_Tcti_Device_Init() Failed to open specified TCTI device file /dev/tpmrm0: ${reason} \n` +
    'ERROR: Could not load tcti, got: "device:/dev/tpmrm0"\n';
  const missing = toolFailure('tpm2_load', stderr('No such file or directory'), 'device:/dev/tpmrm0');
  t.equal(missing.code, 'unavailable');
  t.equal(
    missing.message,
    'no TPM at device:/dev/tpmrm0 (Failed to open specified TCTI device file /dev/tpmrm0: No such file or directory)',
  );
  const denied = toolFailure('tpm2_load', stderr('Permission denied'), 'device:/dev/tpmrm0');
  t.match(denied.hint, /group tss/);
});

t.test('a tool that fails without a word is unavailable', async (t) => {
  const error = toolFailure('tpm2_load', '', 'x');
  t.equal(error.code, 'unavailable');
  t.equal(error.message, 'tpm2_load failed: no message');
});

t.test('lockout: how many, and how long', async (t) => {
  const properties = (interval: string) =>
    `TPM2_PT_LOCKOUT_COUNTER: 0x1F\nTPM2_PT_MAX_AUTH_FAIL: 0x20\nTPM2_PT_LOCKOUT_INTERVAL: ${interval}\n`;
  const error = lockoutFailure(properties('0x258'));
  t.equal(error.code, 'unavailable');
  t.match(error.message, 'lockout after 31 failed authorizations of at most 32: it ends within 600 s');
  t.match(lockoutFailure(properties('0x0')).message, 'it does not end by itself');
  t.match(lockoutFailure('').message, /^the TPM is in lockout/);
});
