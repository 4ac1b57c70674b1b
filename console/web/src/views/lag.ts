/**
 * View 3: how far the processors are behind, in records and in seconds, in total and by partition, now and over the last hour.
 */

import type { Page, View } from "../app";
import { type Child, h, type VNode } from "../dom";
import { ago, count, rate, seconds } from "../format";
import type { Live } from "../net/live";
import { Poll } from "../net/poll";
import { type ChartSeries, chart } from "../parts/chart";
import { command } from "../parts/command";
import { pageRange, rangePicker } from "../parts/range";
import { held, known, notice } from "../parts/state";
import { table } from "../parts/table";
import { viewUrl } from "../router";
import type { Lag, Measure, PartitionLag, SeriesKey } from "../types";

/** More lines than this cannot be told apart. */
const MOST_LINES = 8;

export function lagView(page: Page, live: Live): View {
  const poll = new Poll<Lag>(5, live.client.lag, () => page.redraw());
  return {
    draw: () => [
      h("header", null, h("h1", null, "Lag"), h("div", { class: "end" }, rangePicker(page))),
      held(poll.held, "The lag", now, () => poll.again()),
      charts(page, live),
      poll.held.value !== undefined && partitionTable(page, live, poll.held.value),
    ],
    stop: () => poll.stop(),
  };
}

function charts(page: Page, live: Live): Child {
  if (!live.historyLoaded) {
    return live.historyProblem === undefined
      ? notice("loading", "The past hour: loading")
      : notice("unknown", "The past hour is unknown for now", h("p", null, live.historyProblem.message));
  }
  const { from, to } = pageRange(page);
  const { columns } = live;
  const frame = { times: columns.times, from, to };
  const total = (measure: Measure): ChartSeries[] => [
    { label: "all partitions", values: columns.column({ measure }) ?? columns.times.map(() => null) },
  ];
  return [
    live.unknown.length > 0 &&
      h("p", { class: "stale", role: "status" }, `The newest values are unknown: ${live.unknown.join("; ")}`),
    h(
      "div",
      { class: "columns" },
      chart({ ...frame, title: "Lag", unit: "in records", series: total("LagRecords"), format: count }),
      chart({
        ...frame,
        title: "Age of the oldest record behind",
        unit: "in seconds",
        series: total("LagSeconds"),
        format: seconds,
      }),
      chart({
        ...frame,
        title: "Lag by partition",
        unit: "in records",
        series: partitions(live),
        format: count,
        full: true,
      }),
    ),
  ];
}

function partitions({ columns }: Live): ChartSeries[] {
  const worst = columns
    .keys("LagRecords")
    .filter(({ partition }) => typeof partition === "number")
    .map((key) => ({ key, values: columns.column(selector(key)) ?? [] }))
    .sort((left, right) => (right.values.at(-1) ?? -1) - (left.values.at(-1) ?? -1) || order(left.key, right.key))
    .slice(0, MOST_LINES);
  return worst
    .map(({ key, values }) => ({ label: `${key.name ?? ""} ${key.partition}`.trim(), values }))
    .sort((left, right) => left.label.localeCompare(right.label, "en", { numeric: true }));
}

function order(left: SeriesKey, right: SeriesKey): number {
  return (left.name ?? "").localeCompare(right.name ?? "") || (left.partition ?? 0) - (right.partition ?? 0);
}

function selector({ measure, stage, name, partition }: SeriesKey): {
  measure: Measure;
  stage?: "Source" | "Processor" | "Sink" | undefined;
  name?: string | undefined;
  partition?: number | undefined;
} {
  return { measure, stage: stage ?? undefined, name: name ?? undefined, partition: partition ?? undefined };
}

function now(lag: Lag): Child {
  const figure = (name: string, value: string): VNode =>
    h("div", { class: "figure" }, h("div", { class: "value" }, known(value)), h("div", { class: "name" }, name));
  return [
    (lag.unknown ?? null) !== null &&
      h("p", { class: "stale", role: "status", key: "why" }, `Unknown for now: ${lag.unknown ?? ""}`),
    h(
      "section",
      { class: "panel", key: "now" },
      h(
        "div",
        { class: "panel-head" },
        h("h2", null, "Now"),
        h("span", { class: "soft" }, `group ${lag.group} · measured ${ago(lag.measured, Date.now())}`),
      ),
      h(
        "div",
        { class: "figures" },
        figure("records behind", count(lag.totalRecords)),
        figure("oldest record behind", seconds(lag.totalSeconds)),
      ),
    ),
  ];
}

function partitionTable(page: Page, live: Live, lag: Lag): Child {
  return [
    h(
      "section",
      { class: "panel", key: "partitions" },
      h("h2", null, "By partition"),
      lag.partitions.length === 0
        ? notice("empty", "No query reads a topic", h("p", null, "Lag counts records that no query has processed."))
        : table<PartitionLag>({
            caption: "Lag by partition",
            rows: lag.partitions,
            key: ({ topic, partition }) => `${topic}/${partition}`,
            open: ({ topic, partition, committedOffset }) =>
              page.go(messagesUrl(live, topic, partition, committedOffset)),
            columns: [
              { head: "Topic", cell: ({ topic }) => topic },
              { head: "Partition", numeric: true, cell: ({ partition }) => partition },
              { head: "First offset", numeric: true, cell: ({ startOffset }) => known(count(startOffset)) },
              {
                head: "Committed offset",
                numeric: true,
                cell: ({ committedOffset }) => known(count(committedOffset), "Unknown, or nothing is committed yet"),
              },
              { head: "End offset", numeric: true, cell: ({ endOffset }) => known(count(endOffset)) },
              { head: "Records behind", numeric: true, cell: ({ lagRecords }) => known(count(lagRecords)) },
              { head: "Oldest record", numeric: true, cell: ({ lagSeconds }) => known(seconds(lagSeconds)) },
              { head: "Records in", numeric: true, cell: ({ inRate }) => known(rate(inRate)) },
              { head: "Records committed", numeric: true, cell: ({ outRate }) => known(rate(outRate)) },
            ],
          }),
    ),
    h("div", { key: "command" }, command(lag.kubectl)),
  ];
}

/** Returns where the first record stands that is not committed. */
function messagesUrl(
  { namespace, name }: Live,
  topic: string,
  partition: number,
  committed: number | null | undefined,
): string {
  const at: Record<string, string> = typeof committed === "number" ? { from: "offset", offset: String(committed) } : {};
  return viewUrl(namespace, name, "messages", { topic, partition: String(partition), ...at });
}
