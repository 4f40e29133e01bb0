import { AppError } from '../base/errors.ts';
import { limits } from '../base/limits.ts';
import type { Argument, Runner, RunResult } from '../base/ports.ts';
import { errorNumber, rc, responseIn, toolFailure } from './errors.ts';
import { lockoutFailure } from './lockout.ts';

export interface TpmSettings {
  /** Where the TPM is, as TPM2TOOLS_TCTI says it (tpm2-tools' common/tcti). */
  readonly tcti: string;
  /** Where tpm2-tools are: absolute, default `/usr/bin`. */
  readonly toolFolder?: string;
}

/** tpm2-tools: their place, environment and limits, and what their failures mean. */
export class Tools {
  readonly tcti: string;
  /**
   * Whether something between us and the TPM swaps objects in and out and drops what a process leaves behind: the
   * kernel for /dev/tpmrm*, or tpm2-abrmd.
   */
  readonly hasResourceManager: boolean;
  readonly #runner: Runner;
  readonly #folder: string;

  constructor(runner: Runner, settings: TpmSettings) {
    this.#runner = runner;
    this.tcti = settings.tcti;
    this.#folder = settings.toolFolder ?? '/usr/bin';
    this.hasResourceManager = /tabrmd|:\/dev\/tpmrm\d+$/.test(settings.tcti);
  }

  /**
   * @param signal aborted: the tool still gets a while to finish, since one that is killed leaves things in the TPM
   * @returns standard output, which may be a secret
   * @throws AppError what `toolFailure` says; `unavailable` (lockout too), `tool-missing`, `stopped`
   */
  async run(
    tool: string,
    args: readonly Argument[],
    signal: AbortSignal,
    stdin?: Uint8Array,
  ): Promise<Buffer> {
    const result = await this.attempt(tool, args, signal, stdin);
    if (result.status === 0) return result.stdout;
    throw await this.explain(tool, result, signal);
  }

  /** As `run`, but gives the failure too. */
  attempt(
    tool: string,
    args: readonly Argument[],
    signal: AbortSignal,
    stdin?: Uint8Array,
  ): Promise<RunResult> {
    const limitsOfRun = { timeoutMs: limits.tpmToolTimeoutMs, abortGraceMs: limits.tpmAbortGraceMs };
    return this.#start(tool, args, { ...limitsOfRun, signal, ...(stdin === undefined ? {} : { stdin }) });
  }

  /**
   * Runs `tpm2_flushcontext`, also when nobody waits any more.
   * @throws AppError when the TPM did not answer; that what was to be flushed is gone already is no failure
   */
  async flush(what: '-t' | '-l' | '-s' | number): Promise<void> {
    const argument = typeof what === 'number' ? `0x${what.toString(16).padStart(8, '0')}` : what;
    const result = await this.#start('tpm2_flushcontext', [argument], { timeoutMs: limits.tpmAbortGraceMs });
    if (result.status !== 0 && responseIn(result.stderr) === null) {
      throw toolFailure('tpm2_flushcontext', result.stderr, this.tcti);
    }
  }

  async explain(tool: string, result: RunResult, signal: AbortSignal): Promise<AppError> {
    const response = responseIn(result.stderr);
    if (response === null || errorNumber(response.code) !== rc.LOCKOUT) {
      return toolFailure(tool, result.stderr, this.tcti);
    }
    const properties = await this.attempt('tpm2_getcap', ['properties-variable'], signal);
    return lockoutFailure(properties.stdout.toString());
  }

  async #start(
    tool: string,
    args: readonly Argument[],
    options: { timeoutMs: number; abortGraceMs?: number; signal?: AbortSignal; stdin?: Uint8Array },
  ): Promise<RunResult> {
    try {
      return await this.#runner.run(`${this.#folder}/${tool}`, args, {
        ...options,
        environment: { TPM2TOOLS_TCTI: this.tcti },
        maxOutputBytes: limits.childOutputBytes,
      });
    } catch (thrown) {
      if (!(thrown instanceof AppError) || thrown.code !== 'tool-missing') throw thrown;
      throw new AppError(thrown.code, thrown.message, {
        cause: thrown,
        hint: 'install the package tpm2-tools',
      });
    }
  }
}
