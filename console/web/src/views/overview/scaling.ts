/**
 * How the number of processors follows the load: what it is, why, and the last changes.
 */

import { h, type VNode } from "../../dom";
import { ago, exact, plural } from "../../format";
import type { Held } from "../../net/poll";
import { badge, notice, problemNotice, stale } from "../../parts/state";
import { table } from "../../parts/table";
import type { ApiEvent, Events, ScalingView } from "../../types";

/** Most changes that are shown. */
const MOST = 10;

/** Reasons of the events about the number of processors. */
const REASONS = new Set([
  "ScaledUp",
  "ScaledDown",
  "ScaledToLimit",
  "ScalingRecommended",
  "AtMaxReplicas",
  "AtPartitionCount",
  "HotPartition",
  "Ineffective",
  "SinkBackpressure",
]);

/** A change of the number, or a reason why it did not change. */
export interface Change {
  time: string | null;
  reason: string;
  message: string;
  warns: boolean;
}

/** Returns the last changes, newest first: Kubernetes keeps events for an hour, the status keeps the last change. Pure. */
export function changes({ last }: Pick<ScalingView, "last">, events: readonly ApiEvent[]): Change[] {
  const told = events
    .filter(({ object, reason }) => object.startsWith("StreamingPipeline/") && REASONS.has(reason))
    .map(({ time, reason, message, type }) => ({ time, reason, message, warns: type === "Warning" }))
    .slice(0, MOST);
  if (last === null || told.some(({ message }) => message === last.message)) return told;
  const reason = last.to > last.from ? "ScaledUp" : "ScaledDown";
  return [...told, { time: last.time, reason, message: last.message, warns: false }];
}

/** Returns what stands where no change is known. */
function nothing({ value, problem }: Held<Events>): VNode {
  if (value !== undefined) {
    return notice("empty", "There was no change", h("p", null, "Kubernetes keeps events for an hour."));
  }
  return problem === undefined ? notice("loading", "The changes: loading") : problemNotice(problem, "The changes");
}

/** Returns the panel. */
export function scalingPanel(scaling: ScalingView, events: Held<Events>): VNode {
  const { automatic, current, recommended, min, max, message, reason, since } = scaling;
  const now = Date.now();
  const rows = changes(scaling, events.value?.events ?? []);
  return h(
    "section",
    { class: "panel", key: "scaling" },
    h("h2", null, "Scaling of the processors"),
    h(
      "p",
      null,
      h("strong", null, plural(current, "processor")),
      recommended !== current && [" ", badge("busy", `${recommended} recommended`)],
      h("span", { class: "soft" }, automatic ? `, set from ${min} to ${max}` : ", recommended only"),
    ),
    h("p", null, message),
    h("p", { class: "soft", title: exact(since) }, `${reason}, ${ago(since, now)}`),
    stale(events, "The changes"),
    rows.length === 0
      ? nothing(events)
      : table<Change>({
          caption: "Last changes of the number of processors",
          rows,
          key: ({ time, reason: why, message: sentence }) => `${time ?? ""} ${why} ${sentence}`,
          columns: [
            {
              head: "When",
              class: "nowrap",
              cell: ({ time }) => h("span", { title: exact(time) }, ago(time, now)),
            },
            {
              head: "What",
              class: "wide",
              cell: ({ reason: why, message: sentence, warns }) => [
                badge(warns ? "warn" : "ok", why),
                h("div", null, sentence),
              ],
            },
          ],
        }),
  );
}
