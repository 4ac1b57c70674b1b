/**
 * View 1: all pipelines that the viewer may list, with the state, the first cause, rates and lag of each.
 */

import type { Page, View } from "../app";
import { type Child, h } from "../dom";
import { ago, count, exact, rate, seconds } from "../format";
import { readPipelines } from "../net/client";
import { Poll } from "../net/poll";
import { command } from "../parts/command";
import { textField } from "../parts/fields";
import { spark } from "../parts/spark";
import { held, known, notice } from "../parts/state";
import { type Column, table } from "../parts/table";
import { readyText, stateBadge } from "../parts/words";
import { viewUrl } from "../router";
import type { ComponentSummary, Pipelines, PipelineSummary } from "../types";

export function pipelinesView(page: Page): View {
  const namespace = (): string => page.route.query.namespace ?? "";
  const poll = new Poll<Pipelines>(
    5,
    (signal) => readPipelines(signal, namespace()),
    () => page.redraw(),
  );
  let asked = namespace();
  return {
    draw: () => draw(page, poll),
    moved: () => {
      if (asked === namespace()) return;
      asked = namespace();
      poll.again();
    },
    stop: () => poll.stop(),
  };
}

function draw(page: Page, poll: Poll<Pipelines>): Child {
  const { namespace = "", search = "" } = page.route.query;
  return [
    h(
      "header",
      null,
      h("h1", null, "Pipelines"),
      h(
        "div",
        { class: "end filters" },
        textField({
          id: "namespace",
          label: "Namespace",
          value: namespace,
          placeholder: "all",
          change: (value) => page.setQuery({ namespace: value.trim() }),
        }),
        textField({
          id: "search",
          label: "Name or reason",
          value: search,
          type: "search",
          search: true,
          typing: true,
          change: (value) => page.setQuery({ search: value }, true),
        }),
      ),
    ),
    held(
      poll.held,
      "Pipelines",
      (value) => list(page, value),
      () => poll.again(),
    ),
  ];
}

function list(page: Page, value: Pipelines): Child {
  const { namespace = "", search = "" } = page.route.query;
  const shown = value.pipelines.filter((pipeline) => matches(pipeline, search));
  return [
    value.problem !== null &&
      value.problem !== undefined &&
      notice("unknown", "Some pipelines are unknown for now", h("p", null, value.problem)),
    shown.length > 0 &&
      h(
        "div",
        { class: "panel", key: "list" },
        table({
          caption: "Pipelines",
          columns: COLUMNS,
          rows: shown,
          key: ({ namespace: space, name }) => `${space}/${name}`,
          open: ({ namespace: space, name }) => page.go(viewUrl(space, name, "overview")),
        }),
      ),
    value.forbidden.length > 0 && forbidden(value),
    shown.length === 0 &&
      value.pipelines.length > 0 &&
      notice("empty", `No pipeline's name or reason contains “${search}”`),
    value.pipelines.length === 0 &&
      value.forbidden.length === 0 &&
      (value.problem ?? null) === null &&
      empty(namespace),
    h(
      "div",
      { key: "command" },
      command(`kubectl get streamingpipelines ${namespace === "" ? "--all-namespaces" : `--namespace ${namespace}`}`),
    ),
  ];
}

/** Returns whether a pipeline is looked for. */
export function matches({ namespace, name, ready }: PipelineSummary, search: string): boolean {
  const text = [namespace, name, ready?.reason ?? "", ready?.message ?? ""].join(" ").toLowerCase();
  return text.includes(search.trim().toLowerCase());
}

/** Where there are pipelines, what is missing is said in a line; else it is why there are none. */
function forbidden({ forbidden: spaces, pipelines }: Pipelines): Child {
  const everywhere = spaces.includes("*");
  const title = `You may not list the pipelines of ${everywhere ? "all namespaces" : spaces.join(", ")}`;
  const advice = everywhere ? "Enter a namespace above whose pipelines you may list." : "";
  if (pipelines.length === 0) return notice("forbidden", title, advice === "" ? null : h("p", null, advice));
  return h("p", { class: "soft", key: "forbidden" }, `${title}; the pipelines that you may list are shown. ${advice}`);
}

function empty(namespace: string): Child {
  return notice(
    "empty",
    namespace === "" ? "There are no pipelines yet" : `There are no pipelines in ${namespace}`,
    h("p", null, "A pipeline is a StreamingPipeline resource. The README has a first example."),
    command(
      `kubectl apply ${namespace === "" ? "" : `--namespace ${namespace} `}--filename pipeline.yaml`,
      "Create one",
    ),
  );
}

/** All in one where all are ready; else those that are not. */
function members(components: readonly ComponentSummary[]): Child {
  const short = components.filter(
    ({ ready, desired }) =>
      typeof ready !== "number" || typeof desired !== "number" || desired === 0 || ready < desired,
  );
  if (components.length === 0) return known("unknown");
  if (short.length === 0)
    return h("span", { class: "number" }, `all ${components.reduce((sum, { desired }) => sum + (desired ?? 0), 0)}`);
  return h(
    "span",
    { class: "number" },
    short.map((component) =>
      h("div", null, h("span", { class: "soft" }, `${component.component} `), readyText(component)),
    ),
  );
}

const COLUMNS: Column<PipelineSummary>[] = [
  {
    head: "Pipeline",
    class: "nowrap",
    cell: ({ namespace, name, created }) => [
      h("a", { href: viewUrl(namespace, name, "overview") }, h("strong", null, name)),
      h("div", { class: "soft", title: exact(created) }, `${namespace} · ${ago(created, Date.now())}`),
    ],
  },
  {
    head: "State",
    cell: ({ state, pausedSources }) => [
      stateBadge(state),
      pausedSources.length > 0 &&
        state !== "Paused" &&
        h("div", null, stateBadge("Paused"), ` ${pausedSources.join(", ")}`),
    ],
  },
  {
    head: "Why",
    class: "wide",
    cell: ({ ready }) =>
      ready
        ? [h("span", null, ready.reason), h("div", { class: "soft" }, ready.message)]
        : known("unknown", "The operator has not reported yet"),
  },
  {
    head: "Members ready",
    class: "nowrap",
    cell: ({ components }) => members(components),
  },
  {
    head: "Records in",
    numeric: true,
    title: "Records per second that Kafka has acknowledged",
    cell: ({ inRate }) => known(rate(inRate)),
  },
  {
    head: "Rows out",
    numeric: true,
    title: "Rows per second that Cassandra has acknowledged",
    cell: ({ outRate }) => known(rate(outRate)),
  },
  { head: "Errors", numeric: true, cell: ({ errorRate }) => known(rate(errorRate)) },
  {
    head: "Lag",
    numeric: true,
    title: "Records that no processor has committed, and the age of the oldest",
    cell: ({ lagRecords, lagSeconds }) => [
      known(count(lagRecords)),
      h("div", { class: "soft" }, known(seconds(lagSeconds))),
    ],
  },
  {
    head: "Lag, 10 min",
    cell: ({ lagSparkline, lagRecords }) =>
      spark(lagSparkline, `Lag over ten minutes, now ${count(lagRecords)} records`),
  },
];
