import { execFileSync } from 'node:child_process';

/** A run writes it itself: it is no change of what was tested. */
const PAGE = 'docs/BOOT.md';

/** Day (UTC) and commit of the sources that are tested, for who reads the results later. @param root of the work tree */
export function sourcesHere(root: string): string {
  const day = new Date().toISOString().slice(0, 'YYYY-MM-DD'.length);
  const git = (...args: string[]) =>
    execFileSync('git', ['-c', 'safe.directory=*', '-C', root, ...args], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    }).trim();
  try {
    const commit = git('rev-parse', '--short=10', 'HEAD');
    const changed = git('status', '--porcelain', '--', '.', `:!${PAGE}`) !== '';
    return `${day}, commit ${commit}${changed ? ' and changes that are not committed' : ''}`;
  } catch {
    return `${day}, not from a commit`;
  }
}
