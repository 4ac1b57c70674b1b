/**
 * The plan that waits for approval: what it changes, and the button that approves exactly that.
 */

import type { Page } from "../app";
import { type Child, h, type VNode } from "../dom";
import { ago, exact } from "../format";
import type { Live } from "../net/live";
import { type Problem, problemOf } from "../net/problem";
import { announce } from "../parts/announce";
import { command } from "../parts/command";
import { badge, problemNotice } from "../parts/state";
import type { Done, PipelineView, Plan } from "../types";

/** The panel, and what came of the last approval. */
export class PlanPanel {
  private done: Done | undefined;
  private problem: Problem | undefined;
  private working = false;

  constructor(
    private readonly page: Page,
    private readonly live: Live,
  ) {}

  draw({ plan, rights }: Pick<PipelineView, "plan" | "rights">): Child {
    const { done, problem, working } = this;
    return [
      problem !== undefined && problemNotice(problem, "The approval"),
      done !== undefined &&
        h(
          "section",
          { class: "panel stack", key: "approved" },
          h("p", null, `✓ ${done.message}`),
          command(done.kubectl),
        ),
      plan !== null &&
        plan !== undefined &&
        panel(plan, { may: rights.pause, working, approve: () => void this.approve(plan) }),
    ];
  }

  private async approve({ hash }: Plan): Promise<void> {
    this.working = true;
    this.problem = undefined;
    this.page.redraw();
    try {
      this.done = await this.live.client.approve(hash);
      announce(this.done.message);
      await this.live.again();
    } catch (cause) {
      this.problem = problemOf(cause);
    }
    this.working = false;
    this.page.redraw();
  }
}

/** What the panel offers. */
export interface Offer {
  /** Whether the viewer may change the pipeline. */
  may: boolean | null | undefined;
  working: boolean;
  approve(): void;
}

/** Returns the panel of a plan. Pure. */
export function panel({ hash, approved, since, actions }: Plan, { may, working, approve }: Offer): VNode {
  return h(
    "section",
    { class: "panel stack", key: "plan" },
    h(
      "div",
      { class: "panel-head" },
      h("h2", null, "Plan"),
      approved ? badge("busy", "Approved") : badge("paused", "Waits for approval"),
      h("span", { class: "soft", title: exact(since) }, `${hash}, ${ago(since, Date.now())}`),
    ),
    h(
      "ol",
      null,
      actions.map((action) => h("li", null, action)),
    ),
    !approved &&
      h(
        "button",
        {
          type: "button",
          disabled: working || may !== true,
          title: may === true ? "Approves this plan and no other" : "Needs the right to patch streamingpipelines",
          onClick: approve,
        },
        "Approve",
      ),
  );
}
