/**
 * A pipeline as it is right now: its view and samples from one stream, its past hour from one request. The shell holds one
 * for the pipeline that is looked at, and all views draw from it.
 */

import type { PipelineView, Problem as ApiProblem, Sample } from "../types";
import { PipelineClient, problemFrom } from "./client";
import { Columns } from "./history";
import type { Held } from "./poll";
import { type Problem, problemOf } from "./problem";
import { Stream } from "./stream";

export class Live {
  readonly client: PipelineClient;
  view: Held<PipelineView> = { value: undefined, at: undefined, problem: undefined, loading: true };
  readonly columns = new Columns();
  /** Whether the past hour is here. */
  historyProblem: Problem | undefined;
  historyLoaded = false;
  /** Why the newest values are unknown. */
  unknown: string[] = [];
  private readonly stream: Stream;
  private readonly requests = new AbortController();

  constructor(
    readonly namespace: string,
    readonly name: string,
    private readonly changed: () => void,
    private readonly expired: () => void,
  ) {
    this.client = new PipelineClient(namespace, name);
    this.stream = new Stream(this.client.url(["live"]), ["view", "sample", "problem", "expired"], {
      event: (event, data) => this.event(event, data),
      state: (open) => {
        if (open) void this.loadHistory();
        else void this.again();
      },
    });
  }

  stop(): void {
    this.requests.abort();
    this.stream.close();
  }

  /** Asks for the view now, after something was changed. */
  async again(): Promise<void> {
    try {
      this.take(await this.client.view(this.requests.signal));
    } catch (cause) {
      if (this.requests.signal.aborted) return;
      this.view = { ...this.view, problem: problemOf(cause), loading: false };
    }
    this.changed();
  }

  private event(name: string, data: unknown): void {
    switch (name) {
      case "view":
        this.take(data as PipelineView);
        break;
      case "sample": {
        const sample = data as Sample;
        this.columns.push(sample);
        this.unknown = sample.unknown;
        break;
      }
      case "problem": {
        const told = data as ApiProblem;
        this.view = { ...this.view, problem: problemFrom(told.status, told), loading: false };
        break;
      }
      case "expired":
        this.expired();
        return;
    }
    this.changed();
  }

  private take(view: PipelineView): void {
    this.view = { value: view, at: Date.now(), problem: undefined, loading: false };
  }

  private async loadHistory(): Promise<void> {
    try {
      const history = await this.client.history(this.requests.signal);
      this.columns.replace(history);
      this.unknown = history.unknown;
      this.historyLoaded = true;
      this.historyProblem = undefined;
    } catch (cause) {
      if (this.requests.signal.aborted) return;
      this.historyProblem = problemOf(cause);
    }
    this.changed();
  }
}
