/**
 * JSON to read: a tree whose branches fold. Values are drawn as text; masked ones say so.
 */

import { type Child, h, type VNode } from "../dom";

export type Json = null | boolean | number | string | Json[] | { [name: string]: Json };

/** What the server puts in place of a value that the viewer may not see. */
export const MASK = "•••";

/** Returns a value as a tree, its first `depth` levels open. */
export function jsonTree(value: Json, depth = 2): VNode {
  return h("div", { class: "json" }, branch(value, depth));
}

function branch(value: Json, depth: number): Child {
  if (Array.isArray(value))
    return folded(
      value.map((item, index): [string, Json] => [String(index), item]),
      "[",
      "]",
      depth,
    );
  if (value !== null && typeof value === "object") return folded(Object.entries(value), "{", "}", depth);
  return leaf(value);
}

function folded(entries: [string, Json][], open: string, close: string, depth: number): Child {
  if (entries.length === 0) return `${open}${close}`;
  return h(
    "details",
    { open: depth > 0 },
    h("summary", null, open, h("span", { class: "soft" }, ` ${entries.length} `), close),
    h(
      "ul",
      null,
      entries.map(([name, item]) => h("li", null, h("span", { class: "name" }, name), ": ", branch(item, depth - 1))),
    ),
  );
}

function leaf(value: null | boolean | number | string): Child {
  if (value === MASK)
    return h("span", { class: "masked", title: "Masked: you lack the right to see this field" }, `${MASK} masked`);
  if (typeof value === "string") return h("span", { class: "text" }, JSON.stringify(value));
  return h("span", { class: "literal" }, String(value));
}

/** Returns the JSON of a text, or nothing if it is not JSON. */
export function parseJson(text: string): Json | undefined {
  try {
    return JSON.parse(text) as Json;
  } catch {
    return undefined;
  }
}

/** Returns a value on one line, cut to `length` characters. */
export function preview(text: string, length = 160): string {
  const line = text.replace(/\s+/g, " ");
  return line.length > length ? `${line.slice(0, length - 1)}…` : line;
}
