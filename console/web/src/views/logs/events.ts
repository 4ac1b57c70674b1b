/**
 * The events of a pod, or of everything that belongs to the pipeline, newest first.
 */

import { type Child, h, type VNode } from "../../dom";
import { ago, count, exact } from "../../format";
import type { Poll } from "../../net/poll";
import { command } from "../../parts/command";
import { tick } from "../../parts/fields";
import { badge, held, notice } from "../../parts/state";
import { table } from "../../parts/table";
import type { ApiEvent, Events, Pod } from "../../types";

/** Returns the list. `all`: of everything; else of `pod`. */
export function eventList(poll: Poll<Events>, pod: Pod | undefined, all: boolean, toggle: () => void): Child {
  const empty = all || pod === undefined ? "There are no events" : "This pod has no events";
  const ends = h("div", { class: "end" }, tick("all", "Of all objects", all, toggle));
  return [
    h("div", { class: "panel-head" }, h("h2", null, "Events"), ends),
    held(
      poll.held,
      "Events",
      ({ events, kubectl }) => {
        const shown = events.filter(({ object }) => all || pod === undefined || object.endsWith(`/${pod.name}`));
        return [
          shown.length === 0
            ? notice("empty", empty, h("p", null, "Kubernetes keeps events for an hour."))
            : eventTable(shown),
          command(kubectl),
        ];
      },
      () => poll.again(),
    ),
  ];
}

function eventTable(events: readonly ApiEvent[]): VNode {
  const now = Date.now();
  return h(
    "div",
    { class: "tall" },
    table<ApiEvent>({
      caption: "Events",
      rows: events,
      key: ({ object, reason, time, message }) => `${object} ${reason} ${time ?? ""} ${message}`,
      columns: [
        {
          head: "When",
          class: "nowrap",
          cell: ({ time, count: times }) => [
            h("span", { title: exact(time) }, ago(time, now)),
            times > 1 && h("div", { class: "soft" }, `${count(times)} times`),
          ],
        },
        {
          head: "What",
          class: "wide",
          cell: ({ type, reason, object, message }) => [
            badge(type === "Warning" ? "warn" : "ok", reason),
            h("div", { class: "soft" }, object),
            h("div", null, message),
          ],
        },
      ],
    }),
  );
}
