/** Once what is due already has been done: this turn of the event loop is over, and others have had theirs. */
export function afterThisTurn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
