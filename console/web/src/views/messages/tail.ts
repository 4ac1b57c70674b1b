/**
 * A live tail: the newest messages of a topic as they come, a bounded number of them, kept when it stops.
 */

import type { PipelineClient } from "../../net/client";
import { problemFrom } from "../../net/client";
import { type Problem } from "../../net/problem";
import { Stream } from "../../net/stream";
import type { Message, Problem as ApiProblem, TailBatch } from "../../types";
import { filters, type Search } from "./query";

/** Rows that are kept; older ones go. */
export const MOST_ROWS = 300;

export class Tail {
  messages: Message[] = [];
  /** Records that came and are not shown, because there were too many. */
  skipped = 0;
  seen = 0;
  problem: Problem | undefined;
  /** Whether the display stands still while records go on coming. */
  frozen = false;
  private waiting: Message[] = [];
  private readonly stream: Stream;

  constructor(
    client: PipelineClient,
    search: Search,
    private readonly changed: () => void,
    expired: () => void,
  ) {
    this.stream = new Stream(
      client.url(["topics", search.topic, "tail"], filters(search)),
      ["messages", "problem", "expired"],
      {
        event: (name, data) => {
          if (name === "expired") expired();
          else if (name === "problem") this.fail(data as ApiProblem);
          else this.take(data as TailBatch);
        },
        state: (open) => {
          if (open) this.problem = undefined;
          this.changed();
        },
      },
    );
  }

  stop(): void {
    this.stream.close();
  }

  /** Stands still, or shows what came meanwhile. */
  freeze(frozen: boolean): void {
    this.frozen = frozen;
    if (!frozen) this.show([]);
    this.changed();
  }

  private take({ messages, skipped }: TailBatch): void {
    this.problem = undefined;
    this.skipped += skipped;
    this.seen += messages.length;
    this.show(messages);
    this.changed();
  }

  private show(messages: Message[]): void {
    this.waiting = [...messages, ...this.waiting].slice(0, MOST_ROWS);
    if (this.frozen) return;
    this.messages = [...this.waiting, ...this.messages].slice(0, MOST_ROWS);
    this.waiting = [];
  }

  private fail(told: ApiProblem): void {
    this.problem = problemFrom(told.status, told);
    this.changed();
  }
}
