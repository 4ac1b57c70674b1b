/**
 * One run in full: its state and cause, attempts, what it wrote and where, and what can be done with it.
 */

import { type Child, h, type VNode } from "../../dom";
import { ago, bytes, clock, count, exact, seconds, secondsSince, userName } from "../../format";
import type { Live } from "../../net/live";
import { command } from "../../parts/command";
import { badge, known } from "../../parts/state";
import { facts, table } from "../../parts/table";
import { isFinal, runBadge } from "../../parts/words";
import { viewUrl } from "../../router";
import type { Attempt, Rights, Run, TopicRange } from "../../types";
import { runSeconds } from "./grid";

export interface RunActions {
  rights: Rights | undefined;
  cancel(run: Run): void;
  rerun(run: Run): void;
  /** Opens the form with this run's params. */
  edit(run: Run): void;
  close(): void;
  /** Whether an action is under way. */
  working: boolean;
}

export function runDetail(live: Live, run: Run, actions: RunActions): VNode {
  const now = Date.now();
  return h(
    "aside",
    { class: "panel side stack", "aria-label": `Run ${run.name}`, key: "run-detail" },
    h(
      "div",
      { class: "panel-head" },
      h("h2", null, run.name),
      runBadge(run),
      h(
        "div",
        { class: "end" },
        h("button", { type: "button", class: "quiet", "aria-label": "Close the run", onClick: actions.close }, "✕"),
      ),
    ),
    (run.message ?? "") !== "" &&
      h(
        "p",
        {
          role: run.phase === "Failed" ? "alert" : undefined,
          class: run.phase === "Failed" ? "field-problem" : undefined,
        },
        run.message,
      ),
    h("div", { class: "row" }, buttons(live, run, actions)),
    facts([
      ["Source", run.source],
      ["Requested by", known(userName(run.requestedBy), run.requestedBy ?? undefined)],
      run.scheduled
        ? ["Due", h("span", { title: exact(run.scheduled) }, clock(run.scheduled, now))]
        : ["Created", h("span", { title: exact(run.created) }, ago(run.created, now))],
      ["Took", took(run, now)],
      [
        "Records",
        [
          known(count(run.recordsProduced)),
          " in Kafka, ",
          known(count(run.recordsRead)),
          " read, ",
          known(count(run.recordsRejected)),
          " rejected",
        ],
      ],
      ["Bytes", known(bytes(run.bytes))],
      ["Limits", limits(run)],
      ["Trace", run.traceId ? h("code", null, run.traceId) : h("span", { class: "soft" }, "none yet")],
      ...Object.entries(run.params).map(([name, value]): [string, Child] => [`params.${name}`, h("code", null, value)]),
      ...(run.nextAttempt ? [["Next attempt", `${ago(run.nextAttempt, now)}`] satisfies [string, Child]] : []),
      ...(run.backfill ? [["Backfill", run.backfill] satisfies [string, Child]] : []),
    ]),
    attempts(live, run, now),
    ranges(live, run),
    command(run.kubectl),
    !isFinal(run) &&
      command(
        `kubectl patch irun ${run.name} --namespace ${live.namespace} --type merge --patch '{"spec":{"cancel":true}}'`,
        "To cancel it",
      ),
  );
}

function buttons({ namespace, name }: Live, run: Run, { rights, cancel, rerun, edit, working }: RunActions): Child {
  const { topic } = run;
  return [
    topic
      ? h("a", { class: "button", href: viewUrl(namespace, name, "messages", { topic, run: run.name }) }, "Its records")
      : null,
    h("a", { class: "button", href: viewUrl(namespace, name, "logs", { run: run.name }) }, "Its logs"),
    isFinal(run) &&
      h(
        "button",
        {
          type: "button",
          disabled: working || rights?.trigger !== true,
          title: why(rights?.trigger, "create ingestionruns"),
          onClick: () => rerun(run),
        },
        "Run again",
      ),
    isFinal(run) &&
      h(
        "button",
        {
          type: "button",
          disabled: rights?.trigger !== true,
          title: why(rights?.trigger, "create ingestionruns"),
          onClick: () => edit(run),
        },
        "Again with changes",
      ),
    !isFinal(run) &&
      h(
        "button",
        {
          type: "button",
          class: "danger",
          disabled: working || run.cancelling || rights?.cancel !== true,
          title: why(rights?.cancel, "patch ingestionruns"),
          onClick: () => cancel(run),
        },
        "Cancel",
      ),
  ];
}

/** Returns why a button is off, or nothing. */
export function why(right: boolean | null | undefined, needed: string): string | undefined {
  if (right === true) return undefined;
  return right === false ? `You lack the right: ${needed}` : `Your rights are unknown for now (needs: ${needed})`;
}

function took(run: Run, now: number): Child {
  const length = runSeconds(run, now);
  if (length === undefined) return h("span", { class: "soft" }, "not started");
  return isFinal(run) ? seconds(length) : [seconds(Math.round(length)), " so far"];
}

function limits({ maxRecords, duration }: Run): string {
  const parts = [
    typeof maxRecords === "number" ? `at most ${count(maxRecords)} records` : "",
    duration ? `for ${duration}` : "",
  ].filter((part) => part !== "");
  return parts.length === 0 ? "none" : parts.join(", ");
}

function attempts({ namespace, name }: Live, run: Run, now: number): Child {
  if (run.attempts.length === 0) return h("p", { class: "soft" }, "No attempt has started.");
  return h(
    "section",
    null,
    h("h3", null, "Attempts"),
    table<Attempt>({
      caption: "Attempts",
      rows: run.attempts,
      key: ({ number }) => String(number),
      columns: [
        {
          head: "",
          class: "nowrap",
          cell: ({ number, ended, error }) =>
            badge(
              error ? "bad" : ended ? "ok" : "busy",
              String(number),
              error ? "failed" : ended ? "succeeded" : "running",
            ),
        },
        {
          head: "Started",
          class: "nowrap",
          cell: ({ started }) => h("span", { title: exact(started) }, clock(started, now)),
        },
        {
          head: "Took",
          class: "nowrap",
          cell: ({ started, ended }) => seconds(secondsSince(started, ended ? Date.parse(ended) : now)),
        },
        { head: "Produced", numeric: true, cell: ({ recordsProduced }) => known(count(recordsProduced)) },
        {
          head: "Error or logs",
          class: "wide",
          cell: ({ error, pod }) => [
            error && h("div", { class: "field-problem" }, error),
            pod && h("a", { href: viewUrl(namespace, name, "logs", { pod }) }, "logs"),
          ],
        },
      ],
    }),
  );
}

function ranges({ namespace, name }: Live, { topic, topicRanges, topicRangesIncomplete, name: run }: Run): Child {
  if (topicRanges.length === 0) return null;
  return h(
    "section",
    null,
    h("h3", null, `Its records in ${topic ?? "the topic"}`),
    table<TopicRange>({
      caption: "Ranges of offsets",
      rows: topicRanges,
      key: ({ partition }) => String(partition),
      columns: [
        {
          head: "Partition",
          numeric: true,
          cell: ({ partition, firstOffset }) =>
            h(
              "a",
              {
                href: viewUrl(namespace, name, "messages", {
                  topic: topic ?? "",
                  partition: String(partition),
                  from: "offset",
                  offset: String(firstOffset),
                  run,
                }),
              },
              partition,
            ),
        },
        { head: "First offset", numeric: true, cell: ({ firstOffset }) => firstOffset },
        { head: "Last offset", numeric: true, cell: ({ lastOffset }) => lastOffset },
      ],
    }),
    topicRangesIncomplete && h("p", { class: "soft" }, "More partitions have records of this run than are listed."),
  );
}
