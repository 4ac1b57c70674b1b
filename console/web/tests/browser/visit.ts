/**
 * A visit of the page: one browser window that is signed in, and what is asked of it again and again.
 */

import assert from "node:assert/strict";
import type { Browser, BrowserContext, Page } from "playwright-core";
import type { Message, PipelineView, Run } from "../../src/types";

export interface Task {
  browser: Browser;
  url: string;
  token: string;
  namespace: string;
  pipeline: string;
  /** Params for the run that is asked for. */
  params: Record<string, string>;
  /** What a part leaves for those after it. */
  state: { run?: Run; message?: Message };
}

/** Records may take their time on a small machine. */
export const PATIENCE = 120_000;

export class Visit {
  /** The one that was opened last, for the picture of a failure. */
  static last: Visit | undefined;
  /** What the browser complained of: errors of the page's own script, and breaches of its Content-Security-Policy. */
  readonly complaints: string[] = [];

  private constructor(
    readonly task: Task,
    readonly context: BrowserContext,
    readonly page: Page,
  ) {
    page.on("pageerror", (error) => this.complaints.push(error.stack ?? error.message));
    page.on("console", (message) => {
      if (/content security policy/i.test(message.text())) this.complaints.push(message.text());
    });
    page.setDefaultTimeout(30_000);
    Visit.last = this;
  }

  /** Opens a window; with a token it is signed in. */
  static async open(task: Task, token: string | undefined, scheme: "light" | "dark" = "light"): Promise<Visit> {
    const context = await task.browser.newContext({
      viewport: { width: 1280, height: 800 },
      colorScheme: scheme,
      reducedMotion: "reduce",
    });
    const visit = new Visit(task, context, await context.newPage());
    await visit.page.goto(token === undefined ? task.url : `${task.url}/#token=${encodeURIComponent(token)}`);
    if (token !== undefined) await visit.page.getByRole("button", { name: "Sign out" }).waitFor();
    return visit;
  }

  async close(): Promise<void> {
    assert.deepEqual(this.complaints, [], "the browser complained");
    await this.context.close();
  }

  /** Goes to a view of the pipeline. */
  async go(view: string, query: Record<string, string> = {}): Promise<void> {
    const { url, namespace, pipeline } = this.task;
    const search = new URLSearchParams(query).toString();
    await this.page.goto(
      `${url}/${namespace}/${pipeline}${view === "overview" ? "" : `/${view}`}${search === "" ? "" : `?${search}`}`,
    );
    await this.page.locator("main h1").waitFor();
  }

  /** Asks the API, as the page does. */
  async ask<T>(path: string): Promise<T> {
    const { namespace, pipeline } = this.task;
    const route = `/api/v1/namespaces/${namespace}/pipelines/${pipeline}${path}`;
    return this.page.evaluate(async (address) => (await fetch(address)).json(), route) as Promise<T>;
  }

  view(): Promise<PipelineView> {
    return this.ask<PipelineView>("");
  }
}

/** Waits until `look` finds something; asks again and again. */
export async function until<T>(what: string, look: () => Promise<T | undefined>, patience = PATIENCE): Promise<T> {
  const end = Date.now() + patience;
  while (Date.now() < end) {
    const found = await look();
    if (found !== undefined) return found;
    await new Promise((resolve) => setTimeout(resolve, 500));
  }
  throw new Error(`${what}: not within ${patience / 1000} s`);
}
