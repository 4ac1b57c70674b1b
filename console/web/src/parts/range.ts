/**
 * The range of time that charts show, kept in the address: its length, and for an address that is sent to somebody, its end.
 */

import type { Page } from "../app";
import { h, type VNode } from "../dom";
import { clock } from "../format";
import { bounds, type Range, rangeOf, RANGES } from "../net/history";

/** Returns the choice of range. */
export function rangePicker(page: Page): VNode {
  const range = rangeOf(page.route.query);
  const now = Date.now();
  const [, end] = bounds(range, now);
  return h(
    "div",
    { class: "row", role: "group", "aria-label": "Range of time" },
    RANGES.map(([length, name]) =>
      h(
        "button",
        {
          type: "button",
          "aria-pressed": String(length === range.seconds),
          onClick: () => page.setQuery({ range: String(length) }, true),
        },
        name,
      ),
    ),
    range.until === undefined
      ? h(
          "button",
          {
            type: "button",
            title: "Hold this moment, so that the address shows it to anyone who opens it",
            onClick: () => page.setQuery({ until: String(end) }),
          },
          "‖ Hold",
        )
      : h(
          "button",
          { type: "button", class: "primary", onClick: () => page.setQuery({ until: "" }) },
          `▶ Held at ${clock(range.until * 1000, now)}`,
        ),
  );
}

/** Returns the range of a page and its bounds, in seconds since the epoch. */
export function pageRange(page: Page): { range: Range; from: number; to: number } {
  const range = rangeOf(page.route.query);
  const [from, to] = bounds(range, Date.now());
  return { range, from, to };
}
