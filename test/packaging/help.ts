/** @param help what `fetch-luks-key --help` prints: the commands, its own options, an example */
export function commandsOf(help: string): string[] {
  const [list = ''] = help.split('--help, --version');
  return [...list.matchAll(/^ {2}([a-z-]+) +\S/gm)].map(([, name = '']) => name);
}

/** @param help what `fetch-luks-key COMMAND --help` prints: a line of an option begins with it */
export function optionsOf(help: string): string[] {
  return [...help.matchAll(/^ {2}(?:-\w, | {4})?(--[a-z0-9-]+)/gm)].map(([, option = '']) => option);
}
