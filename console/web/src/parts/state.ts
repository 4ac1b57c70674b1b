/**
 * States that are drawn the same everywhere: badges, and the boxes that stand where there is nothing to show, saying why.
 */

import { type Child, h, type VNode } from "../dom";
import { clock, seconds, UNKNOWN } from "../format";
import type { Held } from "../net/poll";
import type { Problem } from "../net/problem";

export type Tone = "ok" | "warn" | "bad" | "unknown" | "paused" | "busy";

/** The sign beside the word, so that no colour tells something alone. */
const SIGNS: Record<Tone, string> = { ok: "✓", warn: "▲", bad: "✕", unknown: "?", paused: "‖", busy: "●" };

/** Returns a state in one word. */
export function badge(tone: Tone, text: string, title?: string): VNode {
  return h(
    "span",
    { class: `badge ${tone}`, title },
    h("span", { class: "sign", "aria-hidden": "true" }, SIGNS[tone]),
    text,
  );
}

/** Returns a value, or "unknown" in its own dress. */
export function known(text: string, title?: string): VNode {
  return text === UNKNOWN
    ? h("span", { class: "unknown", title: title ?? "Unknown: what measures this value did not answer." }, UNKNOWN)
    : h("span", { class: "number", title }, text);
}

export type NoticeKind = "empty" | "loading" | "forbidden" | "unknown" | "failed" | "paused" | "zero" | "missing";

const NOTICE_SIGNS: Record<NoticeKind, string> = {
  empty: "○",
  loading: "…",
  forbidden: "⊘",
  unknown: "?",
  failed: "✕",
  paused: "‖",
  zero: "∅",
  missing: "?",
};

/** Returns a box that says why there is nothing else here, and what can be done. */
export function notice(kind: NoticeKind, title: string, ...content: Child[]): VNode {
  const role = kind === "failed" ? "alert" : kind === "loading" ? "status" : undefined;
  return h(
    "div",
    { class: `notice ${kind}`, role },
    h("span", { class: "sign", "aria-hidden": "true" }, NOTICE_SIGNS[kind]),
    h("div", null, h("p", { class: "title" }, title), content.length > 0 && h("div", { class: "soft" }, ...content)),
  );
}

/** Returns the box of a problem. `what` is a noun: "The messages". */
export function problemNotice(problem: Problem, what: string, retry?: () => void): VNode {
  const again = retry === undefined ? null : h("p", null, h("button", { onClick: retry, type: "button" }, "Try again"));
  switch (problem.kind) {
    case "forbidden":
      return notice(
        "forbidden",
        `${what}: you have no right to see this`,
        h("p", null, problem.message),
        h(
          "p",
          null,
          "The console shows what your own Kubernetes account may see. Ask a cluster administrator for this right.",
        ),
      );
    case "missing":
      return notice("missing", `${what}: not found`, h("p", null, problem.message));
    case "away":
      return notice("unknown", `${what}: unknown for now`, h("p", null, problem.message), again);
    case "disconnected":
      return notice("unknown", `${what}: the console cannot be reached`, h("p", null, problem.message), again);
    case "limited":
      return notice("unknown", `${what}: too many requests`, h("p", null, problem.message), again);
    case "signedOut":
      return notice("forbidden", "Your session has ended", h("p", null, h("a", { href: "/login" }, "Sign in again")));
    case "refused":
      return notice("failed", `${what}: refused`, h("p", null, problem.message));
    case "bug":
      return notice("failed", `${what}: the console failed`, h("p", null, problem.message), again);
  }
}

/**
 * Returns what is held, drawn by `draw`; before there is a value, a box. An old value with a problem is drawn under a line
 * that says since when it is old.
 */
export function held<T>(state: Held<T>, what: string, draw: (value: T) => Child, retry?: () => void): Child {
  if (state.value === undefined) {
    if (state.problem !== undefined) return problemNotice(state.problem, what, retry);
    return notice("loading", `${what}: loading`);
  }
  return [stale(state, what), draw(state.value)];
}

/** Returns the line that says that a value is old, or nothing. */
export function stale<T>(state: Held<T>, what: string): Child {
  if (state.problem === undefined || state.at === undefined) return null;
  const now = Date.now();
  return h(
    "p",
    { class: "stale", role: "status", key: `stale-${what}` },
    h("span", { class: "sign", "aria-hidden": "true" }, "?"),
    `${what} as of ${clock(state.at, now)}, ${seconds(Math.round((now - state.at) / 1000))} ago; newer is unknown: ${state.problem.message}`,
  );
}
