/**
 * Runs over time: a line for each source, a cell for each run, the newest right, as high as the run was long.
 */

import { type Child, h, type VNode } from "../../dom";
import { clock, count, plural, seconds } from "../../format";
import { phaseTone } from "../../parts/words";
import type { Run } from "../../types";

const MOST_CELLS = 120;
const HEIGHT = 34;

/** Returns how long a run took or takes so far, in seconds; nothing if it has not begun. */
export function runSeconds({ started, ended }: Run, now: number): number | undefined {
  if (started === null || started === undefined) return undefined;
  const end = ended === null || ended === undefined ? now : Date.parse(ended);
  return Math.max(0, (end - Date.parse(started)) / 1000);
}

/** Returns the height of a cell: by the logarithm of the run's length, so that seconds and hours both show. Pure. */
export function cellHeight(length: number | undefined, longest: number): number {
  if (length === undefined || longest <= 0) return 8;
  return Math.round(8 + (HEIGHT - 8) * (Math.log1p(length) / Math.log1p(longest)));
}

const SIGNS: Record<string, string> = { ok: "", bad: "✕", busy: "●", paused: "‖", unknown: "?" };

/** Returns the grid of runs. `runs` are newest first. */
export function runGrid(
  runs: readonly Run[],
  sources: readonly string[],
  selected: string,
  href: (run: Run) => string,
): Child {
  const now = Date.now();
  const names = [...new Set([...sources, ...runs.map(({ source }) => source)])].filter((name) =>
    runs.some(({ source }) => source === name),
  );
  return h(
    "div",
    { class: "run-grid" },
    names.map((name) =>
      line(name, runs.filter(({ source }) => source === name).slice(0, MOST_CELLS), selected, href, now),
    ),
  );
}

function line(name: string, runs: readonly Run[], selected: string, href: (run: Run) => string, now: number): VNode {
  const longest = Math.max(...runs.map((run) => runSeconds(run, now) ?? 0));
  return h(
    "div",
    { class: "run-line", key: name },
    h("div", null, h("strong", null, name), h("div", { class: "soft" }, plural(runs.length, "run"))),
    h(
      "div",
      { class: "cells" },
      runs.map((run) => cell(run, longest, selected, href, now)),
    ),
  );
}

function cell(run: Run, longest: number, selected: string, href: (run: Run) => string, now: number): VNode {
  const tone = phaseTone(run.phase);
  const length = runSeconds(run, now);
  const high = cellHeight(length, longest);
  const words = `${run.name}: ${run.phase ?? "unknown"}, ${clock(run.scheduled ?? run.created, now)}, ${seconds(length)}, ${count(run.recordsProduced)} records`;
  return h(
    "a",
    {
      key: run.name,
      class: `run-cell ${tone}`,
      href: href(run),
      title: words,
      "aria-label": words,
      "aria-current": run.name === selected ? "true" : undefined,
    },
    h(
      "svg",
      { width: 14, height: high, viewBox: `0 0 14 ${high}`, "aria-hidden": "true" },
      h("rect", { x: 1, y: 0, width: 12, height: high, rx: 2 }),
      SIGNS[tone] !== "" && h("text", { x: 7, y: high - 2.5, "text-anchor": "middle" }, SIGNS[tone]),
    ),
  );
}
