/**
 * View 7: the logs of every pod, of the container before it too, searched, followed, held and downloaded, with the events
 * beside them.
 */

import type { Page, View } from "../app";
import { type Child, h, type VNode } from "../dom";
import { ago, clock, count, exact, plural } from "../format";
import type { Live } from "../net/live";
import { Poll } from "../net/poll";
import { command } from "../parts/command";
import { badge, held, notice, problemNotice } from "../parts/state";
import { table } from "../parts/table";
import type { ApiEvent, Container, Events, Pod, Pods } from "../types";
import { type Line, split } from "./logs/lines";
import { LogSource, MOST_LINES } from "./logs/source";

const TAILS = ["100", "1000", "5000"];

export function logsView(page: Page, live: Live): View {
  const view = new LogsView(page, live);
  return {
    draw: () => view.draw(),
    moved: () => view.moved(),
    stop: () => view.stop(),
    keys: [
      { key: " ", does: "Holds the log, or lets it go on", act: () => view.toggleFreeze() },
      { key: "w", does: "Breaks long lines, or not", act: () => view.toggle("wrap") },
    ],
  };
}

class LogsView {
  private readonly pods: Poll<Pods>;
  private readonly events: Poll<Events>;
  private log: LogSource | undefined;
  private asked = "";

  constructor(private readonly page: Page, private readonly live: Live) {
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
    const chosen = pod?.containers.find(({ name }) => name === container) ?? pod?.containers.find(({ initial }) => !initial);
    const query = { container: chosen?.name, previous: previous === "1", tail, contains };
    const wanted = pod === undefined ? "" : JSON.stringify([pod.name, query, still]);
    if (wanted !== this.asked) {
      this.asked = wanted;
      this.log?.stop();
      const follow = still !== "1" && previous !== "1";
      this.log = pod === undefined ? undefined : new LogSource(this.live.client, pod.name, query, follow, () => this.page.redraw(), () => this.page.expired());
    }
    this.page.redraw();
  }

  draw(): Child {
    return [
      h("header", null, h("h1", null, "Logs and events")),
      held(this.pods.held, "The pods", ({ pods, kubectl }) => (pods.length === 0
        ? [notice("zero", "There is no pod", h("p", null, "Nothing is wanted, or nothing was made yet. The overview says why.")), command(kubectl)]
        : this.content(pods)), () => this.pods.again()),
    ];
  }

  private content(pods: readonly Pod[]): Child {
    const pod = this.pod();
    return [
      h("section", { class: "panel", key: "choice" }, this.choice(pods, pod)),
      h("div", { class: "split open logs", key: "logs" },
        h("section", { class: "panel", "aria-label": "Log", key: "log" }, pod === undefined ? this.missing() : this.logText(pod)),
        h("section", { class: "panel side", "aria-label": "Events", key: "events" }, this.eventList(pod))),
      pod !== undefined && h("div", { key: "command" }, command(this.kubectl(pod))),
    ];
  }

  private missing(): VNode {
    const { pod, run } = this.page.route.query;
    return notice("missing", pod !== undefined ? `There is no pod ${pod} any more` : `The run ${run ?? ""} has no pod`,
      h("p", null, "Its logs went with it. What is known of the run is in its status and events."));
  }

  private kubectl(pod: Pod): string {
    const { container = "", previous = "", tail = "1000" } = this.page.route.query;
    const parts = ["kubectl logs", pod.name, `--namespace ${this.live.namespace}`, container === "" ? "" : `--container ${container}`, previous === "1" ? "--previous" : "--follow", `--tail ${tail}`, "--timestamps"];
    return parts.filter((part) => part !== "").join(" ");
  }

  private choice(pods: readonly Pod[], pod: Pod | undefined): VNode {
    const { container = "", previous = "", tail = "1000", contains = "", wrap = "", still = "" } = this.page.route.query;
    const set = (changes: Record<string, string>): void => this.page.setQuery(changes);
    const components = [...new Set(pods.map(({ component }) => component))];
    const chosen = pod?.containers.find(({ name }) => name === container) ?? pod?.containers.find(({ initial }) => !initial);
    return h("form", { class: "filters", "aria-label": "Which log", onSubmit: (event: Event) => event.preventDefault() },
      h("div", { class: "field" }, h("label", { for: "pod" }, "Pod"),
        h("select", { id: "pod", onChange: (event: Event) => set({ pod: (event.target as HTMLSelectElement).value, run: "", component: "", container: "", previous: "" }) },
          pod === undefined && h("option", { value: "", selected: true }, "choose"),
          components.map((component) => h("optgroup", { label: component, key: component },
            pods.filter((item) => item.component === component).map((item) => h("option", { value: item.name, selected: item.name === pod?.name, key: item.name }, podTitle(item))))))),
      pod !== undefined && pod.containers.length > 1 && h("div", { class: "field" }, h("label", { for: "container" }, "Container"),
        h("select", { id: "container", onChange: (event: Event) => set({ container: (event.target as HTMLSelectElement).value, previous: "" }) },
          pod.containers.map((item) => h("option", { value: item.name, selected: item.name === chosen?.name, key: item.name }, containerTitle(item))))),
      h("div", { class: "field" }, h("label", { for: "tail" }, "Lines"),
        h("select", { id: "tail", onChange: (event: Event) => set({ tail: (event.target as HTMLSelectElement).value }) },
          TAILS.map((lines) => h("option", { value: lines, selected: lines === tail, key: lines }, `last ${count(Number(lines))}`)))),
      h("div", { class: "field" }, h("label", { for: "contains" }, "Lines that contain"),
        h("input", { id: "contains", type: "search", value: contains, "data-search": true, placeholder: "any text", onChange: (event: Event) => set({ contains: (event.target as HTMLInputElement).value }) })),
      check("previous", "Previous container", previous === "1", chosen?.previous !== true && previous !== "1", () => this.toggle("previous")),
      check("follow", "Follow", still !== "1" && previous !== "1", previous === "1", () => this.toggle("still")),
      check("wrap", "Break long lines", wrap === "1", false, () => this.toggle("wrap")));
  }

  private logText(pod: Pod): Child {
    const { log } = this;
    const { contains = "", wrap = "" } = this.page.route.query;
    const container = pod.containers.find(({ name }) => name === this.page.route.query.container) ?? pod.containers.find(({ initial }) => !initial);
    return [
      h("div", { class: "panel-head" }, h("h2", null, pod.name), podBadge(pod),
        container !== undefined && container.restarts > 0 && badge("warn", `restarted ${plural(container.restarts, "time")}`),
        h("div", { class: "end" },
          log !== undefined && h("button", { type: "button", "aria-pressed": String(log.frozen), onClick: () => this.toggleFreeze() },
            log.frozen ? `▶ Go on${log.waiting.length > 0 ? ` (${count(log.waiting.length)} new)` : ""}` : "‖ Hold"),
          h("a", { class: "button", href: this.live.client.url(["pods", pod.name, "logs"], { container: container?.name, previous: this.page.route.query.previous === "1", tail: 10_000 }), download: `${pod.name}.log` }, "Download"))),
      log === undefined || log.loading ? notice("loading", "The log: loading") : [
        log.problem !== undefined && problemNotice(log.problem, "The log"),
        log.lines.length === 0 && log.problem === undefined
          ? notice("empty", contains === "" ? "The log is empty so far" : `No line contains “${contains}”`)
          : text(log.lines, contains, wrap === "1"),
        h("p", { class: "soft" }, `${plural(log.lines.length, "line")}${log.lines.length >= MOST_LINES ? ", older ones are not kept here" : ""}${log.ended ? "; the container has ended" : ""}`),
      ],
    ];
  }

  private eventList(pod: Pod | undefined): Child {
    const { all = "" } = this.page.route.query;
    return [
      h("div", { class: "panel-head" }, h("h2", null, "Events"), h("div", { class: "end" }, check("all", "Of everything", all === "1", false, () => this.toggle("all")))),
      held(this.events.held, "Events", ({ events, kubectl }) => {
        const shown = events.filter(({ object }) => all === "1" || pod === undefined || object.endsWith(`/${pod.name}`));
        return [
          shown.length === 0 ? notice("empty", all === "1" ? "There are no events" : "There are no events of this pod", h("p", null, "Kubernetes keeps events for an hour.")) : eventTable(shown),
          command(kubectl),
        ];
      }, () => this.events.again()),
    ];
  }
}

function check(id: string, label: string, checked: boolean, disabled: boolean, toggle: () => void): VNode {
  return h("label", { class: "check", for: `check-${id}` }, h("input", { id: `check-${id}`, type: "checkbox", checked, disabled, onChange: toggle }), label);
}

function podTitle({ name, phase, ready, terminating, reason }: Pod): string {
  const state = terminating ? "ending" : (reason ?? (phase === "Running" ? (ready ? "ready" : "not ready") : phase));
  return `${name} · ${state}`;
}

function podBadge({ phase, ready, terminating, reason }: Pod): VNode {
  if (terminating) return badge("paused", "Ending");
  if (phase === "Running") return ready ? badge("ok", "Ready") : badge("warn", reason ?? "Not ready");
  if (phase === "Succeeded") return badge("ok", "Ended well");
  return badge(phase === "Failed" ? "bad" : "unknown", reason ?? phase);
}

function containerTitle({ name, initial, state, restarts }: Container): string {
  return [name, initial ? "initial" : "", state?.toLowerCase() ?? "unknown", restarts > 0 ? plural(restarts, "restart") : ""].filter((part) => part !== "").join(" · ");
}

/** The end of the log stays in sight as long as it was in sight. */
let atEnd = true;

function text(lines: readonly Line[], wanted: string, wrap: boolean): VNode {
  requestAnimationFrame(() => {
    const element = document.querySelector("pre.log");
    if (element !== null && atEnd) element.scrollTop = element.scrollHeight;
  });
  const shown = lines.slice(-1000);
  return h("pre", {
    class: wrap ? "log wrap" : "log", tabindex: 0, role: "log", "aria-live": "off", "aria-label": "Lines of the log",
    onScroll: (event: Event) => {
      const element = event.currentTarget as HTMLElement;
      atEnd = element.scrollHeight - element.scrollTop - element.clientHeight < 24;
    },
  }, lines.length > shown.length && h("span", { class: "soft" }, `${count(lines.length - shown.length)} older lines are in the download\n`),
    shown.map(({ time, text: line, tone }) => h("span", { class: tone === "" ? undefined : tone },
      time !== "" && h("span", { class: "time", title: time }, `${clock(time, Date.now())} `),
      split(line, wanted).map((part, index) => (index % 2 === 1 ? h("mark", null, part) : part)), "\n")));
}

function eventTable(events: readonly ApiEvent[]): VNode {
  const now = Date.now();
  return h("div", { class: "tall" }, table<ApiEvent>({
    caption: "Events", rows: events, key: ({ object, reason, time, message }) => `${object} ${reason} ${time ?? ""} ${message}`,
    columns: [
      { head: "When", class: "nowrap", cell: ({ time, count: times }) => [h("span", { title: exact(time) }, ago(time, now)), times > 1 && h("div", { class: "soft" }, `${count(times)} times`)] },
      { head: "What", class: "wide", cell: ({ type, reason, object, message }) => [badge(type === "Warning" ? "warn" : "ok", reason), h("div", { class: "soft" }, object), h("div", null, message)] },
    ],
  }));
}
