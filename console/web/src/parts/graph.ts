/**
 * The pipeline as a graph: what flows is laid out from left to right by dagre, and the stores stand under what rests on them.
 */

import { graphlib, layout as dagreLayout } from "@dagrejs/dagre";
import { type Child, h, type VNode } from "../dom";
import { rate } from "../format";
import type { ApiNode, Edge } from "../types";

/** Width of nodes and of the gaps between them: the least, and the most on a wide page. */
const LEAST = { node: 204, gap: 66 };
const MOST = { node: 300, gap: 240 };
/** Heights hold all lines that a node may have. */
const NODE_HEIGHT = 132;
const STORE_HEIGHT = 114;
const STORE_GAP = 56;
const SPACE = 24;

export interface Placed {
  node: ApiNode;
  /** Upper left corner. */
  x: number;
  y: number;
  width: number;
  height: number;
}

export interface Route {
  edge: Edge;
  points: { x: number; y: number }[];
}

export interface Layout {
  width: number;
  height: number;
  nodes: Placed[];
  edges: Route[];
}

/** Returns where everything stands, in `room` pixels if it fits in. Pure: the same graph is laid out the same. */
export function layout(nodes: readonly ApiNode[], edges: readonly Edge[], room = 0): Layout {
  const flowNodes = nodes.filter(({ kind }) => kind !== "Store");
  const flowEdges = edges.filter(({ kind }) => kind === "Flow");
  const narrow = layFlow(flowNodes, flowEdges, LEAST);
  const ranks = new Set(narrow.nodes.map(({ x }) => Math.round(x))).size;
  const size = spread(ranks, room);
  const flow = layFlow(flowNodes, flowEdges, size);
  // The dead letters stand in Kafka as every topic does; a line of their own would only cross the others.
  const letters = new Set(nodes.filter(({ kind }) => kind === "DeadLetters").map(({ id }) => id));
  const resting = edges.filter(({ kind, from }) => kind === "RestsOn" && !letters.has(from));
  const stores = layStores(
    nodes.filter(({ kind }) => kind === "Store"),
    resting,
    flow.nodes,
    size.node,
  );
  const placed = [...flow.nodes, ...stores];
  const rests = restEdges(resting, placed);
  return {
    width: Math.max(...placed.map(({ x, width }) => x + width), 0) + SPACE,
    height: Math.max(...placed.map(({ y, height }) => y + height), 0) + SPACE,
    nodes: placed,
    edges: [...flow.edges, ...rests],
  };
}

interface Size {
  /** Width of a node. */
  node: number;
  /** From a node to the next. */
  gap: number;
}

/** Returns the sizes with which so many ranks of nodes fill the room: first the nodes grow, then the gaps. Pure. */
function spread(ranks: number, room: number): Size {
  const spare = room - (ranks * LEAST.node + (ranks - 1) * LEAST.gap + 2 * SPACE);
  if (ranks === 0 || spare <= 0) return LEAST;
  const node = Math.min(MOST.node, LEAST.node + Math.floor((spare * 0.6) / ranks));
  const left = spare - ranks * (node - LEAST.node);
  const gap = ranks === 1 ? LEAST.gap : Math.min(MOST.gap, LEAST.gap + Math.floor(left / (ranks - 1)));
  return { node, gap };
}

function layFlow(nodes: readonly ApiNode[], edges: readonly Edge[], size: Size): { nodes: Placed[]; edges: Route[] } {
  const graph = new graphlib.Graph({ multigraph: true });
  graph.setGraph({ rankdir: "LR", nodesep: 22, ranksep: size.gap, marginx: SPACE, marginy: SPACE });
  graph.setDefaultEdgeLabel(() => ({}));
  for (const node of nodes) graph.setNode(node.id, { width: size.node, height: NODE_HEIGHT });
  const drawn = edges.filter(({ from, to }) => graph.hasNode(from) && graph.hasNode(to));
  for (const [index, { from, to }] of drawn.entries()) graph.setEdge(from, to, {}, String(index));
  dagreLayout(graph);
  return {
    nodes: nodes.map((node) => {
      const at = graph.node(node.id) as { x: number; y: number };
      return { node, x: at.x - size.node / 2, y: at.y - NODE_HEIGHT / 2, width: size.node, height: NODE_HEIGHT };
    }),
    edges: drawn.map((edge, index) => {
      const { points } = graph.edge(edge.from, edge.to, String(index)) as { points: { x: number; y: number }[] };
      return { edge, points };
    }),
  };
}

/** Stores stand in rows below the flow: under the middle of what rests on them, a store of a store one row lower. */
function layStores(
  stores: readonly ApiNode[],
  rests: readonly Edge[],
  flow: readonly Placed[],
  width: number,
): Placed[] {
  const placed: Placed[] = [];
  const bottom = Math.max(...flow.map(({ y, height }) => y + height), 0);
  const middles = new Map(flow.map(({ node, x, width }) => [node.id, x + width / 2]));
  const wanted = stores
    .map((node) => {
      const above = rests.filter(({ to }) => to === node.id).map(({ from }) => from);
      const depth = above.some((id) => stores.some((store) => store.id === id)) ? 1 : 0;
      return { node, above, depth };
    })
    .sort((left, right) => left.depth - right.depth);

  let free = [SPACE, SPACE];
  for (const { node, above, depth } of wanted) {
    const known = above.map((id) => middles.get(id)).filter((middle): middle is number => middle !== undefined);
    const middle = known.length === 0 ? 0 : known.reduce((sum, x) => sum + x, 0) / known.length;
    const x = Math.max(middle - width / 2, free[depth] ?? SPACE);
    free = free.map((edge, row) => (row === depth ? x + width + SPACE : edge));
    middles.set(node.id, x + width / 2);
    placed.push({
      node,
      x,
      y: bottom + STORE_GAP + depth * (STORE_HEIGHT + STORE_GAP / 2),
      width,
      height: STORE_HEIGHT,
    });
  }
  return placed;
}

function restEdges(rests: readonly Edge[], placed: readonly Placed[]): Route[] {
  const at = new Map(placed.map((place) => [place.node.id, place]));
  return rests.flatMap((edge) => {
    const above = at.get(edge.from);
    const below = at.get(edge.to);
    if (above === undefined || below === undefined) return [];
    const start = { x: above.x + above.width / 2, y: above.y + above.height };
    const end = { x: below.x + below.width / 2, y: below.y };
    const bend = end.y - STORE_GAP / 4;
    return [
      { edge, points: start.x === end.x ? [start, end] : [start, { x: start.x, y: bend }, { x: end.x, y: bend }, end] },
    ];
  });
}

export interface GraphOptions {
  nodes: readonly ApiNode[];
  edges: readonly Edge[];
  label: string;
  /** Width that there is, in pixels. */
  room: number;
  /** What stands in a node. */
  draw(node: ApiNode): Child;
  href(node: ApiNode): string;
}

/** Returns the graph; it is one picture to look at, and a list of links for the keyboard and for those who hear it. */
export function graph(options: GraphOptions): VNode {
  const { width, height, nodes, edges } = layout(options.nodes, options.edges, options.room);
  return h(
    "div",
    { class: "graph", tabindex: 0, role: "region", "aria-label": options.label },
    h(
      "svg",
      { width, height, viewBox: `0 0 ${width} ${height}` },
      h(
        "defs",
        null,
        h(
          "marker",
          {
            id: "arrow",
            viewBox: "0 0 8 8",
            refX: 7,
            refY: 4,
            markerWidth: 9,
            markerHeight: 9,
            markerUnits: "userSpaceOnUse",
            orient: "auto",
          },
          h("path", { d: "M0 0L8 4L0 8z", class: "arrow" }),
        ),
      ),
      edges.map(drawEdge),
      nodes.map(({ node, x, y, width: wide, height: high }) =>
        h(
          "foreignObject",
          { key: node.id, x, y, width: wide, height: high },
          h(
            "a",
            { class: `node ${node.kind} ${node.state}`, href: options.href(node), title: node.message ?? undefined },
            options.draw(node),
          ),
        ),
      ),
    ),
  );
}

function drawEdge({ edge, points }: Route): VNode {
  const path = edge.kind === "Flow" ? curve(points) : `M${points.map(({ x, y }) => `${x} ${y}`).join("L")}`;
  const middle = points[Math.floor(points.length / 2)];
  const known = typeof edge.rate === "number";
  const strength = known ? Math.min(4, 1.25 + Math.log10(1 + (edge.rate ?? 0)) * 0.9) : 1.25;
  return h(
    "g",
    {
      key: `${edge.from}>${edge.to}`,
      class: `edge ${edge.kind}${known ? "" : " unknown"}${edge.rate === 0 ? " still" : ""}`,
    },
    h("path", {
      d: path,
      "stroke-width": strength.toFixed(1),
      "marker-end": edge.kind === "Flow" ? "url(#arrow)" : undefined,
    }),
    edge.kind === "Flow" &&
      middle !== undefined &&
      h("text", { x: middle.x, y: middle.y - 8, "text-anchor": "middle" }, known ? rate(edge.rate) : "?"),
  );
}

function curve(points: readonly { x: number; y: number }[]): string {
  const [first, ...rest] = points;
  if (first === undefined) return "";
  let path = `M${first.x} ${first.y}`;
  let from = first;
  for (const to of rest) {
    const half = (to.x - from.x) / 2;
    path += `C${from.x + half} ${from.y} ${to.x - half} ${to.y} ${to.x} ${to.y}`;
    from = to;
  }
  return path;
}
