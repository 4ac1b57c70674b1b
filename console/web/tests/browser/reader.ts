/**
 * Somebody who may only read sees the pipeline, and every button that changes something is off and says which right it needs.
 */

import assert from "node:assert/strict";
import { type Task, Visit } from "./visit";

export async function reader(task: Task): Promise<void> {
  const token = process.env.READER_TOKEN;
  if (token === undefined || token === "") {
    console.log("      no READER_TOKEN: not looked at");
    return;
  }
  const visit = await Visit.open(task, token);
  await visit.go("runs");
  const { sources, rights } = await visit.view();
  assert.equal(rights.trigger, false, "the reader may trigger runs");
  for (const { name } of sources) {
    const button = visit.page.getByRole("button", { name: `Run ${name}`, exact: true });
    await button.waitFor();
    assert.ok(await button.isDisabled(), `the reader's button of ${name} is on`);
  }
  const told = await visit.page.locator("button[disabled][title*='You lack the right']").count();
  assert.ok(told > 0, "no button says which right it needs");
  await visit.close();

  // The control: for the other one, a button is on.
  const writer = await Visit.open(task, task.token);
  await writer.go("runs");
  await writer.page.locator("button.primary:enabled", { hasText: "Run" }).first().waitFor();
  await writer.close();
}
