/**
 * View 2: one pipeline as a live graph, the sentence that says why it is as it is, and the causes, worst first.
 */

import type { Page, View } from "../app";
import { type Child, h, type VNode } from "../dom";
import { ago, count, exact, rate, seconds } from "../format";
import type { Live } from "../net/live";
import { Poll } from "../net/poll";
import { command } from "../parts/command";
import { graph } from "../parts/graph";
import { badge, held, known, notice } from "../parts/state";
import { table } from "../parts/table";
import { conditionTone, readyText, stateBadge, trendBadge } from "../parts/words";
import { viewUrl } from "../router";
import type { ApiNode, Bottleneck, Condition, Events, PipelineView } from "../types";
import { scalingPanel } from "./overview/scaling";
import { PlanPanel } from "./plan";

/** How often the events of a pipeline that is scaled are asked for, in seconds. */
const EVENTS_EVERY = 15;

export function overviewView(page: Page, live: Live): View {
  const plan = new PlanPanel(page, live);
  let events: Poll<Events> | undefined;
  /** Returns the events; they are asked for once somebody sees a pipeline that is scaled. */
  const eventsOf = (): Poll<Events> => {
    events ??= new Poll<Events>(EVENTS_EVERY, live.client.events, () => page.redraw());
    return events;
  };
  return {
    stop: () => events?.stop(),
    draw: () => [
      h(
        "header",
        null,
        h("h1", null, live.name),
        live.view.value !== undefined && stateBadge(live.view.value.summary.state),
      ),
      held(
        live.view,
        "The pipeline",
        (view) => [plan.draw(view), content(live, view, eventsOf)],
        () => void live.again(),
      ),
    ],
  };
}

function content(live: Live, view: PipelineView, events: () => Poll<Events>): Child {
  return [
    why(live, view),
    figures(view),
    view.graph.nodes.length === 0
      ? notice(
          "empty",
          "There is nothing to draw yet",
          h("p", null, "The pipeline declares no source, topic or table."),
        )
      : graph({
          nodes: view.graph.nodes,
          edges: view.graph.edges,
          label: "The pipeline from its sources to its tables, with the stores under it",
          room: room(),
          draw: drawNode,
          href: (node) => nodeUrl(live, node),
        }),
    view.scaling !== null && scalingPanel(view.scaling, events().held),
    h("div", { class: "columns" }, conditions(view.conditions), planned(view)),
    command(view.kubectl),
  ];
}

/** Returns the width that the graph can have; before anything is drawn it is as narrow as it can be. */
function room(): number {
  const main = document.querySelector("main");
  if (main === null) return 0;
  const { paddingLeft, paddingRight } = getComputedStyle(main);
  const borders = 2;
  return main.clientWidth - parseFloat(paddingLeft) - parseFloat(paddingRight) - borders;
}

function why(live: Live, { why: { state, sentence, bottlenecks, unknown }, graph: { nodes } }: PipelineView): VNode {
  return h(
    "section",
    { class: `panel why ${state}`, "aria-label": "Why", key: "why" },
    h(
      "div",
      null,
      h("p", { class: "sentence", role: "status" }, sentence),
      bottlenecks.length > 1 && h("p", { class: "order soft" }, "Causes, worst first:"),
      bottlenecks.length > 0 &&
        h(
          "ol",
          { "aria-label": "Causes, worst first" },
          bottlenecks.map((item) => h("li", null, bottleneck(live, item, nodes))),
        ),
      unknown.length > 0 && h("p", { class: "soft" }, h("strong", null, "Unknown for now: "), unknown.join("; ")),
    ),
  );
}

/** Returns a cause: where it is, what it is, and which way it goes. How bad it is, is its place in the list. Pure. */
export function bottleneck(
  live: Pick<Live, "namespace" | "name">,
  { node: id, message, trend }: Bottleneck,
  nodes: readonly ApiNode[],
): Child {
  const node = nodes.find((candidate) => candidate.id === id);
  return [
    node === undefined ? null : [h("a", { href: nodeUrl(live, node) }, node.name), ": "],
    message,
    trend !== null && trend !== undefined && [" ", trendBadge(trend)],
  ];
}

function figures({ summary, signals }: PipelineView): VNode {
  const age = signals.find(({ ageP50Seconds }) => typeof ageP50Seconds === "number");
  const figure = (name: string, text: string, title: string): VNode =>
    h("div", { class: "figure", title }, h("div", { class: "value" }, known(text)), h("div", { class: "name" }, name));
  return h(
    "div",
    { class: "figures panel", key: "figures" },
    figure("records into Kafka", rate(summary.inRate), "Records per second that Kafka has acknowledged"),
    figure("rows into tables", rate(summary.outRate), "Rows per second that Cassandra has acknowledged"),
    figure("errors", rate(summary.errorRate), "Errors per second of all stages together"),
    figure("records behind", count(summary.lagRecords), "Records that no processor has committed"),
    figure("oldest record behind", seconds(summary.lagSeconds), "Age of the oldest record that is not committed"),
    figure(
      "record age, median",
      seconds(age?.ageP50Seconds),
      "From handing a record to Kafka until its row is readable",
    ),
    figure("record age, p99", seconds(age?.ageP99Seconds), "All but one in a hundred are younger"),
  );
}

const KINDS: Record<ApiNode["kind"], string> = {
  Source: "source",
  Topic: "topic",
  Query: "query",
  Table: "table",
  DeadLetters: "dead letters",
  Store: "store",
};

function drawNode(node: ApiNode): Child {
  const members = typeof node.desired === "number" || typeof node.ready === "number";
  const errors = typeof node.errorRate === "number" && node.errorRate > 0;
  return [
    h("span", { class: "head" }, h("span", { class: "kind" }, KINDS[node.kind]), stateBadge(node.state)),
    h("span", { class: "name", title: node.name }, node.name),
    // What does not fit beside each other is cut off: each fact has a line of its own.
    line(members ? readyText(node) + (node.desired === 0 ? "" : " ready") : ""),
    line(node.detail),
    node.kind !== "Store" && line(rates(node)),
    errors && line(`${rate(node.errorRate)} errors`, "line errors"),
    !errors && node.state !== "Ok" && line(node.reason ?? ""),
    !errors && node.state === "Ok" && node.kind === "Query" && line(`${count(node.lagRecords)} behind`),
  ];
}

function line(text: string, kind = "line"): Child {
  return text !== "" && h("span", { class: kind, title: text }, text);
}

function rates({ kind, inRate, outRate }: ApiNode): string {
  if (kind === "Source") return `out ${rate(outRate)}`;
  if (kind === "Table" || kind === "DeadLetters") return `in ${rate(inRate)}`;
  return `in ${rate(inRate)} · out ${rate(outRate)}`;
}

function nodeUrl({ namespace, name }: Pick<Live, "namespace" | "name">, node: ApiNode): string {
  switch (node.kind) {
    case "Source":
      return viewUrl(namespace, name, "runs", { source: node.name });
    case "Topic":
      return viewUrl(namespace, name, "messages", { topic: node.name });
    case "Query":
      return viewUrl(namespace, name, "signals");
    case "Table":
      return viewUrl(namespace, name, "tables", { table: node.name });
    case "DeadLetters":
      return viewUrl(namespace, name, "letters");
    case "Store":
      return viewUrl(namespace, name, "logs", { component: node.component.toLowerCase() });
  }
}

export function conditions(items: readonly Condition[]): VNode {
  const now = Date.now();
  return h(
    "section",
    { class: "panel", key: "conditions" },
    h("h2", null, "Conditions"),
    items.length === 0
      ? notice(
          "unknown",
          "The operator has not reported yet",
          h("p", null, "Is it running, and does it watch this namespace?"),
        )
      : table({
          caption: "Conditions",
          rows: items,
          key: ({ type }) => type,
          columns: [
            {
              head: "Condition",
              class: "nowrap",
              cell: (condition) => badge(conditionTone(condition), condition.type),
            },
            {
              head: "Reason and message",
              class: "wide",
              cell: ({ reason, message, status }) => [`${status}, ${reason}`, h("div", { class: "soft" }, message)],
            },
            {
              head: "Since",
              class: "nowrap",
              cell: ({ since }) => h("span", { title: exact(since) }, ago(since, now)),
            },
          ],
        }),
  );
}

function planned({ plannedActions, generation, observedGeneration }: PipelineView): VNode {
  return h(
    "section",
    { class: "panel", key: "planned" },
    h("h2", null, "Planned actions"),
    plannedActions.length === 0
      ? h("p", { class: "soft" }, "None: what runs is what the spec asks for.")
      : h(
          "ol",
          null,
          plannedActions.map((action) => h("li", null, action)),
        ),
    observedGeneration !== generation &&
      h(
        "p",
        null,
        badge("busy", "Not read yet"),
        ` The spec is at generation ${generation}, the operator has read ${observedGeneration ?? "none"}.`,
      ),
  );
}
