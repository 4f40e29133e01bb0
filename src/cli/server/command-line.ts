import { type Options, parseArguments } from '../command.ts';

/** Of a command of luks-key-server. @throws AppError `usage` */
export function parseCommandLine<const T extends Options>(
  command: string,
  args: readonly string[],
  options: T,
  names: readonly string[] = [],
) {
  return parseArguments(`luks-key-server ${command}`, args, options, names);
}
