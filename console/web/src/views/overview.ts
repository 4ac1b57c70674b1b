/**
 * View 2: one pipeline as a live graph, the sentence that says why it is as it is, and what holds it up, worst first.
 */

import type { Page, View } from "../app";
import { type Child, h, type VNode } from "../dom";
import { ago, count, exact, rate, seconds } from "../format";
import type { Live } from "../net/live";
import { command } from "../parts/command";
import { graph } from "../parts/graph";
import { badge, held, known, notice } from "../parts/state";
import { table } from "../parts/table";
import { conditionTone, readyText, stateBadge } from "../parts/words";
import { viewUrl } from "../router";
import type { ApiNode, Bottleneck, Condition, PipelineView } from "../types";

export function overviewView(page: Page, live: Live): View {
  return {
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
        (view) => content(page, live, view),
        () => void live.again(),
      ),
    ],
  };
}

function content(_page: Page, live: Live, view: PipelineView): Child {
  return [
    why(live, view),
    figures(view),
    view.graph.nodes.length === 0
      ? notice(
          "empty",
          "There is nothing to draw yet",
          h("p", null, "The pipeline has no source, topic or table that the operator knows of."),
        )
      : graph({
          nodes: view.graph.nodes,
          edges: view.graph.edges,
          label: "The pipeline from its sources to its tables, with the stores under it",
          draw: drawNode,
          href: (node) => nodeUrl(live, node),
        }),
    h("div", { class: "columns" }, conditions(view.conditions), planned(view)),
    command(view.kubectl),
  ];
}

function why(live: Live, { why: { state, sentence, bottlenecks, unknown }, graph: { nodes } }: PipelineView): VNode {
  return h(
    "section",
    { class: `panel why ${state}`, "aria-label": "Why", key: "why" },
    h(
      "div",
      null,
      h("p", { class: "sentence", role: "status" }, sentence),
      bottlenecks.length > 0 &&
        h(
          "ol",
          { "aria-label": "What holds it up, worst first" },
          bottlenecks.map((item) => h("li", null, bottleneck(live, item, nodes))),
        ),
      unknown.length > 0 && h("p", { class: "soft" }, h("strong", null, "Unknown for now: "), unknown.join("; ")),
    ),
  );
}

function bottleneck(
  live: Live,
  { node: id, message, worsening, severity }: Bottleneck,
  nodes: readonly ApiNode[],
): Child {
  const node = nodes.find((candidate) => candidate.id === id);
  const trend =
    worsening === true ? badge("bad", "getting worse") : worsening === false ? badge("ok", "not getting worse") : null;
  return [
    node === undefined ? null : [h("a", { href: nodeUrl(live, node) }, node.name), ": "],
    message,
    " ",
    trend,
    h("span", { class: "soft", title: "How bad it is, from 0 to 100" }, ` ${Math.round(severity * 100)}`),
  ];
}

function figures({ summary, signals }: PipelineView): VNode {
  const age = signals.find(({ ageP50Seconds }) => typeof ageP50Seconds === "number");
  const figure = (name: string, text: string, title: string): VNode =>
    h("div", { class: "figure", title }, h("div", { class: "value" }, known(text)), h("div", { class: "name" }, name));
  return h(
    "div",
    { class: "figures panel", key: "figures" },
    figure("into Kafka", rate(summary.inRate), "Records acknowledged by Kafka a second"),
    figure("into tables", rate(summary.outRate), "Rows acknowledged by Cassandra a second"),
    figure("errors", rate(summary.errorRate), "All stages together"),
    figure("records behind", count(summary.lagRecords), "Records that no processor has committed"),
    figure("oldest of them", seconds(summary.lagSeconds), "Age of the oldest record that is not committed"),
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
    h(
      "span",
      { class: "line" },
      [members ? readyText(node) + (node.desired === 0 ? "" : " ready") : "", node.detail]
        .filter((part) => part !== "")
        .join(" · "),
    ),
    node.kind !== "Store" && h("span", { class: "line" }, rates(node)),
    errors && h("span", { class: "line errors" }, `${rate(node.errorRate)} errors`),
    !errors &&
      node.reason !== null &&
      node.reason !== undefined &&
      node.state !== "Ok" &&
      h("span", { class: "line" }, node.reason),
    !errors &&
      node.state === "Ok" &&
      node.kind === "Query" &&
      h("span", { class: "line" }, `${count(node.lagRecords)} behind`),
  ];
}

function rates({ kind, inRate, outRate }: ApiNode): string {
  if (kind === "Source") return `out ${rate(outRate)}`;
  if (kind === "Table" || kind === "DeadLetters") return `in ${rate(inRate)}`;
  return `in ${rate(inRate)} · out ${rate(outRate)}`;
}

function nodeUrl({ namespace, name }: Live, node: ApiNode): string {
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
          "The operator has not said anything yet",
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
    h("h2", null, "What the operator is about to do"),
    plannedActions.length === 0
      ? h("p", { class: "soft" }, "Nothing: what runs is what the operator wants.")
      : h(
          "ol",
          null,
          plannedActions.map((action) => h("li", null, action)),
        ),
    observedGeneration !== generation &&
      h(
        "p",
        null,
        badge("busy", "Behind"),
        ` The spec is at generation ${generation}, the operator speaks of ${observedGeneration ?? "none yet"}.`,
      ),
  );
}
