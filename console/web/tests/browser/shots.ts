/**
 * Screenshots of every view in both themes, for the docs: WebP, which Chromium writes by itself.
 */

import { mkdirSync, writeFileSync } from "node:fs";
import { settle } from "./accessibility";
import { places } from "./places";
import { type Task, Visit } from "./visit";

export async function shots(task: Task): Promise<void> {
  const folder = process.env.SHOTS ?? "../../docs/console";
  if (folder === "") {
    console.log("      none wanted");
    return;
  }
  mkdirSync(folder, { recursive: true });
  const width = Number(process.env.WIDTH ?? "1280");
  let size = 0;
  for (const scheme of ["light", "dark"] as const) {
    const visit = await Visit.open(task, task.token, scheme);
    await visit.page.setViewportSize({ width, height: 800 });
    for (const [name, path] of places(task)) {
      await visit.page.goto(task.url + path);
      await settle(visit);
      await visit.page.waitForTimeout(1500);
      const session = await visit.context.newCDPSession(visit.page);
      const { data } = await session.send("Page.captureScreenshot", { format: "webp", quality: 55 });
      const bytes = Buffer.from(data, "base64");
      size += bytes.length;
      writeFileSync(`${folder}/${name}-${scheme}.webp`, bytes);
      await session.detach();
    }
    await visit.close();
  }
  console.log(`      ${(size / 1000).toFixed(0)} kB in ${folder}`);
}
