/**
 * What a newcomer does: signs in, sees the graph live, runs a source with params, finds its records in messages and table,
 * follows one to its row, opens the run's logs, and pauses the source.
 */

import assert from "node:assert/strict";
import type { Locator } from "playwright-core";
import type { Message, Messages, PipelineView, Run, SourceView } from "../../src/types";
import { type Task, until, Visit } from "./visit";

/** First paint of the built page, from the request on. */
const FIRST_PAINT_MS = 1000;

export async function newcomer(task: Task): Promise<void> {
  await refusesAWrongToken(task);
  const visit = await Visit.open(task, task.token);
  await keepsTheTokenToItself(visit);
  await paintsSoon(visit);
  await seesTheGraphLive(visit);
  const source = await choose(visit);
  const run = await runs(visit, source);
  task.state.run = run;
  task.state.message = await findsItsRecords(visit, run);
  await findsRows(visit);
  await followsOne(visit, run, task.state.message);
  await readsItsLogs(visit, run);
  await pauses(visit, source);
  await usesKeys(visit);
  await visit.close();
}

async function refusesAWrongToken(task: Task): Promise<void> {
  const visit = await Visit.open(task, undefined);
  await visit.page.getByLabel("Kubernetes token").fill("not-a-token");
  await visit.page.getByRole("button", { name: "Sign in" }).click();
  await visit.page.getByRole("alert").waitFor();
  assert.equal(await visit.page.getByRole("button", { name: "Sign out" }).count(), 0);
  await visit.close();
}

async function keepsTheTokenToItself(visit: Visit): Promise<void> {
  const kept = await visit.page.evaluate(() =>
    [
      location.href,
      document.cookie,
      JSON.stringify(localStorage),
      JSON.stringify(sessionStorage),
      document.documentElement.outerHTML,
    ].join("\n"),
  );
  assert.ok(!kept.includes(visit.task.token), "the token is still in the address, in storage or in the page");
  assert.ok(!kept.includes("token="), "the address still has the fragment");
}

async function paintsSoon(visit: Visit): Promise<void> {
  await visit.page.goto(`${visit.task.url}/`);
  await visit.page.getByRole("link", { name: visit.task.pipeline, exact: true }).first().waitFor();
  const paint = await visit.page.evaluate(() => performance.getEntriesByName("first-contentful-paint")[0]?.startTime);
  assert.ok(paint !== undefined && paint <= FIRST_PAINT_MS, `first paint after ${paint} ms`);
  console.log(`      first paint after ${Math.round(paint)} ms`);
}

async function seesTheGraphLive(visit: Visit): Promise<void> {
  const { page, task } = visit;
  await page.goto(`${task.url}/?namespace=${task.namespace}`);
  await page.getByRole("link", { name: task.pipeline, exact: true }).click();
  const graph = page.getByRole("region", { name: /^The pipeline from its sources/ });
  await graph.waitFor();
  for (const kind of ["Source", "Topic", "Query", "Table", "Store"])
    assert.ok((await graph.locator(`a.node.${kind}`).count()) > 0, `no node of the kind ${kind}`);
  assert.notEqual(await page.locator(".why .sentence").textContent(), "");

  // Live: the stream brings views and samples without a reload, and what they bring is drawn.
  const seen = await page.evaluate(
    () =>
      new Promise<string[]>((resolve) => {
        const names: string[] = [];
        const source = new EventSource(
          `/api/v1/namespaces/${location.pathname.split("/")[1]}/pipelines/${location.pathname.split("/")[2]}/live`,
        );
        const note = (event: Event): void => {
          names.push(event.type);
          if (names.includes("view") && names.includes("sample")) {
            source.close();
            resolve(names);
          }
        };
        source.addEventListener("view", note);
        source.addEventListener("sample", note);
        setTimeout(() => resolve(names), 20_000);
      }),
  );
  assert.ok(seen.includes("view") && seen.includes("sample"), `the stream brought ${seen.join(", ") || "nothing"}`);
  await page.locator(".live", { hasText: "Live" }).waitFor();
}

/** The source with a cron schedule, which can be run and paused. */
async function choose(visit: Visit): Promise<SourceView> {
  const { sources } = await visit.view();
  const source =
    sources.find(({ runnable, schedule }) => runnable && schedule?.cron) ?? sources.find(({ runnable }) => runnable);
  assert.ok(source !== undefined, "the pipeline has no source that can be run");
  return source;
}

async function runs(visit: Visit, source: SourceView): Promise<Run> {
  const { page, task } = visit;
  await visit.go("runs");
  await page.getByRole("button", { name: `Run ${source.name}`, exact: true }).click();
  const dialog = page.getByRole("dialog");
  for (const [name, value] of Object.entries(task.params)) {
    const field = dialog.locator(`#param-${name}`);
    const choices = (await field.evaluate((element) => element.tagName)) === "SELECT";
    await (choices ? field.selectOption(value) : field.fill(value));
  }
  await dialog.getByRole("button", { name: "Check only" }).click();
  await dialog.getByText("kubectl create").first().waitFor();
  const before = await visit.ask<{ runs: Run[] }>("/runs");
  assert.ok(!before.runs.some(({ created }) => Date.parse(created) > Date.now() - 2000), "the check created a run");

  await dialog.getByRole("button", { name: "Run it" }).click();
  await dialog.waitFor({ state: "detached" });
  await page.getByText("kubectl create").first().waitFor();
  const name = await until(
    "the address of the new run",
    async () => new URL(page.url()).searchParams.get("run") ?? undefined,
  );
  const run = await until("the end of the run", async () => {
    const now = await visit.ask<Run>(`/runs/${name}`);
    assert.notEqual(now.phase, "Failed", now.message ?? "the run failed");
    return now.phase === "Succeeded" ? now : undefined;
  });
  assert.ok((run.recordsProduced ?? 0) > 0, "the run produced nothing");
  await page
    .getByRole("complementary", { name: `Run ${name}` })
    .getByText("Succeeded")
    .first()
    .waitFor();
  console.log(`      ${name} produced ${run.recordsProduced} records`);
  return run;
}

async function findsItsRecords(visit: Visit, run: Run): Promise<Message> {
  const { page } = visit;
  await page.getByRole("link", { name: "Its records" }).click();
  const rows = page.getByRole("table", { name: "Messages" }).locator("tbody tr");
  await rows.first().waitFor();
  const found = await visit.ask<Messages>(`/topics/${run.topic}/messages?run=${run.name}&limit=5`);
  const [message] = found.messages;
  assert.ok(
    message !== undefined && found.messages.every((item) => item.run === run.name),
    "the filter lets other runs' records through",
  );
  await rows.first().click();
  await page.getByRole("complementary", { name: "The message" }).getByText(run.name).first().waitFor();

  // What is being typed outlives the redraws that go on meanwhile.
  await page.getByLabel("Value contains").pressSequentially("half a word");
  await page.waitForTimeout(7000);
  assert.equal(await page.getByLabel("Value contains").inputValue(), "half a word");

  // The control: of a run that there never was, there is no record.
  const none = await visit.ask<Messages>(`/topics/${run.topic}/messages?run=${run.name}-never&limit=5`);
  assert.equal(none.messages.length, 0);
  return message;
}

async function findsRows(visit: Visit): Promise<void> {
  await visit.go("tables");
  const rows = visit.page.getByRole("table", { name: "Rows" }).locator("tbody tr");
  await until("rows in the table", async () => {
    if ((await rows.count()) > 0) return true;
    await visit.page.getByRole("button", { name: "Read again" }).click();
    return undefined;
  });
  await visit.page.getByText("SELECT").first().waitFor();
}

async function followsOne(visit: Visit, run: Run, message: Message): Promise<void> {
  const { page } = visit;
  await visit.go("messages", { topic: run.topic ?? "", run: run.name, at: `${message.partition}:${message.offset}` });
  await page.getByRole("table", { name: "Messages" }).locator("tbody tr").first().click();
  await page.getByRole("link", { name: "Follow it" }).click();
  const steps = page.locator(".steps > li");
  await steps.first().waitFor();
  await until("the record's row", async () => ((await step(steps, "Row of", /done|overwritten/)) ? true : undefined));
  assert.ok(await step(steps, "Run", /done/), "the run is not among the steps");
  assert.ok(await step(steps, "Topic", /done/), "the topic is not among the steps");
}

async function step(steps: Locator, kind: string, state: RegExp): Promise<boolean> {
  return (
    (await steps
      .filter({ has: steps.page().locator("strong", { hasText: kind }) })
      .filter({ hasText: state })
      .count()) > 0
  );
}

async function readsItsLogs(visit: Visit, run: Run): Promise<void> {
  const { page } = visit;
  await visit.go("runs", { run: run.name });
  await page.getByRole("link", { name: "Its logs" }).click();
  const log = page.getByRole("log");
  await log.waitFor();
  await until("lines of the log", async () => ((await log.textContent())?.trim() === "" ? undefined : true));
  const lines = await log.locator("> span").count();
  await page.getByLabel("Lines that contain").fill("there-is-no-such-line");
  await page.getByLabel("Lines that contain").press("Enter");
  await page.getByText("No line contains").waitFor();
  assert.ok(lines > 0);
}

async function pauses(visit: Visit, source: SourceView): Promise<void> {
  const { page } = visit;
  if (!source.schedule?.cron) {
    console.log(`      ${source.name} has no cron schedule, so there is nothing to pause`);
    return;
  }
  const paused = async (wanted: boolean): Promise<PipelineView> =>
    until(`a pipeline whose source is ${wanted ? "paused" : "not paused"}`, async () => {
      const view = await visit.view();
      return view.summary.pausedSources.includes(source.name) === wanted ? view : undefined;
    });
  await visit.go("runs");
  await page.getByRole("button", { name: `Pause ${source.name}`, exact: true }).click();
  await page.locator(".banner.paused").waitFor();
  await page.getByText("kubectl patch").first().waitFor();
  await paused(true);
  await page.getByRole("button", { name: `Resume ${source.name}`, exact: true }).click();
  await page.locator(".banner.paused").waitFor({ state: "detached" });
  await paused(false);
}

async function usesKeys(visit: Visit): Promise<void> {
  const { page } = visit;
  await page.keyboard.press("Escape");
  await page.locator("body").press("g");
  await page.locator("body").press("l");
  await page.getByRole("heading", { name: "Lag", level: 1 }).waitFor();
  await page.locator("body").press("?");
  await page.getByRole("dialog", { name: "Keys" }).waitFor();
  await page.keyboard.press("Escape");
  await page.getByRole("dialog").waitFor({ state: "detached" });
  await page.locator("body").press("t");
  assert.equal(await page.evaluate(() => document.documentElement.dataset.theme), "light");
}
