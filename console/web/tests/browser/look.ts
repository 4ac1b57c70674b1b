/**
 * What a look at the page shows: nothing is wider than a phone, the graph fills a wide page and cuts nothing off, states and
 * causes are words with space around them, charts have units, columns stand as declared.
 */

import assert from "node:assert/strict";
import type { PipelineView, Tables } from "../../src/types";
import { settle } from "./accessibility";
import { places, sparePlaces } from "./places";
import { type Task, Visit } from "./visit";

const PHONE = { width: 390, height: 844 };

export async function look(task: Task): Promise<void> {
  await fitsAPhone(task);
  const visit = await Visit.open(task, task.token);
  await fillsAWidePage(visit);
  await hasUnits(visit);
  await showsColumnsAsDeclared(visit);
  await showsCauses(visit);
  await visit.close();
  await offersTheCommandFirst(task);
}

async function fitsAPhone(task: Task): Promise<void> {
  const visit = await Visit.open(task, task.token);
  await visit.page.setViewportSize(PHONE);
  await findsWhatIsTooWide(visit);
  for (const [name, path] of [...places(task), ...sparePlaces(task)]) {
    await visit.page.goto(task.url + path);
    await settle(visit);
    assert.deepEqual(await tooWide(visit), [], `${name} is wider than a phone`);
  }
  // The last one of the list, which is wider than a phone.
  await visit.go("resource");
  await settle(visit);
  const seen = await visit.page.locator('.views [aria-current="page"]').evaluate((link) => {
    const { left, right } = link.getBoundingClientRect();
    return left >= 0 && right <= document.documentElement.clientWidth;
  });
  assert.ok(seen, "the current view is out of sight in the list of views");
  await visit.close();

  const visitor = await Visit.open(task, undefined);
  await visitor.page.setViewportSize(PHONE);
  await visitor.page.getByRole("heading", { name: "Sign in" }).waitFor();
  assert.deepEqual(await tooWide(visitor), [], "sign-in is wider than a phone");
  await visitor.close();
}

/** The control: a box that is wider than the window. */
async function findsWhatIsTooWide(visit: Visit): Promise<void> {
  await visit.page.evaluate(() => {
    const box = document.createElement("div");
    box.style.width = "500px";
    box.style.height = "1px";
    document.body.append(box);
  });
  assert.notDeepEqual(await tooWide(visit), []);
}

/** Returns what makes the page wider than the window: its width, and the first elements that stand out. */
async function tooWide({ page }: Visit): Promise<string[]> {
  return page.evaluate(() => {
    const { scrollWidth, clientWidth } = document.documentElement;
    if (scrollWidth <= clientWidth) return [];
    const wide = [...document.querySelectorAll("body *")].filter(
      (element) => element.getBoundingClientRect().right > clientWidth + 1,
    );
    const names = wide.map((element) => `${element.tagName.toLowerCase()}.${element.getAttribute("class") ?? ""}`);
    return [`${scrollWidth} px`, ...names.slice(0, 8)];
  });
}

async function fillsAWidePage(visit: Visit): Promise<void> {
  const { page } = visit;
  for (const width of [1440, 1920]) {
    await page.setViewportSize({ width, height: 900 });
    await visit.go("overview");
    await page.locator(".graph .node").first().waitFor();
    await page.waitForFunction(() => {
      const graph = document.querySelector(".graph");
      const drawn = graph?.querySelector("svg")?.getBoundingClientRect().width ?? 0;
      return graph !== null && drawn > 0.85 * graph.clientWidth;
    });
    const cut = await page.evaluate(() =>
      [...document.querySelectorAll(".graph .node, .graph .node .line")]
        .filter((box) => box.scrollWidth > box.clientWidth || box.scrollHeight > box.clientHeight + 1)
        .map((box) => box.textContent),
    );
    assert.deepEqual(cut, [], `the graph cuts text off at ${width} px`);
  }
}

async function hasUnits(visit: Visit): Promise<void> {
  for (const view of ["signals", "lag"]) {
    await visit.go(view);
    await settle(visit);
    await visit.page.locator(".chart h3").first().waitFor();
    const titles = await visit.page.locator(".chart h3").allTextContents();
    for (const title of titles) assert.match(title, /, (in records|in seconds|in percent|per second)$/);
  }
}

async function showsColumnsAsDeclared(visit: Visit): Promise<void> {
  await visit.go("tables");
  const heads = visit.page.getByRole("table", { name: "Rows" }).locator("thead th");
  await heads.first().waitFor();
  const shown = await heads.allTextContents();
  const { tables } = await visit.ask<Tables>("/tables");
  const declared = tables[0]?.columns.map(({ name }) => name);
  assert.deepEqual(
    shown.map((head) => head.replace(/ \(.*\)$/, "")),
    declared,
  );
  assert.match(shown[0] ?? "", / \(partition key\)$/);
}

/** The pipeline is shown as one that falls behind. */
async function showsCauses(visit: Visit): Promise<void> {
  const { page, task } = visit;
  await visit.go("overview");
  const view = await visit.view();
  const behind: PipelineView = {
    ...view,
    summary: { ...view.summary, state: "Degraded" },
    why: {
      state: "Degraded",
      sentence: "Records flow, but processors are behind.",
      bottlenecks: [{ node: null, severity: 0.7, trend: "Growing", message: "processors are behind" }],
      unknown: [],
    },
  };
  const path = `/api/v1/namespaces/${task.namespace}/pipelines/${task.pipeline}`;
  await page.route(
    (url) => url.pathname === path,
    (route) => route.fulfill({ json: behind }),
  );
  await page.route(
    (url) => url.pathname === `${path}/live`,
    (route) =>
      route.fulfill({ contentType: "text/event-stream", body: `event: view\ndata: ${JSON.stringify(behind)}\n\n` }),
  );
  await visit.go("overview");
  const cause = page.locator(".why li");
  await cause.getByText("getting worse").waitFor();
  assert.doesNotMatch((await cause.first().textContent()) ?? "", /\d/, "a bare number stands behind the cause");

  const link = page.locator('.views [aria-current="page"]');
  assert.match((await link.textContent()) ?? "", /^Overview\s/, "no space between the view's title and its badge");
  const gap = await link.evaluate((element) => {
    const title = document.createRange();
    title.selectNode(element.firstChild ?? element);
    const badge = element.querySelector(".badge");
    return (badge?.getBoundingClientRect().left ?? 0) - title.getBoundingClientRect().right;
  });
  assert.ok(gap >= 4, `${gap} px between the view's title and its badge`);
  await page.unrouteAll({ behavior: "ignoreErrors" });
}

async function offersTheCommandFirst(task: Task): Promise<void> {
  const visitor = await Visit.open(task, undefined);
  const first = visitor.page.locator(".login pre, .login textarea").first();
  await first.waitFor();
  assert.equal(await first.textContent(), "millrace console");
  await visitor.close();
}
