/**
 * The lines of one container's log: read once, or followed; held, and kept when it stops.
 */

import { type PipelineClient, problemFrom, type Query } from "../../net/client";
import { type Problem, problemOf } from "../../net/problem";
import { Stream } from "../../net/stream";
import type { LogLines, Problem as ApiProblem } from "../../types";
import { type Line, linesOf, parseLine } from "./lines";

/** Lines that are kept; older ones go. */
export const MOST_LINES = 5000;

export class LogSource {
  lines: Line[] = [];
  loading = true;
  problem: Problem | undefined;
  /** Whether the container has ended. */
  ended = false;
  /** Whether the display stands still while lines go on coming. */
  frozen = false;
  /** Lines that came while it stood still. */
  waiting: Line[] = [];
  private stream: Stream | undefined;
  private readonly request = new AbortController();

  constructor(
    client: PipelineClient,
    pod: string,
    query: Query,
    follow: boolean,
    private readonly changed: () => void,
    private readonly expired: () => void,
  ) {
    if (follow) this.follow(client, pod, query);
    else void this.read(client, pod, query);
  }

  stop(): void {
    this.request.abort();
    this.stream?.close();
  }

  freeze(frozen: boolean): void {
    this.frozen = frozen;
    if (!frozen) this.add([]);
    this.changed();
  }

  private async read(client: PipelineClient, pod: string, query: Query): Promise<void> {
    try {
      this.lines = linesOf(await client.logs(this.request.signal, pod, query)).slice(-MOST_LINES);
    } catch (cause) {
      if (this.request.signal.aborted) return;
      this.problem = problemOf(cause);
    }
    this.loading = false;
    this.changed();
  }

  private follow(client: PipelineClient, pod: string, query: Query): void {
    this.stream = new Stream(
      client.url(["pods", pod, "logs", "follow"], query),
      ["lines", "end", "problem", "expired"],
      {
        event: (name, data) => this.event(name, data),
        state: (open) => this.state(open, client, pod, query),
      },
    );
  }

  private state(open: boolean, client: PipelineClient, pod: string, query: Query): void {
    this.loading = false;
    if (open) {
      // The stream begins with the last lines again, also when it comes back.
      this.lines = [];
      this.waiting = [];
      this.problem = undefined;
    } else if (this.lines.length === 0) {
      // A stream that is refused does not say why; the log itself does.
      void client.logs(this.request.signal, pod, { ...query, tail: 1 }).catch((cause: unknown) => {
        if (this.request.signal.aborted) return;
        this.problem = problemOf(cause);
        this.changed();
      });
    }
    this.changed();
  }

  private event(name: string, data: unknown): void {
    switch (name) {
      case "lines":
        this.add((data as LogLines).lines.map(parseLine));
        break;
      case "end":
        this.ended = true;
        this.stream?.close();
        break;
      case "problem": {
        const told = data as ApiProblem;
        this.problem = problemFrom(told.status, told);
        break;
      }
      case "expired":
        this.expired();
        return;
    }
    this.changed();
  }

  private add(lines: Line[]): void {
    this.waiting = [...this.waiting, ...lines].slice(-MOST_LINES);
    if (this.frozen) return;
    this.lines = [...this.lines, ...this.waiting].slice(-MOST_LINES);
    this.waiting = [];
  }
}
