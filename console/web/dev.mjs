// The page as src/ has it right now, in front of a console that runs elsewhere: the page is built at each load, and all
// else is passed on. A change is seen by reloading.
//
//   node dev.mjs [CONSOLE [PORT]]     by itself http://localhost:8080 and 5173
//
// For example, with `kubectl port-forward -n millrace-system service/millrace-console 8080:80` in another terminal.

import { readFileSync } from "node:fs";
import { createServer, request } from "node:http";
import { context } from "esbuild";

const target = new URL(process.argv[2] ?? "http://localhost:8080");
const port = Number(process.argv[3] ?? 5173);

const shared = { bundle: true, write: false, sourcemap: "inline", logLevel: "warning" };
const parts = {
  "/dev/app.js": await context({ ...shared, entryPoints: ["src/main.ts"], format: "iife" }),
  "/dev/theme.js": await context({ ...shared, entryPoints: ["src/theme.ts"], format: "iife" }),
  "/dev/app.css": await context({ ...shared, entryPoints: ["src/style/main.css"] }),
};
const marks = {
  "{{script}}": "/dev/app.js",
  "{{theme}}": "/dev/theme.js",
  "{{style}}": "/dev/app.css",
  "{{icon}}": "/dev/icon.svg",
};
const types = { js: "text/javascript", css: "text/css", svg: "image/svg+xml" };

createServer(async (asked, answer) => {
  const path = new URL(asked.url, target).pathname;
  if (parts[path] || path === "/dev/icon.svg") {
    answer.setHeader("content-type", types[path.split(".").pop()]);
    try {
      answer.end(parts[path] ? (await parts[path].rebuild()).outputFiles[0].contents : readFileSync("src/icon.svg"));
    } catch (error) {
      // esbuild has said on the terminal what is wrong.
      answer.writeHead(500).end(String(error));
    }
  } else if (asked.method === "GET" && asked.headers.accept?.includes("text/html")) {
    const index = Object.entries(marks).reduce(
      (page, [mark, name]) => page.replaceAll(mark, name),
      readFileSync("src/index.html", "utf8"),
    );
    answer.setHeader("content-type", "text/html");
    answer.end(index);
  } else {
    passOn(asked, answer);
  }
}).listen(port, "127.0.0.1", () => console.log(`the page: http://localhost:${port}, in front of ${target.origin}`));

/** Asks the console, as if the page were its own: it takes changes from its own page only. */
function passOn(asked, answer) {
  const headers = { ...asked.headers, host: target.host };
  if (headers.origin) headers.origin = target.origin;
  if (headers.referer) headers.referer = target.href;
  const { hostname, port: at } = target;
  const passed = request({ hostname, port: at || 80, path: asked.url, method: asked.method, headers }, (answered) => {
    answer.writeHead(answered.statusCode, answered.headers);
    answered.pipe(answer);
  });
  passed.on("error", (error) => answer.writeHead(502).end(`no console at ${target.origin}: ${error.message}`));
  answer.on("close", () => passed.destroy());
  asked.pipe(passed);
}
