/**
 * View 4: the golden signals of each stage: rates, latency, errors, how it spends its time, and the age of records.
 */

import type { Page, View } from "../app";
import { type Child, h } from "../dom";
import { rate, seconds, share } from "../format";
import type { Live } from "../net/live";
import { type ChartSeries, chart } from "../parts/chart";
import { pageRange, rangePicker } from "../parts/range";
import { shares } from "../parts/spark";
import { held, known, notice } from "../parts/state";
import { table } from "../parts/table";
import { command } from "../parts/command";
import type { Measure, PipelineView, SeriesKey, Stage, StageSignals } from "../types";

const STAGES: Record<Stage, string> = { Source: "source", Processor: "processor", Sink: "sink" };

export function signalsView(page: Page, live: Live): View {
  return {
    draw: () => [
      h("header", null, h("h1", null, "Signals"), h("div", { class: "end" }, rangePicker(page))),
      held(
        live.view,
        "The signals",
        (view) => stages(view),
        () => void live.again(),
      ),
      charts(page, live),
      command(
        `kubectl get --raw /api/v1/namespaces/${live.namespace}/pods/POD:metrics/proxy/metrics`,
        "The same figures from a worker",
      ),
    ],
  };
}

function stages({ signals }: PipelineView): Child {
  const unknown = signals.flatMap(({ unknown: why, stage, name }) =>
    why === null || why === undefined ? [] : [`${STAGES[stage]} ${name}: ${why}`],
  );
  return h(
    "section",
    { class: "panel", key: "stages" },
    h("h2", null, "Over the last minute"),
    unknown.length > 0 && h("p", { class: "stale", role: "status" }, unknown.join("; ")),
    signals.length === 0
      ? notice("empty", "The pipeline has no stage yet")
      : table<StageSignals>({
          caption: "Golden signals by stage",
          rows: signals,
          key: ({ stage, name }) => `${stage}/${name}`,
          columns: [
            {
              head: "Stage",
              class: "nowrap",
              cell: ({ stage, name }) => [
                h("strong", null, STAGES[stage]),
                stage === "Source" && h("div", { class: "soft" }, name),
              ],
            },
            { head: "Records in", numeric: true, cell: ({ inRate }) => known(rate(inRate)) },
            { head: "Records out", numeric: true, cell: ({ outRate }) => known(rate(outRate)) },
            { head: "Errors", numeric: true, cell: ({ errorRate }) => known(rate(errorRate)) },
            {
              head: "Write latency p50",
              numeric: true,
              title: "Half of the write requests to Cassandra take no longer",
              cell: (row) => of(row, "Sink", known(seconds(row.p50Seconds)), row.p50Seconds),
            },
            {
              head: "Write latency p99",
              numeric: true,
              title: "All but one in a hundred write requests to Cassandra take no longer",
              cell: (row) => of(row, "Sink", known(seconds(row.p99Seconds)), row.p99Seconds),
            },
            {
              head: "Busy, back-pressured, idle",
              cell: (row) => of(row, "Processor", shares(row.busy, row.idle, row.backPressured), row.busy),
            },
            {
              head: "Record age p50",
              numeric: true,
              title: "Half of the rows are readable this soon after their record was handed to Kafka",
              cell: (row) => of(row, "Processor", known(seconds(row.ageP50Seconds)), row.ageP50Seconds),
            },
            {
              head: "Record age p99",
              numeric: true,
              title: "All but one in a hundred rows are readable this soon after their record was handed to Kafka",
              cell: (row) => of(row, "Processor", known(seconds(row.ageP99Seconds)), row.ageP99Seconds),
            },
          ],
        }),
  );
}

/** Returns a value that one stage measures; of another stage a dash, unless it has one all the same. */
function of(row: StageSignals, stage: Stage, drawn: Child, value: number | null | undefined): Child {
  return row.stage === stage || typeof value === "number"
    ? drawn
    : h("span", { class: "soft", title: "Not measured for this stage" }, "–");
}

function charts(page: Page, live: Live): Child {
  if (!live.historyLoaded) {
    return live.historyProblem === undefined
      ? notice("loading", "The past hour: loading")
      : notice("unknown", "The past hour is unknown for now", h("p", null, live.historyProblem.message));
  }
  const { from, to } = pageRange(page);
  const frame = { times: live.columns.times, from, to };
  return [
    live.unknown.length > 0 &&
      h("p", { class: "stale", role: "status" }, `The newest values are unknown: ${live.unknown.join("; ")}`),
    h(
      "div",
      { class: "columns" },
      chart({ ...frame, title: "Records in", unit: "per second", series: lines(live, ["InRate"]), format: rate }),
      chart({ ...frame, title: "Records out", unit: "per second", series: lines(live, ["OutRate"]), format: rate }),
      chart({ ...frame, title: "Errors", unit: "per second", series: lines(live, ["ErrorRate"]), format: rate }),
      chart({
        ...frame,
        title: "Latency of writes to Cassandra",
        unit: "in seconds",
        series: lines(live, ["LatencyP50", "LatencyP99"]),
        format: seconds,
      }),
      chart({
        ...frame,
        title: "Record age from Kafka to its row",
        unit: "in seconds",
        series: lines(live, ["AgeP50", "AgeP99"]),
        format: seconds,
      }),
      timeCharts(live, frame),
    ),
  ];
}

const SUFFIX: Partial<Record<Measure, string>> = {
  LatencyP50: " p50",
  LatencyP99: " p99",
  AgeP50: "p50",
  AgeP99: "p99",
};

function lines({ columns }: Live, measures: Measure[]): ChartSeries[] {
  return measures
    .flatMap((measure) =>
      shown(columns.keys(measure)).map((key) => ({
        label: seriesLabel(key),
        values: columns.column({ measure, stage: key.stage ?? undefined, name: key.name ?? undefined }) ?? [],
      })),
    )
    .sort((left, right) => left.label.localeCompare(right.label));
}

/** Leaves out partitions, and the sum of the sources where there is one source. */
function shown(keys: readonly SeriesKey[]): SeriesKey[] {
  const sources = keys.filter(({ stage, name }) => stage === "Source" && (name ?? "") !== "");
  return keys.filter(
    ({ stage, name, partition }) =>
      typeof partition !== "number" && !(stage === "Source" && (name ?? "") === "" && sources.length === 1),
  );
}

function seriesLabel({ measure, stage, name }: SeriesKey): string {
  const part =
    stage === null || stage === undefined
      ? "topic"
      : stage === "Source" && (name ?? "") === ""
        ? "all sources"
        : STAGES[stage];
  const what = [part, name ?? ""].filter((word) => word !== "").join(" ");
  const label = measure.startsWith("Age") ? (SUFFIX[measure] ?? "") : `${what}${SUFFIX[measure] ?? ""}`;
  return label === "" ? "pipeline" : label;
}

/** How each stage spends its time: three parts that add up to one. */
function timeCharts(live: Live, frame: { times: readonly number[]; from: number; to: number }): Child {
  return live.columns.keys("Busy").map(({ stage, name }) => {
    const column = (measure: Measure): ChartSeries["values"] =>
      live.columns.column({ measure, stage: stage ?? undefined, name: name ?? undefined }) ?? [];
    const what = [stage === null || stage === undefined ? "" : STAGES[stage], name ?? ""]
      .filter((part) => part !== "")
      .join(" ");
    return chart({
      ...frame,
      title: what === "" ? "How workers spend their time" : `How the ${what} spends its time`,
      unit: "in percent",
      format: share,
      most: 1,
      series: [
        { label: "busy", values: column("Busy"), stacked: true },
        { label: "back-pressured", values: column("BackPressured"), stacked: true },
        { label: "idle", values: column("Idle"), stacked: true },
      ],
    });
  });
}
