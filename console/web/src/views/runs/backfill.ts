/**
 * The dialog that asks for many runs: a range of time cut into steps, listed before anything is created.
 */

import type { Page } from "../../app";
import { type Child, h, type VNode } from "../../dom";
import { exact, plural } from "../../format";
import type { Live } from "../../net/live";
import { type Problem, problemOf } from "../../net/problem";
import { announce } from "../../parts/announce";
import { command } from "../../parts/command";
import { dialog } from "../../parts/dialog";
import { choiceField, type Option, textField, type TextOptions } from "../../parts/fields";
import { badge, notice } from "../../parts/state";
import { table } from "../../parts/table";
import type { Backfill, BackfillAnswer, BackfillRun, Done, SourceView } from "../../types";
import { moment } from "../messages/query";
import {
  countProblem,
  durationProblem,
  givenParams,
  initialValues,
  paramFields,
  paramProblem,
  type Values,
} from "./form";
import { told } from "./trigger";

export class BackfillDialog {
  private values: Values;
  private range = { from: "", to: "", step: "24h", fromParam: "", toParam: "", maxActive: "1", name: "" };
  private working = false;
  private problem: Problem | undefined;
  private listed: BackfillAnswer | undefined;

  constructor(
    private readonly page: Page,
    private readonly live: Live,
    private readonly source: SourceView,
    private readonly closed: () => void,
    private readonly created: (done: Done | undefined) => void,
  ) {
    this.values = initialValues(source.params);
    if ((source.schedule?.cron ?? null) !== null) this.range.step = "";
  }

  /** Params that no step fills in, and that are therefore asked for. */
  private fixedParams(): SourceView["params"] {
    return this.source.params.filter(({ name }) => name !== this.range.fromParam && name !== this.range.toParam);
  }

  private wrong(): string[] {
    const { from, to, step, maxActive } = this.range;
    const begin = moment(from);
    const end = moment(to);
    const problems = [
      begin === undefined || end === undefined
        ? "A range is needed."
        : begin >= end
          ? "The end is before the start."
          : undefined,
      step === "" && !this.hasCron() ? "A step is needed." : durationProblem(step),
      countProblem(maxActive),
      ...this.fixedParams().map((param) => paramProblem(param, this.values[param.name] ?? "")),
    ];
    return problems.filter((problem) => problem !== undefined);
  }

  private hasCron(): boolean {
    return (this.source.schedule?.cron ?? null) !== null;
  }

  private request(dryRun: boolean): Backfill {
    const { from, to, step, fromParam, toParam, maxActive, name } = this.range;
    return {
      source: this.source.name,
      from: moment(from) ?? "",
      to: moment(to) ?? "",
      params: givenParams(this.fixedParams(), this.values),
      dryRun,
      ...(step === "" ? {} : { step }),
      ...(fromParam === "" ? {} : { fromParam }),
      ...(toParam === "" ? {} : { toParam }),
      ...(maxActive === "" ? {} : { maxActive: Number(maxActive) }),
      // The name that the list was made with, so that what is created is what was shown.
      ...(this.listed !== undefined && !dryRun ? { name: this.listed.name } : name === "" ? {} : { name }),
    };
  }

  private async send(dryRun: boolean): Promise<void> {
    this.working = true;
    this.problem = undefined;
    this.page.redraw();
    try {
      const answer = await this.live.client.backfill(this.request(dryRun));
      this.listed = answer;
      if (!dryRun) {
        announce(answer.done?.message ?? `${plural(answer.runs.length, "run")} created.`);
        this.closed();
        this.created(answer.done ?? undefined);
      }
    } catch (cause) {
      this.problem = problemOf(cause);
    }
    this.working = false;
    this.page.redraw();
  }

  draw(): VNode {
    const wrong = this.wrong();
    const fresh = this.listed?.runs.filter(({ exists }) => !exists).length ?? 0;
    return dialog(
      {
        title: `Backfill ${this.source.name}`,
        wide: true,
        close: this.closed,
        foot: [
          h("button", { type: "button", onClick: this.closed }, "Close"),
          h(
            "button",
            {
              type: "submit",
              form: "backfill",
              class: this.listed === undefined ? "primary" : undefined,
              disabled: wrong.length > 0 || this.working,
            },
            "List the runs",
          ),
          this.listed !== undefined &&
            h(
              "button",
              {
                type: "button",
                class: "primary",
                disabled: this.working || fresh === 0,
                onClick: () => void this.send(false),
              },
              `Create ${plural(fresh, "run")}`,
            ),
        ],
      },
      h(
        "p",
        { class: "soft" },
        "A backfill cuts a range of time into steps and makes a run of each. List the runs first; the list creates nothing.",
      ),
      h(
        "form",
        {
          id: "backfill",
          class: "form",
          onSubmit: (event: Event) => {
            event.preventDefault();
            void this.send(true);
          },
        },
        this.fields(),
      ),
      wrong.length > 0 && h("p", { class: "soft" }, wrong[0]),
      this.problem !== undefined && notice("failed", "Not done", h("p", null, this.problem.message)),
      this.listed !== undefined && listedRuns(this.listed),
    );
  }

  private fields(): Child {
    const names: Option[] = [["", "–"], ...this.source.params.map(({ name }) => name)];
    const change = (name: keyof typeof this.range, value: string): void => {
      this.range = { ...this.range, [name]: value };
      this.change();
    };
    const part = (name: keyof typeof this.range, label: string, more: Partial<TextOptions> = {}): VNode =>
      textField({
        id: `backfill-${name}`,
        label,
        value: this.range[name],
        typing: true,
        change: (value) => change(name, value),
        ...more,
      });
    const param = (name: "fromParam" | "toParam", label: string): VNode =>
      choiceField({
        id: `backfill-${name}`,
        label,
        value: this.range[name],
        options: names,
        change: (value) => change(name, value),
      });
    return [
      h(
        "div",
        { class: "pair" },
        part("from", "From", { type: "datetime-local" }),
        part("to", "To", { type: "datetime-local" }),
      ),
      h(
        "div",
        { class: "pair" },
        part("step", "Step", {
          hint: this.hasCron() ? "Such as 24h. Empty: the due times of the schedule." : "Such as 24h.",
          problem: durationProblem(this.range.step),
        }),
        part("maxActive", "Runs at a time", { problem: countProblem(this.range.maxActive) }),
      ),
      names.length > 1 &&
        h(
          "div",
          { class: "pair" },
          param("fromParam", "Param for the start of a step"),
          param("toParam", "Param for the end of a step"),
        ),
      paramFields(this.fixedParams(), this.values, told(this.problem), (name, value) => {
        this.values = { ...this.values, [name]: value };
        this.change();
      }),
    ];
  }

  private change(): void {
    this.listed = undefined;
    this.problem = undefined;
    this.page.redraw();
  }
}

function listedRuns({ name, runs, done }: BackfillAnswer): Child {
  return [
    h("p", { role: "status" }, `${plural(runs.length, "run")} of the backfill ${name}.`),
    h(
      "div",
      { class: "tall" },
      table<BackfillRun>({
        caption: "The runs of the backfill",
        rows: runs,
        key: (run) => run.name,
        columns: [
          { head: "Run", class: "nowrap", cell: (run) => run.name },
          { head: "From", class: "nowrap", cell: ({ from }) => exact(from) },
          { head: "To", class: "nowrap", cell: ({ to }) => exact(to) },
          {
            head: "Params",
            cell: ({ params }) =>
              h(
                "code",
                null,
                Object.entries(params)
                  .map(([key, value]) => `${key}=${value}`)
                  .join(" "),
              ),
          },
          { head: "", cell: ({ exists }) => exists && badge("unknown", "exists already") },
        ],
      }),
    ),
    done !== null && done !== undefined && command(done.kubectl),
  ];
}
