/**
 * The API's states in words and dress: pipelines, components, runs, conditions. Pure.
 */

import type { VNode } from "../dom";
import type { ComponentSummary, Condition, Run, State, Trend } from "../types";
import { badge, type Tone } from "./state";

const STATES: Record<State, [Tone, string]> = {
  Ok: ["ok", "OK"],
  Waiting: ["busy", "Waiting"],
  Degraded: ["warn", "Degraded"],
  Failed: ["bad", "Failed"],
  Paused: ["paused", "Paused"],
  Empty: ["unknown", "No replicas"],
  Unknown: ["unknown", "Unknown"],
};

export function stateBadge(state: State, title?: string): VNode {
  const [tone, word] = STATES[state];
  return badge(tone, word, title);
}

const TRENDS: Record<Trend, [Tone, string]> = {
  Growing: ["bad", "getting worse"],
  Steady: ["warn", "not getting better"],
  Shrinking: ["ok", "getting better"],
};

/** Returns which way a lag goes. */
export function trendBadge(trend: Trend): VNode {
  const [tone, word] = TRENDS[trend];
  return badge(tone, word);
}

export function phaseTone(phase: string | null | undefined): Tone {
  switch (phase) {
    case "Succeeded":
      return "ok";
    case "Failed":
      return "bad";
    case "Running":
      return "busy";
    case "Pending":
      return "unknown";
    case "Cancelled":
      return "paused";
    default:
      return "unknown";
  }
}

/** Returns a run's phase, or that it is being cancelled. */
export function runBadge(run: Run): VNode {
  const ends = run.cancelling && (run.phase === "Running" || run.phase === "Pending");
  return badge(
    ends ? "paused" : phaseTone(run.phase),
    ends ? "Cancelling" : (run.phase ?? "Unknown"),
    run.message ?? undefined,
  );
}

/** Returns whether nothing will happen to a run any more. */
export function isFinal(run: Run): boolean {
  return run.phase === "Succeeded" || run.phase === "Failed" || run.phase === "Cancelled";
}

export function conditionTone(condition: Condition): Tone {
  if (condition.status === "Unknown") return "unknown";
  // Of these two the good state is False.
  const good =
    condition.type === "Reconciling" || condition.type === "Stalled" || condition.type === "Suspended"
      ? "False"
      : "True";
  if (condition.status === good) return "ok";
  return condition.type === "Reconciling" ? "busy" : condition.type === "Suspended" ? "paused" : "bad";
}

/** Returns `3/3`, with "unknown" or "none wanted" where that is so. */
export function readyText({ ready, desired }: Pick<ComponentSummary, "ready" | "desired">): string {
  if (typeof desired !== "number") return typeof ready === "number" ? `${ready} of unknown` : "unknown";
  if (desired === 0) return "none wanted";
  return `${typeof ready === "number" ? ready : "?"}/${desired}`;
}
