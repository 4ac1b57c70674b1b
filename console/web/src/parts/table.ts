/**
 * Tables: a caption for those who hear them, rows that open with a click, Enter or the arrow keys.
 */

import { type Child, h, type VNode } from "../dom";

export interface Column<T> {
  head: string;
  cell(row: T): Child;
  /** Numbers stand right. */
  numeric?: boolean;
  title?: string;
  /** Class of head and cells. */
  class?: string;
}

export interface TableOptions<T> {
  caption: string;
  columns: Column<T>[];
  rows: readonly T[];
  key(row: T): string;
  /** Opens a row. Absent: rows are not opened. */
  open?(row: T): void;
  selected?: string | undefined;
  /** Class of a row. */
  tone?(row: T): string | undefined;
}

/** Returns a table in a frame that scrolls by itself. */
export function table<T>(options: TableOptions<T>): VNode {
  const { caption, columns } = options;
  return h(
    "div",
    { class: "table", tabindex: 0, role: "region", "aria-label": caption },
    h(
      "table",
      null,
      h("caption", { class: "hidden-text" }, caption),
      h(
        "thead",
        null,
        h(
          "tr",
          null,
          columns.map((column) =>
            h("th", { scope: "col", class: cellClass(column), title: column.title }, column.head),
          ),
        ),
      ),
      h(
        "tbody",
        { onKeydown: options.open === undefined ? undefined : moveBetweenRows },
        options.rows.map((row) => bodyRow(options, row)),
      ),
    ),
  );
}

function bodyRow<T>(options: TableOptions<T>, row: T): VNode {
  const { open, columns } = options;
  const key = options.key(row);
  const chosen = options.selected === key;
  const tone = options.tone?.(row) ?? "";
  const props =
    open === undefined
      ? {}
      : {
          tabindex: 0,
          "aria-current": chosen ? "true" : undefined,
          onClick: (event: MouseEvent) => {
            if (!isControl(event.target)) open(row);
          },
          onKeydown: (event: KeyboardEvent) => {
            if (event.key === "Enter" && event.target === event.currentTarget) open(row);
          },
        };
  return h(
    "tr",
    { key, class: `${tone}${open === undefined ? "" : " opens"}`.trim() || undefined, ...props },
    columns.map((column) => h("td", { class: cellClass(column) }, column.cell(row))),
  );
}

function cellClass<T>(column: Column<T>): string | undefined {
  return [column.numeric === true ? "right number" : "", column.class ?? ""].join(" ").trim() || undefined;
}

/** A click on a link or button in a row, or one that ends a selection of text, does not open the row. */
function isControl(target: EventTarget | null): boolean {
  if (target instanceof Element && target.closest("a, button, input, select, summary") !== null) return true;
  return (getSelection()?.toString() ?? "") !== "";
}

function moveBetweenRows(event: KeyboardEvent): void {
  const row = event.target;
  if (!(row instanceof HTMLTableRowElement)) return;
  const to =
    event.key === "ArrowDown" || event.key === "j"
      ? row.nextElementSibling
      : event.key === "ArrowUp" || event.key === "k"
        ? row.previousElementSibling
        : null;
  if (to instanceof HTMLElement) {
    event.preventDefault();
    to.focus();
  }
}

/** Returns names and values, one under the other. */
export function facts(entries: [string, Child][]): VNode {
  return h(
    "dl",
    { class: "facts" },
    entries.map(([name, value]) => [h("dt", null, name), h("dd", null, value)]),
  );
}
