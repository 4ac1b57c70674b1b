/**
 * Asking again: a value that is fetched now and then as long as somebody looks, keeping the last one with its age.
 */

import { onConnectionChange } from "./connection";
import { type Problem, problemOf } from "./problem";

/** What is known of something asked for. Value and problem may both be there: an old value, and why there is no newer. */
export interface Held<T> {
  value: T | undefined;
  /** When the value was received, in milliseconds since the epoch. */
  at: number | undefined;
  problem: Problem | undefined;
  /** Whether an answer is awaited. */
  loading: boolean;
}

/** Something that is asked for again every `every` seconds; 0: only on demand. */
export class Poll<T> {
  held: Held<T> = { value: undefined, at: undefined, problem: undefined, loading: true };
  private timer: ReturnType<typeof setTimeout> | undefined;
  private request: AbortController | undefined;
  private failures = 0;
  private stopped = false;
  private readonly unlisten: () => void;

  constructor(
    private readonly every: number,
    private readonly fetcher: (signal: AbortSignal) => Promise<T>,
    private readonly changed: () => void,
  ) {
    this.unlisten = onConnectionChange((regained) => {
      if (regained && this.held.problem !== undefined) this.again();
    });
    document.addEventListener("visibilitychange", this.shown);
    void this.ask();
  }

  /** Asks now; an answer that is still awaited is given up. */
  again(): void {
    this.request?.abort();
    void this.ask();
  }

  stop(): void {
    this.stopped = true;
    clearTimeout(this.timer);
    this.request?.abort();
    this.unlisten();
    document.removeEventListener("visibilitychange", this.shown);
  }

  private readonly shown = (): void => {
    if (!document.hidden && this.every > 0) this.again();
  };

  private async ask(): Promise<void> {
    clearTimeout(this.timer);
    const request = new AbortController();
    this.request = request;
    this.held = { ...this.held, loading: true };
    try {
      const value = await this.fetcher(request.signal);
      if (this.superseded(request)) return;
      this.failures = 0;
      this.held = { value, at: Date.now(), problem: undefined, loading: false };
    } catch (cause) {
      if (this.superseded(request)) return;
      this.failures += 1;
      this.held = { ...this.held, problem: problemOf(cause), loading: false };
    }
    this.schedule();
    this.changed();
  }

  private superseded(request: AbortController): boolean {
    return this.stopped || request.signal.aborted || this.request !== request;
  }

  private schedule(): void {
    const wait = nextDelay(this.every, this.failures, this.held.problem?.kind);
    if (wait === undefined) return;
    this.timer = setTimeout(() => {
      // A hidden page asks for nothing; it asks at once when it is shown.
      if (!document.hidden) void this.ask();
    }, wait * 1000);
  }
}

/** Returns the seconds until something is asked for again. Absent: it is not, because that would not help. */
export function nextDelay(every: number, failures: number, problem: Problem["kind"] | undefined): number | undefined {
  switch (problem) {
    case undefined:
      return every > 0 ? every : undefined;
    case "signedOut":
      return undefined;
    case "refused":
      return every > 0 ? Math.max(every, 15) : undefined;
    case "forbidden":
    case "missing":
      return Math.max(every, 15);
    case "limited":
    case "away":
    case "disconnected":
    case "bug":
      return Math.min(30, Math.max(every, 2) * 2 ** Math.min(failures - 1, 3));
  }
}
