/**
 * Small drawings inside text: a line of recent values with gaps where they are unknown, and bars of shares.
 */

import { h, type VNode } from "../dom";
import { share, UNKNOWN } from "../format";

const WIDTH = 96;
const HEIGHT = 22;

/** Returns the path of a line from 0 to the largest value; unknown values break it. Pure. */
export function sparkPath(values: readonly (number | null | undefined)[], width = WIDTH, height = HEIGHT): string {
  const known = values.filter((value): value is number => typeof value === "number");
  const top = Math.max(...known, 1e-9);
  const step = values.length > 1 ? width / (values.length - 1) : 0;
  let path = "";
  let pen = false;
  for (const [index, value] of values.entries()) {
    if (typeof value !== "number") {
      pen = false;
      continue;
    }
    const x = (index * step).toFixed(1);
    const y = (height - 2 - (value / top) * (height - 4)).toFixed(1);
    const alone = !pen && typeof values[index + 1] !== "number";
    path += `${pen ? "L" : "M"}${x} ${y}${alone ? "h0.1" : ""}`;
    pen = true;
  }
  return path;
}

/** Returns recent values as a small line. */
export function spark(values: readonly (number | null | undefined)[], label: string): VNode {
  const path = sparkPath(values);
  if (path === "") return h("span", { class: "unknown" }, UNKNOWN);
  return h(
    "svg",
    {
      class: "spark",
      width: WIDTH,
      height: HEIGHT,
      viewBox: `0 0 ${WIDTH} ${HEIGHT}`,
      role: "img",
      "aria-label": label,
    },
    h("path", { d: path }),
  );
}

/** Returns how a stage spends its time, as a bar of three parts. */
export function shares(
  busy: number | null | undefined,
  idle: number | null | undefined,
  held: number | null | undefined,
): VNode {
  if (typeof busy !== "number" || typeof idle !== "number" || typeof held !== "number") {
    return h("span", { class: "unknown" }, UNKNOWN);
  }
  const label = `busy ${share(busy)}, idle ${share(idle)}, back-pressured ${share(held)}`;
  const total = Math.max(busy + idle + held, 1e-9);
  const width = 120;
  const parts: [string, number][] = [
    ["busy", busy],
    ["held", held],
    ["idle", idle],
  ];
  let x = 0;
  return h(
    "span",
    { class: "shares" },
    h(
      "svg",
      { width, height: 10, viewBox: `0 0 ${width} 10`, role: "img", "aria-label": label },
      parts.map(([name, part]) => {
        const length = (part / total) * width;
        const rect = h("rect", { class: name, x: x.toFixed(1), y: 0, width: length.toFixed(1), height: 10 });
        x += length;
        return rect;
      }),
    ),
    h("span", { class: "soft number", "aria-hidden": "true" }, `${share(busy)} busy · ${share(held)} held`),
  );
}
