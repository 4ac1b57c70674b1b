/**
 * View 11: the custom resource as it is written, how that differs from what runs, and what the operator will do about it.
 */

import type { Page, View } from "../app";
import { type Child, h, type VNode } from "../dom";
import type { Live } from "../net/live";
import { Poll } from "../net/poll";
import { command, copyButton } from "../parts/command";
import { saveFile } from "../parts/save";
import { badge, held, notice } from "../parts/state";
import { table } from "../parts/table";
import type { Difference, Resource } from "../types";
import { conditions } from "./overview";

export function resourceView(page: Page, live: Live): View {
  const poll = new Poll<Resource>(10, live.client.resource, () => page.redraw());
  return {
    draw: () => [
      h("header", null, h("h1", null, "Resource")),
      held(
        poll.held,
        "The resource",
        (resource) => content(live, resource),
        () => poll.again(),
      ),
    ],
    stop: () => poll.stop(),
  };
}

function content({ namespace, name }: Live, resource: Resource): Child {
  const { generation, observedGeneration, rejected, yaml, kubectl } = resource;
  const behind = observedGeneration !== generation;
  return [
    rejected.length > 0 &&
      notice(
        "failed",
        "The operator refuses this spec",
        h(
          "ul",
          null,
          rejected.map((line) => h("li", null, line)),
        ),
      ),
    h(
      "section",
      { class: "panel", key: "differences" },
      h(
        "div",
        { class: "panel-head" },
        h("h2", null, "Differences between spec and cluster"),
        behind
          ? badge("busy", `generation ${generation}, operator at ${observedGeneration ?? "none"}`)
          : badge("ok", `generation ${generation}`),
      ),
      differences(resource),
    ),
    h(
      "section",
      { class: "panel", key: "planned" },
      h("h2", null, "Planned actions"),
      resource.plannedActions.length === 0
        ? h("p", { class: "soft" }, "None: the operator has nothing to do.")
        : h(
            "ol",
            null,
            resource.plannedActions.map((action) => h("li", null, action)),
          ),
    ),
    h(
      "section",
      { class: "panel", key: "yaml" },
      h(
        "div",
        { class: "panel-head" },
        h("h2", null, "YAML"),
        h(
          "div",
          { class: "end" },
          copyButton(yaml),
          h(
            "button",
            { type: "button", onClick: () => saveFile(`${name}.yaml`, "application/yaml", yaml) },
            "Download",
          ),
        ),
      ),
      h(
        "pre",
        { class: "yaml", tabindex: 0, role: "region", "aria-label": "The resource as YAML" },
        h("code", null, yaml),
      ),
    ),
    conditions(resource.conditions),
    h(
      "div",
      { class: "columns", key: "commands" },
      command(kubectl),
      command(`kubectl edit spl ${name} --namespace ${namespace}`, "To edit it"),
    ),
  ];
}

function differences({ differences: items, unknown }: Resource): VNode {
  return h(
    "div",
    { class: "stack" },
    items.length === 0
      ? h(
          "p",
          { class: "soft" },
          unknown.length === 0 ? "None: what runs is what the spec asks for." : "None of what could be compared.",
        )
      : table<Difference>({
          caption: "Differences",
          rows: items,
          key: ({ component, field }) => `${component} ${field}`,
          columns: [
            { head: "Component", cell: ({ component }) => component },
            { head: "Field", class: "wide", cell: ({ field }) => h("code", null, field) },
            { head: "In the spec", cell: ({ wanted }) => h("code", null, wanted) },
            { head: "In the cluster", cell: ({ running }) => h("code", null, running) },
          ],
        }),
    unknown.length > 0 && h("p", { class: "stale" }, `Not compared, because unknown: ${unknown.join("; ")}`),
  );
}
