/**
 * Whether the console answers. One for the page: every request and stream reports here, and the bar and banner read it.
 */

export interface Connection {
  /** Milliseconds since the epoch of the first failure in a row. Absent: the console answers. */
  lostSince: number | undefined;
  /** When it last answered. Absent: not yet. */
  heardAt: number | undefined;
}

const connection: Connection = { lostSince: undefined, heardAt: undefined };
const listeners = new Set<(regained: boolean) => void>();

/** Returns how the connection stands. */
export function connectionState(): Readonly<Connection> {
  return connection;
}

/** Notes that the console answered. */
export function heard(): void {
  connection.heardAt = Date.now();
  if (connection.lostSince === undefined) return;
  connection.lostSince = undefined;
  tell(true);
}

/** Notes that the console did not answer. */
export function lost(): void {
  if (connection.lostSince !== undefined) return;
  connection.lostSince = Date.now();
  tell(false);
}

/** Calls `listener` at each change, with whether the connection is back. */
export function onConnectionChange(listener: (regained: boolean) => void): () => void {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

function tell(regained: boolean): void {
  for (const listener of listeners) listener(regained);
}
