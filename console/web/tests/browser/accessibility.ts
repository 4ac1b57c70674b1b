/**
 * axe looks at every view, in both themes, and finds no serious fault. That it finds faults at all is checked first.
 */

import assert from "node:assert/strict";
import axe from "axe-core";
import { places, sparePlaces } from "./places";
import { type Task, Visit } from "./visit";

interface Fault {
  id: string;
  impact: string;
  nodes: string[];
}

export async function accessibility(task: Task): Promise<void> {
  for (const scheme of ["light", "dark"] as const) {
    const visit = await Visit.open(task, task.token, scheme);
    if (scheme === "light") await findsAFault(visit);
    for (const [name, path] of [...places(task), ...sparePlaces(task)]) {
      await visit.page.goto(task.url + path);
      await settle(visit);
      assert.deepEqual(await faults(visit), [], `${name}, ${scheme}`);
    }
    await dialogs(visit, scheme);
    await visit.close();
  }
  const visitor = await Visit.open(task, undefined);
  await visitor.page.getByRole("heading", { name: "Sign in" }).waitFor();
  assert.deepEqual(await faults(visitor), [], "sign-in");
  await visitor.close();
}

/** Waits until nothing is loading any more. */
export async function settle({ page }: Visit): Promise<void> {
  await page.locator("main > *").first().waitFor();
  await page.waitForFunction(
    () =>
      ![...document.querySelectorAll(".notice.loading .title")].some((title) =>
        title.textContent?.endsWith(": loading"),
      ),
    undefined,
    { timeout: 30_000 },
  );
  await page.waitForTimeout(300);
}

async function dialogs(visit: Visit, scheme: string): Promise<void> {
  const { page } = visit;
  await visit.go("runs");
  await settle(visit);
  for (const action of ["Run", "Backfill"]) {
    const button = page.getByRole("button", { name: new RegExp(`^${action} \\S+$`), disabled: false }).first();
    await button.click();
    await page.getByRole("dialog").waitFor();
    assert.deepEqual(await faults(visit), [], `the dialog ${action}, ${scheme}`);
    await page.keyboard.press("Escape");
    await page.getByRole("dialog").waitFor({ state: "detached" });
    const isBack = await button.evaluate((element) => element === document.activeElement);
    assert.ok(isBack, `the focus is not back on the button that opened the dialog ${action}, ${scheme}`);
  }
}

/** The control: an image without a text, and text that cannot be told from its ground. */
async function findsAFault(visit: Visit): Promise<void> {
  await visit.page.evaluate(() => {
    const image = document.createElement("img");
    image.src = "/favicon.ico";
    const pale = document.createElement("p");
    pale.textContent = "hardly to be read";
    pale.style.color = "#ddd";
    pale.style.background = "#fff";
    // Outside of what the page redraws.
    document.body.append(image, pale);
  });
  const found = (await faults(visit)).map(({ id }) => id).sort();
  assert.deepEqual(found, ["color-contrast", "image-alt"]);
}

async function faults({ page }: Visit): Promise<Fault[]> {
  await page.evaluate(axe.source);
  return page.evaluate(async () => {
    const results = await (window as unknown as { axe: typeof axe }).axe.run(document, { resultTypes: ["violations"] });
    return results.violations
      .filter(({ impact }) => impact === "serious" || impact === "critical")
      .map(({ id, impact, nodes }) => ({
        id,
        impact: String(impact),
        nodes: nodes.slice(0, 3).map((node) => `${node.target.join(" ")}: ${node.failureSummary ?? ""}`),
      }));
  });
}
