/**
 * Server-sent events that come back by themselves: `EventSource` gives up on an HTTP error and does not notice a silent
 * connection; this one does neither.
 */

import { heard, lost } from "./connection";

export interface StreamHandlers {
  /** Called for each event with its name and its data, parsed as JSON. */
  event(name: string, data: unknown): void;
  /** Called when the stream opens, and with `false` when it is lost. */
  state?(open: boolean): void;
}

/** Events that come by the clock, a sample every 5 s and a ping at least every 15 s: once one was heard, silence means that the connection is dead. */
const BEATS = new Set(["ping", "sample"]);
const SILENCE_MS = 40_000;

/**
 * A page that is hidden for so long holds no stream open: browsers allow six connections to a server, all tabs together.
 */
const HIDDEN_MS = 30_000;

/** A stream of events from `url`, open until `close`. */
export class Stream {
  private source: EventSource | undefined;
  private timer: ReturnType<typeof setTimeout> | undefined;
  private watchdog: ReturnType<typeof setTimeout> | undefined;
  private hiding: ReturnType<typeof setTimeout> | undefined;
  private failures = 0;
  private closed = false;
  private asleep = false;

  constructor(
    private readonly url: string,
    private readonly names: readonly string[],
    private readonly handlers: StreamHandlers,
  ) {
    document.addEventListener("visibilitychange", this.shown);
    addEventListener("offline", this.retry);
    addEventListener("online", this.retry);
    this.open();
  }

  close(): void {
    this.closed = true;
    document.removeEventListener("visibilitychange", this.shown);
    removeEventListener("offline", this.retry);
    removeEventListener("online", this.retry);
    clearTimeout(this.hiding);
    this.drop();
  }

  private drop(): void {
    clearTimeout(this.timer);
    clearTimeout(this.watchdog);
    this.source?.close();
  }

  private readonly shown = (): void => {
    clearTimeout(this.hiding);
    if (document.hidden) {
      this.hiding = setTimeout(() => {
        this.asleep = true;
        this.drop();
      }, HIDDEN_MS);
    } else if (this.asleep) {
      this.asleep = false;
      this.open();
    }
  };

  private open(): void {
    const source = new EventSource(this.url);
    this.source = source;
    source.onopen = () => {
      this.failures = 0;
      heard();
      this.handlers.state?.(true);
    };
    source.onerror = () => this.retry();
    source.addEventListener("ping", () => this.alive("ping"));
    for (const name of this.names) {
      source.addEventListener(name, (message) => {
        this.alive(name);
        const data = parse(message.data);
        if (data !== undefined) this.handlers.event(name, data);
      });
    }
  }

  private alive(event: string): void {
    heard();
    if (!BEATS.has(event)) return;
    clearTimeout(this.watchdog);
    this.watchdog = setTimeout(() => this.retry(), SILENCE_MS);
  }

  private readonly retry = (): void => {
    if (this.closed || this.asleep) return;
    this.drop();
    this.failures += 1;
    if (this.failures > 1) lost();
    this.handlers.state?.(false);
    this.timer = setTimeout(() => this.open(), Math.min(15_000, 500 * 2 ** Math.min(this.failures, 5)));
  };
}

function parse(data: unknown): unknown {
  try {
    return JSON.parse(String(data));
  } catch {
    return undefined;
  }
}
