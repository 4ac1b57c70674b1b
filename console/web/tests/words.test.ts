/** States, problems, logs and the graph. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { type Child, h, type VNode } from "../src/dom";
import { problemFrom, url } from "../src/net/client";
import { nextDelay } from "../src/net/poll";
import { kindOf } from "../src/net/problem";
import { layout } from "../src/parts/graph";
import { known } from "../src/parts/state";
import { conditionTone, readyText } from "../src/parts/words";
import { viewLabel } from "../src/shell";
import type { ApiEvent, ApiNode, Condition, Edge, Trace } from "../src/types";
import { placeOf, settled, timedWay } from "../src/views/follow";
import { parseLine, split } from "../src/views/logs/lines";
import { bottleneck } from "../src/views/overview";
import { panel } from "../src/views/plan";
import { changes } from "../src/views/overview/scaling";
import { cellHeight } from "../src/views/runs/grid";

/** Returns what there is to read in a drawing. */
function textOf(child: Child): string {
  const { children } = h("p", null, child);
  return children.map((part) => (typeof part === "string" ? part : textOf(part.children))).join("");
}

const NOTHING = {
  reason: null,
  message: null,
  ready: null,
  desired: null,
  inRate: null,
  outRate: null,
  errorRate: null,
  lagRecords: null,
  detail: "",
};

function node(id: string, kind: ApiNode["kind"]): ApiNode {
  return { id, kind, name: id, component: "Kafka", state: "Ok", ...NOTHING };
}

function edge(from: string, to: string, kind: Edge["kind"]): Edge {
  return { from, to, kind, rate: null };
}

/** A pipeline of one source with two stores. */
function shop(): { nodes: ApiNode[]; edges: Edge[] } {
  return {
    nodes: [
      node("source", "Source"),
      node("topic", "Topic"),
      node("query", "Query"),
      node("table", "Table"),
      node("kafka", "Store"),
      node("zookeeper", "Store"),
    ],
    edges: [
      edge("source", "topic", "Flow"),
      edge("topic", "query", "Flow"),
      edge("query", "table", "Flow"),
      edge("topic", "kafka", "RestsOn"),
      edge("kafka", "zookeeper", "RestsOn"),
      edge("x", "table", "Flow"),
    ],
  };
}

test("a store that is away is unknown, and not the console's fault", () => {
  assert.equal(kindOf(503), "away");
  assert.equal(kindOf(500), "bug");
  assert.equal(
    problemFrom(503, { reason: "Unavailable", message: "kafka does not answer", causes: ["refused"] }).message,
    "kafka does not answer: refused",
  );
});

test("a lacking right is named", () => {
  const problem = problemFrom(403, {
    reason: "Forbidden",
    message: "you may not",
    causes: [],
    right: "get streamingpipelines/messages",
  });
  assert.equal(problem.kind, "forbidden");
  assert.match(problem.message, /get streamingpipelines\/messages/);
});

test("what is gone is asked for less and less often, and never without a session", () => {
  assert.equal(nextDelay(5, 0, undefined), 5);
  assert.equal(nextDelay(5, 1, "away"), 5);
  assert.equal(nextDelay(5, 3, "away"), 20);
  assert.equal(nextDelay(5, 9, "away"), 30);
  assert.equal(nextDelay(5, 1, "signedOut"), undefined);
  assert.equal(nextDelay(0, 0, undefined), undefined);
});

test("members that nobody knows are not none", () => {
  assert.equal(readyText({ ready: null, desired: 3 }), "?/3");
  assert.equal(readyText({ ready: null, desired: null }), "unknown");
  assert.equal(readyText({ ready: 0, desired: 0 }), "none wanted");
  assert.equal(readyText({ ready: 0, desired: 3 }), "0/3");
});

test("unknown has its own dress", () => {
  assert.equal(known("unknown").props.class, "unknown");
  assert.equal(known("0").props.class, "number");
});

test("a condition is good at True, but for those that are good at False", () => {
  const condition = (type: string, status: string): Condition => ({
    type,
    status,
    reason: "R",
    message: "",
    since: "2026-01-01T00:00:00Z",
  });
  assert.equal(conditionTone(condition("KafkaReady", "True")), "ok");
  assert.equal(conditionTone(condition("KafkaReady", "False")), "bad");
  assert.equal(conditionTone(condition("Stalled", "False")), "ok");
  assert.equal(conditionTone(condition("KafkaReady", "Unknown")), "unknown");
});

test("queries leave out what is not set", () => {
  assert.equal(url("/x", { a: "", b: undefined, c: null, d: false, e: 0, f: "a b" }), "/x?e=0&f=a+b");
  assert.equal(url("/x", {}), "/x");
});

test("a tree of nodes holds text as text", () => {
  const node: VNode = h("p", { key: "k", class: null }, "<b>", 0, null, false, [h("i", null, 1)]);
  assert.equal(node.key, "k");
  assert.deepEqual(
    node.children.map((child) => (typeof child === "string" ? child : child.tag)),
    ["<b>", "0", "i"],
  );
});

test("a log's line is time, text and how grave it is", () => {
  const line = parseLine("2026-01-31T12:00:00.123456789Z \u001b[31mERROR\u001b[0m cassandra is away");
  assert.deepEqual(line, { time: "2026-01-31T12:00:00.123456789Z", text: "ERROR cassandra is away", tone: "bad" });
  assert.equal(parseLine("2026-01-31T12:00:00Z INFO no error here").tone, "");
  assert.equal(parseLine('{"level":"WARN","message":"x"}').tone, "warn");
  assert.equal(parseLine("plain").time, "");
});

test("a worker's line is level, message and fields, whatever else is JSON stays as it is", () => {
  const line = parseLine(
    '2026-01-31T12:00:00Z {"timestamp":"x","level":"WARN","message":"waits","target":"worker","partition":3}',
  );
  assert.deepEqual([line.text, line.tone], [" WARN waits target=worker partition=3", "warn"]);
  assert.equal(parseLine('{"a":1}').text, '{"a":1}');
  assert.equal(parseLine('{"level":').text, '{"level":');
});

test("found parts of a line take turns with the others", () => {
  assert.deepEqual(split("a Row and a row", "row"), ["a ", "Row", " and a ", "row", ""]);
  assert.deepEqual(split("abc", ""), ["abc"]);
  assert.deepEqual(split("abc", "x"), ["abc"]);
});

test("a record is followed until nothing of its way will change", () => {
  const step = (
    kind: Trace["steps"][number]["kind"],
    outcome: Trace["steps"][number]["outcome"],
    time: string | null,
  ): Trace["steps"][number] => ({ kind, name: "n", outcome, time, seconds: null, message: "", facts: [], row: null });
  const done = [step("Topic", "Done", "2026-01-31T12:00:00Z"), step("Row", "Done", "2026-01-31T12:00:00.250Z")];
  assert.equal(settled({ steps: done, record: null }), true);
  assert.equal(timedWay(done)?.seconds, 0.25);
  assert.equal(settled({ steps: [step("Topic", "Done", null), step("Row", "Waiting", null)], record: null }), false);
  assert.equal(settled({ steps: [step("Row", "Unknown", null)], record: null }), false);
  assert.equal(timedWay([step("Topic", "Done", null), step("Row", "Done", "2026-01-31T12:00:00Z")]), undefined);
});

test("a record is named by topic, partition and offset, all of them", () => {
  assert.deepEqual(placeOf({ topic: "orders", partition: "0", offset: "7" }), {
    topic: "orders",
    partition: 0,
    offset: 7,
  });
  assert.equal(placeOf({ topic: "orders", partition: "", offset: "7" }), undefined);
  assert.equal(placeOf({ topic: "orders", partition: "0", offset: "-1" }), undefined);
});

test("short and long runs both show in the grid", () => {
  assert.equal(cellHeight(undefined, 100), 8);
  assert.ok(cellHeight(5, 3600) > 8);
  assert.equal(cellHeight(3600, 3600), 34);
});

test("a cause is its message and which way it goes, without a bare number", () => {
  const place = { namespace: "demo", name: "shop" };
  const cause = { node: null, severity: 0.7, trend: null, message: "processors are behind" };
  assert.equal(textOf(bottleneck(place, cause, [])), "processors are behind");
  assert.equal(textOf(bottleneck(place, { ...cause, trend: "Growing" }, [])), "processors are behind ✕getting worse");
  assert.equal(
    textOf(bottleneck(place, { ...cause, node: "query" }, [node("query", "Query")])),
    "query: processors are behind",
  );
});

test("the changes of the number of processors are those of the events, and the last one outlives them", () => {
  const time = "2026-01-01T00:00:00Z";
  const event = (object: string, reason: string, message: string): ApiEvent => {
    return { time, type: "Normal", reason, object, message, count: 1 };
  };
  const events = [
    event("StreamingPipeline/users", "ScaledDown", "Scales 4 → 2"),
    event("StreamingPipeline/users", "AllComponentsReady", "Ready"),
    event("Deployment/users-processor", "ScaledUp", "of another controller"),
    event("StreamingPipeline/users", "ScaledUp", "Scales 2 → 4"),
  ];
  const last = { time, from: 4, to: 2, message: "Scales 4 → 2" };
  const shown = (held: typeof events): string[] =>
    changes({ last }, held).map(({ reason, message }) => `${reason}: ${message}`);
  assert.deepEqual(shown(events), ["ScaledDown: Scales 4 → 2", "ScaledUp: Scales 2 → 4"]);
  assert.deepEqual(shown([]), ["ScaledDown: Scales 4 → 2"]);
  assert.deepEqual(changes({ last: null }, []), []);
});

test("the state beside a view's title is a word of its own", () => {
  assert.equal(textOf(viewLabel("overview", "Degraded")), "Overview ▲Degraded");
  assert.equal(textOf(viewLabel("overview", "Ok")), "Overview");
  assert.equal(textOf(viewLabel("lag", "Degraded")), "Lag");
});

test("the graph fills a wide page, and on a narrow one it is as narrow as it can be", () => {
  const { nodes, edges } = shop();
  const width = (room: number): number => layout(nodes, edges, room).width;
  for (const room of [1200, 1440, 1700]) assert.ok(width(room) <= room && width(room) > 0.95 * room, `at ${room}`);
  assert.equal(width(800), width(0));
});

test("sources stand left, tables right, and stores under what rests on them", () => {
  const { nodes, edges } = shop();
  const { nodes: placed, edges: routes } = layout(nodes, edges);
  const at = Object.fromEntries(placed.map((place) => [place.node.id, place]));
  assert.ok(
    (at.source?.x ?? 0) < (at.topic?.x ?? 0) &&
      (at.topic?.x ?? 0) < (at.query?.x ?? 0) &&
      (at.query?.x ?? 0) < (at.table?.x ?? 0),
  );
  assert.equal(at.kafka?.x, at.topic?.x);
  assert.ok((at.kafka?.y ?? 0) > (at.topic?.y ?? 0) && (at.zookeeper?.y ?? 0) > (at.kafka?.y ?? 0));
  assert.equal(routes.length, 5);
});

test("a plan that waits can be approved by those who may", () => {
  const plan = { hash: "0a1b2c3d", approved: false, since: new Date().toISOString(), actions: ["restart 3 pods"] };
  const offer = { may: true, working: false, approve: () => undefined };
  const button = (drawn: VNode): VNode | undefined =>
    drawn.children.find((child): child is VNode => typeof child !== "string" && child.tag === "button");
  const waiting = panel(plan, offer);
  assert.match(textOf(waiting), /Waits for approval.*0a1b2c3d.*restart 3 pods.*Approve/s);
  assert.ok(button(waiting) !== undefined && button(waiting)?.props["disabled"] !== true);
  assert.equal(button(panel(plan, { ...offer, may: false }))?.props["disabled"], true);
  assert.equal(button(panel({ ...plan, approved: true }, offer)), undefined);
});
