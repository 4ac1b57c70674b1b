/**
 * The console is taken away while the page is open: the page says since when, keeps what it had, draws no zero in its place,
 * and is back by itself.
 */

import assert from "node:assert/strict";
import { type Task, until, Visit } from "./visit";

export async function away(task: Task): Promise<void> {
  const visit = await Visit.open(task, task.token);
  const { page, context } = visit;
  await visit.go("overview");
  await page.locator(".figures .value").first().waitFor();
  const before = await page.locator(".figures .figure").allTextContents();

  await page.route("**/api/**", (route) => route.abort());
  await context.setOffline(true);
  await page.locator(".banner.bad", { hasText: "Disconnected since" }).waitFor({ timeout: 60_000 });
  assert.deepEqual(
    await page.locator(".figures .figure").allTextContents(),
    before,
    "the figures changed while nobody answered",
  );

  await page.unroute("**/api/**");
  await context.setOffline(false);
  await until(
    "the page is back",
    async () => ((await page.locator(".banner.bad").count()) === 0 ? true : undefined),
    60_000,
  );
  await page.locator(".live", { hasText: "Live" }).waitFor();
  await visit.close();
}
