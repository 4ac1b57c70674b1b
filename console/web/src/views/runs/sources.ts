/**
 * The sources of a pipeline with their schedules: when each is due, what was missed, and whether it is paused, loudly.
 */

import { type Child, h, type VNode } from "../../dom";
import { ago, exact, plural } from "../../format";
import type { Live } from "../../net/live";
import { badge } from "../../parts/state";
import { table } from "../../parts/table";
import type { Rights, ScheduleView, SourceView } from "../../types";
import { why } from "./detail";
import { runUrl } from "./trigger";

export interface SourceActions {
  rights: Rights | undefined;
  run(source: SourceView): void;
  backfill(source: SourceView): void;
  pause(source: SourceView, paused: boolean): void;
  working: boolean;
}

export function sourcesTable(live: Live, sources: readonly SourceView[], actions: SourceActions): VNode {
  return table<SourceView>({
    caption: "Sources",
    rows: sources,
    key: ({ name }) => name,
    tone: ({ schedule }) => (schedule?.paused === true ? "paused" : undefined),
    columns: [
      {
        head: "Source",
        class: "nowrap",
        cell: ({ name, kind, topic }) => [h("strong", null, name), h("div", { class: "soft" }, `${kind} → ${topic}`)],
      },
      { head: "When", class: "wide", cell: (source) => when(live, source) },
      { head: "", class: "nowrap", cell: (source) => buttons(source, actions) },
    ],
  });
}

function when(live: Live, { schedule }: SourceView): Child {
  if (schedule === null || schedule === undefined) return h("span", { class: "soft" }, "Fetched continuously.");
  const now = Date.now();
  const { cron, timeZone, paused, next, last, lastRun, message } = schedule;
  return [
    paused && [badge("paused", "Paused"), " "],
    cron
      ? [h("code", null, cron), h("span", { class: "soft" }, ` ${timeZone}`)]
      : h("span", { class: "soft" }, "Only on demand."),
    cron &&
      !paused &&
      h(
        "div",
        null,
        next ? ["Next ", h("span", { title: exact(next) }, ago(next, now))] : "Next unknown",
        last
          ? [
              ", last ",
              h("span", { title: exact(last) }, ago(last, now)),
              lastRun ? [" (", h("a", { href: runUrl(live, lastRun) }, lastRun), ")"] : null,
            ]
          : null,
      ),
    missed(schedule, now),
    message ? h("div", { class: "soft" }, message) : null,
  ];
}

function missed({ missed: number, lastMissed, lastMissedReason }: ScheduleView, now: number): Child {
  if (typeof number !== "number" || number === 0) return null;
  return h(
    "div",
    null,
    badge("warn", `${plural(number, "due time")} missed`),
    lastMissed ? ` the last ${ago(lastMissed, now)}${lastMissedReason ? `, ${lastMissedReason}` : ""}` : null,
  );
}

function buttons(source: SourceView, { rights, run, backfill, pause, working }: SourceActions): Child {
  const { runnable, notRunnable, schedule } = source;
  const title = runnable ? why(rights?.trigger, "create ingestionruns") : (notRunnable ?? "This source cannot be run");
  const off = !runnable || rights?.trigger !== true;
  return h(
    "div",
    { class: "row tight" },
    h(
      "button",
      {
        type: "button",
        class: "primary",
        disabled: off,
        title,
        "aria-label": `Run ${source.name}`,
        onClick: () => run(source),
      },
      "Run …",
    ),
    h(
      "button",
      {
        type: "button",
        disabled: off,
        title,
        "aria-label": `Backfill ${source.name}`,
        onClick: () => backfill(source),
      },
      "Backfill …",
    ),
    schedule?.cron &&
      h(
        "button",
        {
          type: "button",
          disabled: working || rights?.pause !== true,
          title: why(rights?.pause, "patch streamingpipelines"),
          "aria-label": `${schedule.paused ? "Resume" : "Pause"} ${source.name}`,
          onClick: () => pause(source, !schedule.paused),
        },
        schedule.paused ? "▶ Resume" : "‖ Pause",
      ),
  );
}
