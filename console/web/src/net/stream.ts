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

/** The server sends something at least every 15 s. */
const SILENCE_MS = 40_000;

/** A stream of events from `url`, open until `close`. */
export class Stream {
  private source: EventSource | undefined;
  private timer: ReturnType<typeof setTimeout> | undefined;
  private watchdog: ReturnType<typeof setTimeout> | undefined;
  private failures = 0;
  private closed = false;

  constructor(
    private readonly url: string,
    private readonly names: readonly string[],
    private readonly handlers: StreamHandlers,
  ) {
    this.open();
  }

  close(): void {
    this.closed = true;
    clearTimeout(this.timer);
    clearTimeout(this.watchdog);
    this.source?.close();
  }

  private open(): void {
    const source = new EventSource(this.url);
    this.source = source;
    this.watch();
    source.onopen = () => {
      this.failures = 0;
      this.alive();
      this.handlers.state?.(true);
    };
    source.onerror = () => this.retry();
    source.addEventListener("ping", () => this.alive());
    for (const name of this.names) {
      source.addEventListener(name, (message) => {
        this.alive();
        const data = parse(message.data);
        if (data !== undefined) this.handlers.event(name, data);
      });
    }
  }

  private alive(): void {
    heard();
    this.watch();
  }

  private watch(): void {
    clearTimeout(this.watchdog);
    this.watchdog = setTimeout(() => this.retry(), SILENCE_MS);
  }

  private retry(): void {
    if (this.closed) return;
    this.source?.close();
    clearTimeout(this.timer);
    clearTimeout(this.watchdog);
    this.failures += 1;
    if (this.failures > 1) lost();
    this.handlers.state?.(false);
    this.timer = setTimeout(() => this.open(), Math.min(15_000, 500 * 2 ** Math.min(this.failures, 5)));
  }
}

function parse(data: unknown): unknown {
  try {
    return JSON.parse(String(data));
  } catch {
    return undefined;
  }
}
