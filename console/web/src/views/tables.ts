/**
 * View 8: rows of the pipeline's tables: the first ones, or those of a key. Read-only and limited.
 */

import type { Page, View } from "../app";
import { type Child, h, type VNode } from "../dom";
import { plural } from "../format";
import type { Live } from "../net/live";
import { Poll } from "../net/poll";
import { command } from "../parts/command";
import { choiceField, type Option, textField } from "../parts/fields";
import { MASK, preview } from "../parts/json";
import { saveFile } from "../parts/save";
import { held, notice, problemNotice } from "../parts/state";
import { facts, table } from "../parts/table";
import type { Column, Rows, Table, Tables } from "../types";

const LIMITS: Option[] = [
  ["20", "20 rows"],
  ["50", "50 rows"],
  ["200", "200 rows"],
  ["500", "500 rows"],
];

export function tablesView(page: Page, live: Live): View {
  const view = new TablesView(page, live);
  return {
    draw: () => view.draw(),
    moved: () => view.moved(),
    stop: () => view.stop(),
    keys: [{ key: "r", does: "Read the rows again", act: () => view.again() }],
  };
}

/** Returns the key that the address names, as the API takes it; nothing if no part of it is given. Pure. */
export function keyOf(columns: readonly Column[], query: Record<string, string>): string | undefined {
  const given = columns.filter(({ role, name }) => role !== "Regular" && (query[`key.${name}`] ?? "") !== "");
  if (given.length === 0) return undefined;
  return JSON.stringify(Object.fromEntries(given.map(({ name }) => [name, query[`key.${name}`] ?? ""])));
}

/** Returns why rows cannot be asked for by what is given of the key, or nothing. Pure. */
export function keyProblem(columns: readonly Column[], query: Record<string, string>): string | undefined {
  const given = (name: string): boolean => (query[`key.${name}`] ?? "") !== "";
  const parts = columns.filter(({ role }) => role !== "Regular");
  if (!parts.some(({ name }) => given(name))) return undefined;
  const missing = parts.filter(({ role, name }) => role === "Partition" && !given(name));
  if (missing.length > 0)
    return `The whole partition key is needed: give ${missing.map(({ name }) => name).join(", ")} too.`;
  const clustering = parts.filter(({ role }) => role === "Clustering").map(({ name }) => given(name));
  const hole = clustering.indexOf(false);
  return hole >= 0 && clustering.indexOf(true, hole) >= 0
    ? "Give the columns of the clustering key from the first on, without a gap."
    : undefined;
}

class TablesView {
  private readonly tables: Poll<Tables>;
  private rows: Poll<Rows> | undefined;
  private asked = "";

  constructor(
    private readonly page: Page,
    private readonly live: Live,
  ) {
    this.tables = new Poll<Tables>(60, live.client.tables, () => this.moved());
  }

  stop(): void {
    this.tables.stop();
    this.rows?.stop();
  }

  again(): void {
    this.rows?.again();
    this.page.redraw();
  }

  private table(): Table | undefined {
    const tables = this.tables.held.value?.tables ?? [];
    const { table: wanted } = this.page.route.query;
    return tables.find(({ name }) => name === wanted) ?? tables[0];
  }

  moved(): void {
    const chosen = this.table();
    if (chosen !== undefined && keyProblem(chosen.columns, this.page.route.query) === undefined) {
      const { limit = "50" } = this.page.route.query;
      const query = { limit, key: keyOf(chosen.columns, this.page.route.query) };
      const wanted = JSON.stringify([chosen.name, query]);
      if (wanted !== this.asked) {
        this.asked = wanted;
        this.rows?.stop();
        this.rows = new Poll<Rows>(
          0,
          (signal) => this.live.client.rows(signal, chosen.name, query),
          () => this.page.redraw(),
        );
      }
    }
    this.page.redraw();
  }

  draw(): Child {
    const forbidden = this.live.view.value?.rights.rows === false;
    return [
      h(
        "header",
        null,
        h("h1", null, "Tables"),
        h("div", { class: "end" }, h("button", { type: "button", onClick: () => this.again() }, "↻ Read again")),
      ),
      forbidden
        ? problemNotice({ kind: "forbidden", message: "Rows need the right: get streamingpipelines/rows" }, "Rows")
        : held(
            this.tables.held,
            "The tables",
            (tables) => this.content(tables),
            () => this.tables.again(),
          ),
    ];
  }

  private content({ keyspace, tables }: Tables): Child {
    const chosen = this.table();
    if (chosen === undefined)
      return notice("empty", "The pipeline has no table", h("p", null, "Its spec declares no table."));
    const problem = keyProblem(chosen.columns, this.page.route.query);
    return [
      this.choice(keyspace, tables, chosen),
      problem !== undefined ? notice("failed", problem) : this.found(chosen),
    ];
  }

  private choice(keyspace: string, tables: readonly Table[], chosen: Table): VNode {
    const { query } = this.page.route;
    const keys = chosen.columns.filter(({ role }) => role !== "Regular");
    const clear = Object.fromEntries(
      Object.keys(query)
        .filter((name) => name.startsWith("key."))
        .map((name) => [name, ""]),
    );
    return h(
      "form",
      {
        class: "filters panel",
        key: "choice",
        "aria-label": "Which rows",
        onSubmit: (event: Event) => event.preventDefault(),
      },
      choiceField({
        id: "table",
        label: `Table of ${keyspace}`,
        value: chosen.name,
        options: tables.map(({ name }) => name),
        change: (table) => this.page.setQuery({ ...clear, table }),
      }),
      keys.map(({ name, type, role }, index) =>
        textField({
          id: `key-${name}`,
          label: `${name} is`,
          value: query[`key.${name}`] ?? "",
          placeholder: `${type}${role === "Clustering" ? ", optional" : ""}`,
          search: index === 0,
          change: (value) => this.page.setQuery({ [`key.${name}`]: value }),
        }),
      ),
      choiceField({
        id: "limit",
        label: "At most",
        value: query.limit ?? "50",
        options: LIMITS,
        change: (limit) => this.page.setQuery({ limit }),
      }),
    );
  }

  private found(chosen: Table): Child {
    const { rows } = this;
    if (rows === undefined) return notice("loading", "Rows: loading");
    return held(
      rows.held,
      "The rows",
      (value) => [
        value.rows.length === 0
          ? notice(
              "empty",
              keyOf(chosen.columns, this.page.route.query) === undefined
                ? "The table has no rows yet"
                : "No row has this key",
            )
          : h("section", { class: "panel tall rows", key: "rows" }, rowTable(value)),
        h(
          "div",
          { class: "row", key: "more" },
          h(
            "span",
            { class: "soft" },
            `${plural(value.rows.length, "row")}${value.more ? "; more rows exist" : ", which is all"}. ${
              keyOf(chosen.columns, this.page.route.query) === undefined
                ? "Rows are ordered by the hash of their partition key, not by time."
                : ""
            }`,
          ),
          h(
            "button",
            {
              type: "button",
              class: "small",
              disabled: value.rows.length === 0,
              onClick: () => saveRows(chosen.name, value),
            },
            "Download",
          ),
        ),
        h("div", { class: "columns", key: "command" }, command(value.cql, "The statement"), command(value.kubectl)),
      ],
      () => rows.again(),
    );
  }
}

/** What stands behind the name of a column of the key. */
const ROLES: Record<Column["role"], string> = {
  Partition: " (partition key)",
  Clustering: " (clustering key)",
  Regular: "",
};

/** Returns rows as a table. */
function rowTable({ columns, rows }: Rows): VNode {
  const indexed = rows.map((cells, index) => ({ cells, index }));
  return table<{ cells: unknown[]; index: number }>({
    caption: "Rows",
    rows: indexed,
    key: ({ index }) => String(index),
    columns: columns.map((column, at) => ({
      head: column.name + ROLES[column.role],
      title: column.type,
      cell: ({ cells }) => cell(cells[at], column.masked),
    })),
  });
}

/** Returns one row as its columns, one under the other. */
export function rowFacts({ columns, rows }: Rows): VNode {
  const [cells = []] = rows;
  return facts(columns.map((column, at): [string, Child] => [column.name, cell(cells[at], column.masked)]));
}

function cell(value: unknown, masked: boolean): Child {
  if (masked)
    return h("span", { class: "masked", title: "Masked: you lack the right to see this field" }, `${MASK} masked`);
  if (value === null || value === undefined) return h("span", { class: "soft" }, "null");
  const text = typeof value === "string" ? value : JSON.stringify(value);
  return h("code", { title: text.length > 30 ? text : undefined }, preview(text, 120));
}

function saveRows(name: string, { columns, rows }: Rows): void {
  const lines = rows.map((cells) =>
    JSON.stringify(Object.fromEntries(columns.map((column, index) => [column.name, cells[index] ?? null]))),
  );
  saveFile(`${name}.ndjson`, "application/x-ndjson", `${lines.join("\n")}\n`);
}
