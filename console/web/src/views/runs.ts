/**
 * View 6: the runs of a pipeline's sources over time; asking for one or many; cancelling, running again, pausing.
 */

import { closeDetail, type Page, type View } from "../app";
import { type Child, h, type VNode } from "../dom";
import { ago, count, exact, seconds, userName } from "../format";
import type { Live } from "../net/live";
import { Poll } from "../net/poll";
import { type Problem, problemOf } from "../net/problem";
import { announce } from "../parts/announce";
import { command } from "../parts/command";
import { choiceField } from "../parts/fields";
import { held, known, notice, problemNotice } from "../parts/state";
import { table } from "../parts/table";
import { isFinal, runBadge } from "../parts/words";
import type { Done, Run, Runs, SourceView } from "../types";
import { BackfillDialog } from "./runs/backfill";
import { runDetail } from "./runs/detail";
import { runGrid, runSeconds } from "./runs/grid";
import { sourcesTable } from "./runs/sources";
import { runUrl, TriggerDialog } from "./runs/trigger";

/** Rows of the table; the grid shows more. */
const MOST_ROWS = 200;

export function runsView(page: Page, live: Live): View {
  const view = new RunsView(page, live);
  return {
    draw: () => view.draw(),
    moved: () => view.moved(),
    stop: () => view.stop(),
    close: () => closeDetail(page, "run"),
    keys: [{ key: "n", does: "Start a run of the first source that can run", act: () => view.runFirst() }],
  };
}

class RunsView {
  private readonly runs: Poll<Runs>;
  private one: Poll<Run> | undefined;
  private oneName = "";
  private open: TriggerDialog | BackfillDialog | undefined;
  private working = false;
  private problem: Problem | undefined;
  private done: Done | undefined;

  constructor(
    private readonly page: Page,
    private readonly live: Live,
  ) {
    this.runs = new Poll<Runs>(3, live.client.runs, () => page.redraw());
    this.moved();
  }

  stop(): void {
    this.runs.stop();
    this.one?.stop();
  }

  /** Follows the run that the address names. */
  moved(): void {
    const { run = "" } = this.page.route.query;
    if (run === this.oneName) return;
    this.one?.stop();
    this.oneName = run;
    this.one =
      run === ""
        ? undefined
        : new Poll<Run>(
            2,
            (signal) => this.live.client.run(signal, run),
            () => this.page.redraw(),
          );
  }

  runFirst(): void {
    const source = this.live.view.value?.sources.find(({ runnable }) => runnable);
    if (source !== undefined && this.live.view.value?.rights.trigger === true) this.ask(source);
  }

  private ask(source: SourceView, earlier: Record<string, string> = {}): void {
    this.open = new TriggerDialog(
      this.page,
      this.live,
      source,
      () => this.close(),
      (done) => this.created(done),
      earlier,
    );
    this.page.redraw();
  }

  private close(): void {
    this.open = undefined;
    this.page.redraw();
  }

  private created(done: Done): void {
    this.done = done;
    this.runs.again();
    if (done.name !== null && done.name !== undefined) this.page.setQuery({ run: done.name });
  }

  /** Does something that answers with what was done. */
  private async act(action: () => Promise<Done>): Promise<void> {
    this.working = true;
    this.problem = undefined;
    this.page.redraw();
    try {
      const done = await action();
      announce(done.message);
      this.done = done;
      this.one?.again();
      this.runs.again();
      await this.live.again();
    } catch (cause) {
      this.problem = problemOf(cause);
    }
    this.working = false;
    this.page.redraw();
  }

  draw(): Child {
    const view = this.live.view.value;
    return [
      h("header", null, h("h1", null, "Runs")),
      this.problem !== undefined && problemNotice(this.problem, "The action"),
      this.done !== undefined &&
        h(
          "section",
          { class: "panel stack", key: "done" },
          h(
            "div",
            { class: "panel-head" },
            h("p", null, `✓ ${this.done.message}`),
            h(
              "div",
              { class: "end" },
              h("button", { type: "button", class: "quiet", "aria-label": "Close", onClick: () => this.forget() }, "✕"),
            ),
          ),
          command(this.done.kubectl),
          this.done.manifest !== null &&
            this.done.manifest !== undefined &&
            command(this.done.manifest, "The manifest that it reads"),
        ),
      view !== undefined &&
        h(
          "section",
          { class: "panel", key: "sources" },
          h("h2", null, "Sources"),
          view.sources.length === 0
            ? notice("empty", "The pipeline has no source", h("p", null, "Other programs fill its topics."))
            : sourcesTable(this.live, view.sources, {
                rights: view.rights,
                run: (source) => this.ask(source),
                backfill: (source) => {
                  this.open = new BackfillDialog(
                    this.page,
                    this.live,
                    source,
                    () => this.close(),
                    (done) => {
                      this.done = done;
                      this.runs.again();
                    },
                  );
                  this.page.redraw();
                },
                pause: (source, paused) => void this.act(() => this.live.client.pause(source.name, paused)),
                working: this.working,
              }),
        ),
      held(
        this.runs.held,
        "The runs",
        (runs) => this.list(runs),
        () => this.runs.again(),
      ),
      this.open?.draw(),
    ];
  }

  private forget(): void {
    this.done = undefined;
    this.page.redraw();
  }

  private list({ runs, kubectl }: Runs): Child {
    const { source = "", phase = "", run = "" } = this.page.route.query;
    if (runs.length === 0 && run === "") {
      return [
        notice(
          "empty",
          "There are no runs yet",
          h("p", null, "A run fetches a source once. Runs start by schedule or by hand."),
        ),
        command(kubectl),
      ];
    }
    const shown = runs.filter(
      (item) => (source === "" || item.source === source) && (phase === "" || item.phase === phase),
    );
    return [
      h(
        "section",
        { class: "panel", key: "grid" },
        h(
          "div",
          { class: "panel-head" },
          h("h2", null, "Over time"),
          h("span", { class: "soft" }, "newest on the right; taller bars took longer"),
          h("div", { class: "end" }, this.filter(runs)),
        ),
        shown.length === 0
          ? notice("empty", "No run has this source and phase")
          : runGrid(shown, this.live.view.value?.sources.map(({ name }) => name) ?? [], run, (item) =>
              runUrl(this.live, item.name),
            ),
      ),
      h(
        "div",
        { class: run === "" ? "split" : "split open", key: "rows" },
        h("div", { class: "panel tall" }, this.table(shown.slice(0, MOST_ROWS), run)),
        run !== "" && this.detail(),
      ),
      h("div", { key: "command" }, command(kubectl)),
    ];
  }

  private filter(runs: readonly Run[]): VNode {
    const { source = "", phase = "" } = this.page.route.query;
    const choice = (id: string, label: string, value: string, options: string[]): VNode =>
      choiceField({
        id,
        label,
        value,
        options: [["", "all"], ...options],
        beside: true,
        change: (chosen) => this.page.setQuery({ [id]: chosen }),
      });
    const sources = [...new Set([...runs.map((item) => item.source), ...(source === "" ? [] : [source])])].sort();
    return h(
      "div",
      { class: "row" },
      choice("source", "Source", source, sources),
      choice("phase", "Phase", phase, ["Pending", "Running", "Succeeded", "Failed", "Cancelled"]),
    );
  }

  private table(runs: readonly Run[], selected: string): VNode {
    const now = Date.now();
    const open = selected !== "";
    return table<Run>({
      caption: "Runs",
      rows: runs,
      key: ({ name }) => name,
      selected,
      open: ({ name }) => this.page.setQuery({ run: name }),
      columns: [
        {
          head: "Run",
          class: "nowrap",
          cell: (run) => [
            h("a", { href: runUrl(this.live, run.name) }, run.name),
            !open &&
              h(
                "div",
                { class: "soft" },
                Object.entries(run.params)
                  .map(([name, value]) => `${name}=${value}`)
                  .join(" "),
              ),
          ],
        },
        { head: "Phase", cell: runBadge },
        ...(open ? [] : [{ head: "Source", class: "nowrap", cell: ({ source }: Run) => source }]),
        {
          head: "Created",
          class: "nowrap",
          cell: ({ created }) => h("span", { title: exact(created) }, ago(created, now)),
        },
        {
          head: "Took",
          class: "nowrap",
          cell: (run) => {
            const length = runSeconds(run, now);
            return length === undefined
              ? h("span", { class: "soft" }, "not started")
              : seconds(isFinal(run) ? length : Math.round(length));
          },
        },
        ...(open ? [] : [{ head: "Attempts", numeric: true, cell: ({ attempts }: Run) => attempts.length }]),
        {
          head: "Produced",
          numeric: true,
          cell: ({ recordsProduced }) =>
            known(count(recordsProduced), "Unknown until an attempt has reported, or when a result was lost"),
        },
        ...(open
          ? []
          : [
              { head: "Rejected", numeric: true, cell: ({ recordsRejected }: Run) => known(count(recordsRejected)) },
              {
                head: "Requested by",
                cell: ({ requestedBy }: Run) => known(userName(requestedBy), requestedBy ?? undefined),
              },
            ]),
      ],
    });
  }

  private detail(): Child {
    const { one } = this;
    if (one === undefined) return null;
    const close = (): void => this.page.setQuery({ run: "" });
    if (one.held.value === undefined) {
      return h(
        "aside",
        { class: "panel side", key: "run-detail" },
        held(
          one.held,
          `The run ${this.oneName}`,
          () => null,
          () => one.again(),
        ),
        h("button", { type: "button", onClick: close }, "Close"),
      );
    }
    return runDetail(this.live, one.held.value, {
      rights: this.live.view.value?.rights,
      working: this.working,
      close,
      cancel: (run) => void this.act(() => this.live.client.cancel(run.name)),
      rerun: (run) =>
        void this.act(async () => {
          const done = await this.live.client.rerun(run.name);
          if (done.name !== null && done.name !== undefined) this.page.setQuery({ run: done.name });
          return done;
        }),
      edit: (run) => {
        const source = this.live.view.value?.sources.find(({ name }) => name === run.source);
        if (source !== undefined) this.ask(source, run.params);
      },
    });
  }
}
