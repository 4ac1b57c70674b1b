// Builds the page: src/ → dist/, which is committed and embedded by the server. With `--tests`: tests/ → build/.
// The same sources give the same bytes, so that CI can compare.

import { createHash } from "node:crypto";
import { mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { gzipSync } from "node:zlib";
import { build } from "esbuild";

const target = ["es2022", "chrome110", "firefox115", "safari16.4"];

if (process.argv.includes("--tests")) {
  rmSync("build/tests", { recursive: true, force: true });
  const entryPoints = readdirSync("tests")
    .filter((name) => name.endsWith(".test.ts"))
    .map((name) => `tests/${name}`);
  const node = { bundle: true, platform: "node", format: "esm", outExtension: { ".js": ".mjs" } };
  await build({ ...node, entryPoints, outdir: "build/tests" });
  await build({ ...node, entryPoints: ["tests/browser/main.ts"], outdir: "build/browser", packages: "external" });
} else {
  await page();
}

async function page() {
  rmSync("dist", { recursive: true, force: true });
  mkdirSync("dist/assets", { recursive: true });
  const script = await bundle("src/main.ts");
  const style = await bundle("src/style/main.css");
  const theme = await bundle("src/theme.ts");
  const icon = readFileSync("src/icon.svg");

  const names = {
    "{{script}}": write("app", "js", script),
    "{{style}}": write("app", "css", style),
    "{{theme}}": write("theme", "js", theme),
    "{{icon}}": write("icon", "svg", icon),
  };
  let index = readFileSync("src/index.html", "utf8");
  for (const [mark, name] of Object.entries(names)) index = index.replaceAll(mark, name);
  writeFileSync("dist/index.html", index);
  writeFileSync("dist/assets/licences.txt", licences(["uplot", "@dagrejs/dagre"]));

  const sizes = [
    ["app.js", script],
    ["app.css", style],
    ["theme.js", theme],
    ["index.html", Buffer.from(index)],
  ];
  for (const [name, bytes] of sizes) {
    console.log(
      `${name.padEnd(12)} ${kilobytes(bytes.length)} kB, ${kilobytes(gzipSync(bytes, { level: 9 }).length)} kB gzip`,
    );
  }
}

async function bundle(entry) {
  const format = entry.endsWith(".ts") ? { format: "iife" } : {};
  const result = await build({
    entryPoints: [entry],
    bundle: true,
    minify: true,
    write: false,
    target,
    legalComments: "none",
    logLevel: "warning",
    ...format,
  });
  return Buffer.from(result.outputFiles[0].contents);
}

/** Writes an asset under a name that changes with its content, so that it may be cached for ever. */
function write(name, extension, bytes) {
  const hash = createHash("sha256").update(bytes).digest("hex").slice(0, 10);
  const path = `assets/${name}-${hash}.${extension}`;
  writeFileSync(`dist/${path}`, bytes);
  return `/${path}`;
}

/** The licences of what is bundled want to go with it. */
function licences(names) {
  return names.map((name) => `${name}\n\n${readFileSync(`node_modules/${name}/LICENSE`, "utf8").trim()}\n`).join("\n");
}

function kilobytes(bytes) {
  return (bytes / 1000).toFixed(1);
}
