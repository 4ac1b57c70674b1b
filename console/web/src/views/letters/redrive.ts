/**
 * Redriving dead letters: by reason, counted before anything is sent, and what became of them.
 */

import type { Page } from "../../app";
import { type Child, h, type VNode } from "../../dom";
import { count, plural } from "../../format";
import type { Live } from "../../net/live";
import { type Problem, problemOf } from "../../net/problem";
import { announce } from "../../parts/announce";
import { command } from "../../parts/command";
import { dialog } from "../../parts/dialog";
import { tick } from "../../parts/fields";
import { badge, notice } from "../../parts/state";
import { table } from "../../parts/table";
import type { DeadLetters, Redrive, RedriveAnswer } from "../../types";
import { why } from "../runs/detail";

/** What is redriven: the letters of one reason, or of all. */
type Reason = string | undefined;

export interface RedriveActions {
  /** Whether the viewer may; null and undefined: unknown. */
  right: boolean | null | undefined;
  /** What the last redrive did. */
  done: RedriveAnswer | undefined;
  redrive(reason: Reason): void;
  forget(): void;
}

/** Returns the panels that redrive, and the commands that do the same. */
export function redrivePanels({ reasons, letters, redrive }: DeadLetters, actions: RedriveActions): VNode {
  const rows = [...reasons, { reason: undefined, count: letters.length }];
  const off = why(actions.right, "create pods/exec");
  return h(
    "div",
    { class: "columns", key: "redrive" },
    h(
      "section",
      { class: "panel stack" },
      h("h2", null, "Redrive"),
      h("p", { class: "soft" }, "Fix the cause first, then send the records back through the queries."),
      off !== undefined && h("p", null, off),
      table<{ reason: Reason; count: number }>({
        caption: "Letters that can be redriven",
        rows,
        key: ({ reason }) => reason ?? "",
        columns: [
          { head: "Reason", cell: ({ reason }) => (reason === undefined ? "all reasons" : badge("bad", reason)) },
          { head: "Of the newest", numeric: true, cell: (row) => count(row.count) },
          {
            head: "",
            class: "nowrap",
            cell: ({ reason }) =>
              h(
                "button",
                {
                  type: "button",
                  disabled: actions.right !== true,
                  title: off,
                  "aria-label": `Redrive ${reason ?? "all reasons"}`,
                  onClick: () => actions.redrive(reason),
                },
                "Redrive …",
              ),
          },
        ],
      }),
      actions.done !== undefined && outcome(actions.done, actions.forget),
    ),
    h(
      "section",
      { class: "panel stack" },
      h("h2", null, "What would be sent, with kubectl"),
      redrive.map((line, index) => command(line, reasons[index]?.reason)),
    ),
  );
}

function outcome(answer: RedriveAnswer, forget: () => void): VNode {
  return h(
    "section",
    { class: "stack", "aria-label": "What the redrive did", key: "done" },
    h(
      "div",
      { class: "panel-head" },
      h("p", { role: "status" }, `${isKnown(answer) ? "✓" : "?"} ${answer.message}`),
      h(
        "div",
        { class: "end" },
        h("button", { type: "button", class: "quiet", "aria-label": "Close the outcome", onClick: forget }, "✕"),
      ),
    ),
    counts(answer, "sent"),
    command(answer.kubectl, "What was done, with kubectl"),
  );
}

/** The dialog that redrives: it counts first, and sends then. */
export class RedriveDialog {
  private again = false;
  private working: "counts" | "sends" | undefined;
  private problem: Problem | undefined;
  private counted: RedriveAnswer | undefined;

  constructor(
    private readonly page: Page,
    private readonly live: Live,
    private readonly reason: Reason,
    private readonly closed: () => void,
    private readonly done: (answer: RedriveAnswer) => void,
  ) {}

  private async send(dryRun: boolean): Promise<void> {
    this.working = dryRun ? "counts" : "sends";
    this.problem = undefined;
    this.page.redraw();
    try {
      const answer = await this.live.client.redrive(request(this.reason, this.again, dryRun));
      if (dryRun) this.counted = answer;
      else this.finish(answer);
    } catch (cause) {
      this.problem = problemOf(cause);
      this.counted = undefined;
    }
    this.working = undefined;
    this.page.redraw();
  }

  private finish(answer: RedriveAnswer): void {
    announce(answer.message);
    this.closed();
    this.done(answer);
  }

  draw(): VNode {
    const { counted, working } = this;
    return dialog(
      {
        title: `Redrive ${this.reason ?? "all reasons"}`,
        close: this.closed,
        foot: [
          h("button", { type: "button", onClick: this.closed }, "Close"),
          h(
            "button",
            {
              type: "submit",
              form: "redrive",
              class: counted === undefined ? "primary" : undefined,
              disabled: working !== undefined,
            },
            working === "counts" ? "Counting …" : "Count the records",
          ),
          counted !== undefined &&
            h(
              "button",
              {
                type: "button",
                class: "primary",
                disabled: working !== undefined || toSend(counted) === 0,
                onClick: () => void this.send(false),
              },
              working === "sends" ? "Redriving …" : redriveTitle(counted),
            ),
        ],
      },
      h(
        "p",
        { class: "soft" },
        "The records return to their topics with their original write time, so newer rows are not overwritten. Dead letters stay in their topic; a redrive continues where the last one for the same reason ended.",
      ),
      h(
        "form",
        {
          id: "redrive",
          class: "form",
          onSubmit: (event: Event) => {
            event.preventDefault();
            void this.send(true);
          },
        },
        tick("again", "Start from the oldest, including records that failed again", this.again, () => this.toggle()),
      ),
      working !== undefined && h("p", { role: "status" }, "A processor pod runs the redrive; this may take a minute."),
      this.problem !== undefined && notice("failed", "Not done", h("p", null, this.problem.message)),
      counted !== undefined && [
        h("p", { role: "status", key: "counted" }, counted.message),
        counts(counted, "would be sent"),
        command(counted.kubectl),
      ],
    );
  }

  private toggle(): void {
    this.again = !this.again;
    this.counted = undefined;
    this.problem = undefined;
    this.page.redraw();
  }
}

/** Returns what is asked of the console. */
export function request(reason: Reason, again: boolean, dryRun: boolean): Redrive {
  return { again, dryRun, ...(reason === undefined ? {} : { reason }) };
}

function isKnown({ redriven }: RedriveAnswer): boolean {
  return redriven !== null && redriven !== undefined;
}

/** Returns how many records a dry run found; nothing if it did not end in time. */
export function toSend({ redriven }: RedriveAnswer): number | undefined {
  if (redriven === null || redriven === undefined) return undefined;
  return Object.values(redriven.sent).reduce((sum, records) => sum + records, 0);
}

/** Returns the title of the button that sends what was counted. */
export function redriveTitle(counted: RedriveAnswer): string {
  const records = toSend(counted);
  return records === undefined ? "Redrive" : `Redrive ${plural(records, "record")}`;
}

interface Counted {
  what: string;
  why: string;
  number: number;
}

/** Returns what became of letters, line by line: what was sent by reason, and what was left by why, most first. */
export function countedLines({ redriven }: RedriveAnswer, sent: string): Counted[] {
  if (redriven === null || redriven === undefined) return [];
  const lines = (what: string, numbers: Record<string, number>): Counted[] =>
    Object.entries(numbers)
      .map(([why, number]) => ({ what, why, number }))
      .sort((one, other) => other.number - one.number);
  return [...lines(sent, redriven.sent), ...lines("left", redriven.kept)];
}

function counts(answer: RedriveAnswer, sent: string): Child {
  const rows = countedLines(answer, sent);
  if (rows.length === 0) return null;
  return table<Counted>({
    caption: "Letters of the redrive",
    rows,
    key: ({ what, why }) => `${what} ${why}`,
    columns: [
      { head: "Outcome", class: "nowrap", cell: ({ what }) => badge(what === "left" ? "warn" : "ok", what) },
      { head: "Reason", class: "wide", cell: ({ why }) => why },
      { head: "Letters", numeric: true, cell: ({ number }) => count(number) },
    ],
  });
}
