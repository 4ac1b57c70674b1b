/**
 * View 7: the logs of every pod, of the container before it too, searched, followed, held and downloaded, with the events
 * beside them.
 */

import type { Page, View } from "../app";
import { type Child, h, type VNode } from "../dom";
import { clock, count, plural } from "../format";
import type { Live } from "../net/live";
import { Poll } from "../net/poll";
import { command } from "../parts/command";
import { choiceField, type Option, textField, tick } from "../parts/fields";
import { badge, held, notice, problemNotice } from "../parts/state";
import type { Container, Events, Pod, Pods } from "../types";
import { eventList } from "./logs/events";
import { type Line, split } from "./logs/lines";
import { LogSource, MOST_LINES } from "./logs/source";

const TAILS: Option[] = [
  ["100", "last 100"],
  ["1000", "last 1,000"],
  ["5000", "last 5,000"],
];

export function logsView(page: Page, live: Live): View {
  const view = new LogsView(page, live);
  return {
    draw: () => view.draw(),
    moved: () => view.moved(),
    stop: () => view.stop(),
    keys: [
      { key: " ", does: "Hold or resume the log", act: () => view.toggleFreeze() },
      { key: "w", does: "Wrap long lines, or not", act: () => view.toggle("wrap") },
    ],
  };
}

class LogsView {
  private readonly pods: Poll<Pods>;
  private readonly events: Poll<Events>;
  private log: LogSource | undefined;
  private asked = "";

  constructor(
    private readonly page: Page,
    private readonly live: Live,
  ) {
    this.pods = new Poll<Pods>(5, live.client.pods, () => this.moved());
    this.events = new Poll<Events>(5, live.client.events, () => page.redraw());
  }

  stop(): void {
    this.pods.stop();
    this.events.stop();
    this.log?.stop();
  }

  toggleFreeze(): void {
    this.log?.freeze(!this.log.frozen);
  }

  toggle(name: string): void {
    this.page.setQuery({ [name]: this.page.route.query[name] === "1" ? "" : "1" }, true);
  }

  private pod(): Pod | undefined {
    const { pod, run, component } = this.page.route.query;
    const pods = this.pods.held.value?.pods ?? [];
    if (pod !== undefined) return pods.find(({ name }) => name === pod);
    if (run !== undefined) return pods.filter((candidate) => candidate.run === run).at(-1);
    return pods.find((candidate) => candidate.component === (component ?? "processor")) ?? pods[0];
  }

  /** Reads or follows the log that the address names. */
  moved(): void {
    const pod = this.pod();
    const { container = "", previous = "", tail = "1000", contains = "", still = "" } = this.page.route.query;
    const chosen =
      pod?.containers.find(({ name }) => name === container) ?? pod?.containers.find(({ initial }) => !initial);
    const query = { container: chosen?.name, previous: previous === "1", tail, contains };
    const wanted = pod === undefined ? "" : JSON.stringify([pod.name, query, still]);
    if (wanted !== this.asked) {
      this.asked = wanted;
      this.log?.stop();
      const follow = still !== "1" && previous !== "1";
      this.log =
        pod === undefined
          ? undefined
          : new LogSource(
              this.live.client,
              pod.name,
              query,
              follow,
              () => this.page.redraw(),
              () => this.page.expired(),
            );
    }
    this.page.redraw();
  }

  draw(): Child {
    return [
      h("header", null, h("h1", null, "Logs and events")),
      held(
        this.pods.held,
        "The pods",
        ({ pods, kubectl }) =>
          pods.length === 0
            ? [
                notice(
                  "zero",
                  "The pipeline has no pods",
                  h("p", null, "No replica is wanted, or none was created yet. The overview says why."),
                ),
                command(kubectl),
              ]
            : this.content(pods),
        () => this.pods.again(),
      ),
    ];
  }

  private content(pods: readonly Pod[]): Child {
    const pod = this.pod();
    return [
      h("section", { class: "panel", key: "choice" }, this.choice(pods, pod)),
      h(
        "div",
        { class: "split open logs", key: "logs" },
        h(
          "section",
          { class: "panel", "aria-label": "Log", key: "log" },
          pod === undefined ? this.missing() : this.logText(pod),
        ),
        h(
          "section",
          { class: "panel side", "aria-label": "Events", key: "events" },
          eventList(this.events, pod, this.page.route.query.all === "1", () => this.toggle("all")),
        ),
      ),
      pod !== undefined && h("div", { key: "command" }, command(this.kubectl(pod))),
    ];
  }

  private missing(): VNode {
    const { pod, run } = this.page.route.query;
    return notice(
      "missing",
      pod !== undefined ? `The pod ${pod} no longer exists` : `The run ${run ?? ""} has no pod`,
      h("p", null, "Its logs were deleted with it. The status and events of the run remain."),
    );
  }

  private kubectl(pod: Pod): string {
    const { container = "", previous = "", tail = "1000" } = this.page.route.query;
    const parts = [
      "kubectl logs",
      pod.name,
      `--namespace ${this.live.namespace}`,
      container === "" ? "" : `--container ${container}`,
      previous === "1" ? "--previous" : "--follow",
      `--tail ${tail}`,
      "--timestamps",
    ];
    return parts.filter((part) => part !== "").join(" ");
  }

  private choice(pods: readonly Pod[], pod: Pod | undefined): VNode {
    const {
      container = "",
      previous = "",
      tail = "1000",
      contains = "",
      wrap = "",
      still = "",
    } = this.page.route.query;
    const set = (changes: Record<string, string>): void => this.page.setQuery(changes);
    const components = [...new Set(pods.map(({ component }) => component))];
    const chosen =
      pod?.containers.find(({ name }) => name === container) ?? pod?.containers.find(({ initial }) => !initial);
    return h(
      "form",
      { class: "filters", "aria-label": "Which log", onSubmit: (event: Event) => event.preventDefault() },
      choiceField({
        id: "pod",
        label: "Pod",
        value: pod?.name ?? "",
        options: pod === undefined ? [["", "choose a pod"]] : [],
        groups: components.map((name) => podGroup(name, pods)),
        change: (value) => set({ pod: value, run: "", component: "", container: "", previous: "" }),
      }),
      pod !== undefined &&
        pod.containers.length > 1 &&
        choiceField({
          id: "container",
          label: "Container",
          value: chosen?.name ?? "",
          options: pod.containers.map((item) => [item.name, containerTitle(item)] as const),
          change: (value) => set({ container: value, previous: "" }),
        }),
      choiceField({ id: "tail", label: "Lines", value: tail, options: TAILS, change: (value) => set({ tail: value }) }),
      textField({
        id: "contains",
        label: "Lines that contain",
        value: contains,
        type: "search",
        placeholder: "any text",
        search: true,
        change: (value) => set({ contains: value }),
      }),
      tick(
        "previous",
        "Previous container",
        previous === "1",
        () => this.toggle("previous"),
        chosen?.previous !== true && previous !== "1",
      ),
      tick("follow", "Follow", still !== "1" && previous !== "1", () => this.toggle("still"), previous === "1"),
      tick("wrap", "Wrap long lines", wrap === "1", () => this.toggle("wrap")),
    );
  }

  private logText(pod: Pod): Child {
    const { log } = this;
    const { contains = "", wrap = "" } = this.page.route.query;
    const container =
      pod.containers.find(({ name }) => name === this.page.route.query.container) ??
      pod.containers.find(({ initial }) => !initial);
    return [
      h(
        "div",
        { class: "panel-head" },
        h("h2", null, pod.name),
        podBadge(pod),
        container !== undefined &&
          container.restarts > 0 &&
          badge("warn", `restarted ${plural(container.restarts, "time")}`),
        h(
          "div",
          { class: "end" },
          log !== undefined &&
            h(
              "button",
              { type: "button", "aria-pressed": String(log.frozen), onClick: () => this.toggleFreeze() },
              log.frozen ? `▶ Resume${log.waiting.length > 0 ? ` (${count(log.waiting.length)} new)` : ""}` : "‖ Hold",
            ),
          h(
            "a",
            {
              class: "button",
              href: this.live.client.url(["pods", pod.name, "logs"], {
                container: container?.name,
                previous: this.page.route.query.previous === "1",
                tail: 10_000,
              }),
              download: `${pod.name}.log`,
            },
            "Download",
          ),
        ),
      ),
      log === undefined || log.loading
        ? notice("loading", "The log: loading")
        : [
            log.problem !== undefined && problemNotice(log.problem, "The log"),
            log.lines.length === 0 && log.problem === undefined
              ? notice("empty", contains === "" ? "The log is empty so far" : `No line contains “${contains}”`)
              : text(log.lines, contains, wrap === "1"),
            h(
              "p",
              { class: "soft" },
              `${plural(log.lines.length, "line")}${log.lines.length >= MOST_LINES ? "; older lines are not kept here" : ""}${log.ended ? "; the container has ended" : ""}`,
            ),
          ],
    ];
  }
}

function podGroup(component: string, pods: readonly Pod[]): { name: string; options: Option[] } {
  const options = pods.filter((pod) => pod.component === component).map((pod): Option => [pod.name, podTitle(pod)]);
  return { name: component, options };
}

function podTitle({ name, phase, ready, terminating, reason }: Pod): string {
  const state = terminating ? "ending" : (reason ?? (phase === "Running" ? (ready ? "ready" : "not ready") : phase));
  return `${name} · ${state}`;
}

function podBadge({ phase, ready, terminating, reason }: Pod): VNode {
  if (terminating) return badge("paused", "Ending");
  if (phase === "Running") return ready ? badge("ok", "Ready") : badge("warn", reason ?? "Not ready");
  if (phase === "Succeeded") return badge("ok", "Succeeded");
  return badge(phase === "Failed" ? "bad" : "unknown", reason ?? phase);
}

function containerTitle({ name, initial, state, restarts }: Container): string {
  return [
    name,
    initial ? "initial" : "",
    state?.toLowerCase() ?? "unknown",
    restarts > 0 ? plural(restarts, "restart") : "",
  ]
    .filter((part) => part !== "")
    .join(" · ");
}

/** The end of the log stays in sight as long as it was in sight. */
let atEnd = true;

function text(lines: readonly Line[], wanted: string, wrap: boolean): VNode {
  requestAnimationFrame(() => {
    const element = document.querySelector("pre.log");
    if (element !== null && atEnd) element.scrollTop = element.scrollHeight;
  });
  const shown = lines.slice(-1000);
  return h(
    "pre",
    {
      class: wrap ? "log wrap" : "log",
      tabindex: 0,
      role: "log",
      "aria-live": "off",
      "aria-label": "Lines of the log",
      onScroll: (event: Event) => {
        const element = event.currentTarget as HTMLElement;
        atEnd = element.scrollHeight - element.scrollTop - element.clientHeight < 24;
      },
    },
    lines.length > shown.length &&
      h("span", { class: "soft" }, `${count(lines.length - shown.length)} older lines are in the download\n`),
    shown.map(({ time, text: line, tone }) =>
      h(
        "span",
        { class: tone === "" ? undefined : tone },
        time !== "" && h("span", { class: "time", title: time }, `${clock(time, Date.now())} `),
        split(line, wanted).map((part, index) => (index % 2 === 1 ? h("mark", null, part) : part)),
        "\n",
      ),
    ),
  );
}
