/**
 * The browser test: its parts in order, each told when it has passed. The first that fails ends it, with a picture of what
 * was shown.
 */

import { chromium } from "playwright-core";
import { accessibility } from "./accessibility";
import { away } from "./away";
import { look } from "./look";
import { newcomer } from "./newcomer";
import { reader } from "./reader";
import { shots } from "./shots";
import { type Task, Visit } from "./visit";

const PARTS: Record<string, (task: Task) => Promise<void>> = { newcomer, accessibility, look, away, reader, shots };

const [url, token, namespace, pipeline, ...params] = process.argv.slice(2);
if (url === undefined || token === undefined || namespace === undefined || pipeline === undefined) {
  throw new Error("URL, TOKEN, NAMESPACE and PIPELINE are needed");
}

const executablePath = process.env.CHROMIUM ?? "/usr/bin/chromium";
const browser = await chromium.launch({ executablePath, args: ["--no-sandbox", "--disable-dev-shm-usage"] });
const task: Task = {
  browser,
  url: url.replace(/\/$/, ""),
  token,
  namespace,
  pipeline,
  params: Object.fromEntries(
    params.map((param) => [param.slice(0, param.indexOf("=")), param.slice(param.indexOf("=") + 1)]),
  ),
  state: {},
};

let failed = false;
for (const [name, part] of Object.entries(PARTS)) {
  if (process.env.ONLY !== undefined && process.env.ONLY !== name) continue;
  const began = Date.now();
  try {
    await part(task);
    console.log(`ok    ${name} (${((Date.now() - began) / 1000).toFixed(1)} s)`);
  } catch (cause) {
    failed = true;
    console.log(`FAILED ${name}: ${cause instanceof Error ? (cause.stack ?? cause.message) : String(cause)}`);
    await Visit.last?.page.screenshot({ path: "build/failed.png" }).then(
      () => console.log("what was shown: console/web/build/failed.png"),
      () => undefined,
    );
    break;
  }
}
await browser.close();
process.exitCode = failed ? 1 : 0;
