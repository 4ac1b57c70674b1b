/**
 * The dialog that asks for a run: the params that the source declares, limits, a check without effect, and what was done.
 */

import type { Page } from "../../app";
import { type Child, h, type VNode } from "../../dom";
import type { Live } from "../../net/live";
import { type Problem, problemOf } from "../../net/problem";
import { announce } from "../../parts/announce";
import { command } from "../../parts/command";
import { dialog } from "../../parts/dialog";
import { textField } from "../../parts/fields";
import { notice } from "../../parts/state";
import { viewUrl } from "../../router";
import type { Done, SourceView, Trigger } from "../../types";
import {
  countProblem,
  durationProblem,
  givenParams,
  initialValues,
  paramFields,
  paramProblem,
  type Values,
} from "./form";

export class TriggerDialog {
  private values: Values;
  private limits = { maxRecords: "", duration: "", retryLimit: "", timeout: "" };
  private working = false;
  private problem: Problem | undefined;
  private checked: Done | undefined;

  constructor(
    private readonly page: Page,
    private readonly live: Live,
    private readonly source: SourceView,
    private readonly closed: () => void,
    private readonly created: (done: Done) => void,
    earlier: Values = {},
  ) {
    this.values = initialValues(source.params, earlier);
  }

  /** Returns the problems of the form itself; empty: it can be sent. */
  private wrong(): string[] {
    const params = this.source.params.flatMap((param) => paramProblem(param, this.values[param.name] ?? "") ?? []);
    const { maxRecords, duration, retryLimit, timeout } = this.limits;
    const limits = [
      countProblem(maxRecords),
      durationProblem(duration),
      countProblem(retryLimit, 0),
      durationProblem(timeout),
    ];
    return [...params, ...limits.filter((problem) => problem !== undefined)];
  }

  private request(dryRun: boolean): Trigger {
    const { maxRecords, duration, retryLimit, timeout } = this.limits;
    return {
      source: this.source.name,
      params: givenParams(this.source.params, this.values),
      dryRun,
      ...(maxRecords === "" ? {} : { maxRecords: Number(maxRecords) }),
      ...(duration === "" ? {} : { duration }),
      ...(retryLimit === "" ? {} : { retryLimit: Number(retryLimit) }),
      ...(timeout === "" ? {} : { timeout }),
    };
  }

  private async send(dryRun: boolean): Promise<void> {
    this.working = true;
    this.problem = undefined;
    this.page.redraw();
    try {
      const done = await this.live.client.trigger(this.request(dryRun));
      if (dryRun) this.checked = done;
      else this.finish(done);
    } catch (cause) {
      this.problem = problemOf(cause);
      this.checked = undefined;
    }
    this.working = false;
    this.page.redraw();
  }

  private finish(done: Done): void {
    announce(done.message);
    this.closed();
    this.created(done);
  }

  private change(): void {
    this.checked = undefined;
    this.problem = undefined;
    this.page.redraw();
  }

  draw(): VNode {
    const { name, params, topic } = this.source;
    const wrong = this.wrong().length > 0 || this.working;
    return dialog(
      {
        title: `Run ${name}`,
        close: this.closed,
        foot: [
          h("button", { type: "button", onClick: this.closed }, "Close"),
          h("button", { type: "button", disabled: wrong, onClick: () => void this.send(true) }, "Check only"),
          h(
            "button",
            { type: "submit", form: "trigger", class: "primary", disabled: wrong },
            this.working ? "Starting …" : "Run it",
          ),
        ],
      },
      h("p", { class: "soft" }, `Fetches the source once into ${topic}. Empty fields use their defaults.`),
      h(
        "form",
        {
          id: "trigger",
          class: "form",
          onSubmit: (event: Event) => {
            event.preventDefault();
            void this.send(false);
          },
        },
        params.length === 0 && h("p", null, "The source declares no params."),
        paramFields(params, this.values, told(this.problem), (param, value) => {
          this.values = { ...this.values, [param]: value };
          this.change();
        }),
        h("details", null, h("summary", null, "Limits and retries"), h("div", { class: "form" }, this.limitFields())),
      ),
      this.problem !== undefined && notice("failed", "Not run", h("p", null, this.problem.message)),
      this.checked !== undefined && checkedBox(this.checked),
    );
  }

  private limitFields(): Child {
    const limit = (name: keyof typeof this.limits, label: string, hint: string, problem: string | undefined): VNode =>
      textField({
        id: `limit-${name}`,
        label,
        hint,
        problem,
        value: this.limits[name],
        typing: true,
        change: (value) => {
          this.limits = { ...this.limits, [name]: value.trim() };
          this.change();
        },
      });
    const { maxRecords, duration, retryLimit, timeout } = this.limits;
    return [
      h(
        "div",
        { class: "pair" },
        limit(
          "maxRecords",
          "Maximum of records",
          "The run succeeds when this many records are in Kafka. Empty: no limit.",
          countProblem(maxRecords),
        ),
        limit("duration", "Duration", "Such as 10m. Empty: until the source ends.", durationProblem(duration)),
      ),
      h(
        "div",
        { class: "pair" },
        limit("retryLimit", "Retries after the first attempt", "Empty: 3.", countProblem(retryLimit, 0)),
        limit("timeout", "Timeout of an attempt", "Such as 30m. Empty: 1h.", durationProblem(timeout)),
      ),
    ];
  }
}

/** Returns the messages of the fields that the server refused, by param. */
export function told(problem: Problem | undefined): Values {
  const fields = problem?.fields ?? [];
  return Object.fromEntries(
    fields.map(({ field: path, message }) => [path.replace(/^(spec\.)?params\./, ""), message]),
  );
}

function checkedBox({ message, kubectl, manifest }: Done): VNode {
  return h(
    "section",
    { class: "stack" },
    h("p", { role: "status" }, `✓ ${message}`),
    command(kubectl),
    manifest !== null && manifest !== undefined && command(manifest, "The manifest that it reads"),
  );
}

/** Returns the address of a run. */
export function runUrl({ namespace, name }: Live, run: string): string {
  return viewUrl(namespace, name, "runs", { run });
}
