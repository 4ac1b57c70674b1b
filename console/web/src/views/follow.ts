/**
 * View 10: one record followed, from its run and source through partition and offset and the queries to its row.
 */

import type { Page, View } from "../app";
import { type Child, h, type VNode } from "../dom";
import { clock, count, exact, seconds } from "../format";
import type { Live } from "../net/live";
import { Poll } from "../net/poll";
import { choiceField, textField } from "../parts/fields";
import { badge, held, known, notice, type Tone } from "../parts/state";
import { facts } from "../parts/table";
import { type ViewName, viewUrl } from "../router";
import type { Message, Messages, Step, Topics, Trace } from "../types";
import { messageDetail } from "./messages/detail";
import { rowFacts } from "./tables";

interface Place {
  topic: string;
  partition: number;
  offset: number;
}

/** Returns the record that the address names, if it names one. Pure. */
export function placeOf(query: Record<string, string>): Place | undefined {
  const { topic = "", partition = "", offset = "" } = query;
  if (topic === "" || !/^\d+$/.test(partition) || !/^\d+$/.test(offset)) return undefined;
  return { topic, partition: Number(partition), offset: Number(offset) };
}

export function followView(page: Page, live: Live): View {
  const view = new FollowView(page, live);
  return {
    draw: () => view.draw(),
    moved: () => view.moved(),
    stop: () => view.stop(),
    keys: [{ key: "n", does: "Follow the newest record", act: () => void view.newest() }],
  };
}

class FollowView {
  private readonly topics: Poll<Topics>;
  private trace: Poll<Trace> | undefined;
  private asked = "";
  private looking = false;
  private none = "";

  constructor(
    private readonly page: Page,
    private readonly live: Live,
  ) {
    this.topics = new Poll<Topics>(60, live.client.topics, () => page.redraw());
    this.moved();
  }

  stop(): void {
    this.topics.stop();
    this.trace?.stop();
  }

  moved(): void {
    const place = placeOf(this.page.route.query);
    const wanted = JSON.stringify(place ?? null);
    if (wanted === this.asked) return;
    this.asked = wanted;
    this.trace?.stop();
    // A record that is under way is asked for again until it has come to its end.
    this.trace =
      place === undefined
        ? undefined
        : new Poll<Trace>(
            2,
            async (signal) => this.read(signal, place),
            () => this.page.redraw(),
          );
  }

  private async read(signal: AbortSignal, { topic, partition, offset }: Place): Promise<Trace> {
    const last = this.trace?.held.value;
    if (last !== undefined && settled(last)) return last;
    return this.live.client.trace(signal, topic, partition, offset);
  }

  /** Follows the newest record of the topic. */
  async newest(): Promise<void> {
    const topics = this.topics.held.value?.topics ?? [];
    const topic = this.page.route.query.topic ?? topics.find(({ deadLetters }) => !deadLetters)?.name;
    if (topic === undefined) return;
    this.looking = true;
    this.none = "";
    this.page.redraw();
    try {
      const found: Messages = await this.live.client.messages(AbortSignal.timeout(30_000), topic, {
        from: "newest",
        limit: 1,
      });
      const message: Message | undefined = found.messages[0];
      if (message === undefined) this.none = `The topic ${topic} has no records.`;
      else this.page.setQuery({ topic, partition: String(message.partition), offset: String(message.offset) });
    } catch (cause) {
      this.none = cause instanceof Error ? cause.message : String(cause);
    }
    this.looking = false;
    this.page.redraw();
  }

  draw(): Child {
    return [
      h(
        "header",
        null,
        h("h1", null, "Follow a record"),
        h(
          "div",
          { class: "end" },
          h(
            "button",
            { type: "button", class: "primary", disabled: this.looking, onClick: () => void this.newest() },
            this.looking ? "Looking …" : "The newest record",
          ),
        ),
      ),
      this.form(),
      this.none !== "" && notice("empty", this.none),
      this.trace === undefined
        ? notice(
            "empty",
            "No record is chosen yet",
            h("p", null, "Enter its place, take the newest, or open a record in Messages and choose “Follow it”."),
          )
        : held(
            this.trace.held,
            "The record's way",
            (trace) => this.content(trace),
            () => this.trace?.again(),
          ),
    ];
  }

  private form(): VNode {
    const { topic = "", partition = "", offset = "" } = this.page.route.query;
    const topics = this.topics.held.value?.topics.map(({ name }) => name) ?? [];
    const number = (id: string, label: string, value: string): VNode =>
      textField({ id, label, value, short: true, search: id === "offset", change: () => undefined });
    return h(
      "form",
      {
        class: "filters panel",
        key: "place",
        "aria-label": "Which record",
        onSubmit: (event: SubmitEvent) => {
          event.preventDefault();
          const form = new FormData(event.currentTarget as HTMLFormElement);
          this.page.setQuery({
            topic: String(form.get("topic") ?? ""),
            partition: String(form.get("partition") ?? ""),
            offset: String(form.get("offset") ?? ""),
          });
        },
      },
      choiceField({
        id: "topic",
        label: "Topic",
        value: topic,
        options: [...new Set([...topics, ...(topic === "" ? [] : [topic])])],
        change: () => undefined,
      }),
      number("partition", "Partition", partition),
      number("offset", "Offset", offset),
      h("button", { type: "submit" }, "Follow it"),
    );
  }

  private content({ steps, record }: Trace): Child {
    const place = placeOf(this.page.route.query);
    const shown = record ?? undefined;
    return h(
      "div",
      { class: shown === undefined ? "split" : "split open", key: "trace" },
      h(
        "section",
        { class: "panel", "aria-label": "The record's way" },
        total(steps),
        h(
          "ol",
          { class: "steps" },
          steps.map((step) => this.step(step)),
        ),
      ),
      shown !== undefined &&
        place !== undefined &&
        messageDetail(
          this.live,
          place.topic,
          shown,
          () =>
            this.page.go(
              viewUrl(this.live.namespace, this.live.name, "messages", {
                topic: place.topic,
                at: `${shown.partition}:${shown.offset}`,
              }),
            ),
          true,
        ),
    );
  }

  private step(step: Step): VNode {
    const { kind, name, outcome, time, seconds: took, message, facts: more, row } = step;
    const [tone, sign, word] = OUTCOMES[outcome];
    return h(
      "li",
      { key: `${kind}/${name}` },
      h("span", { class: `mark ${outcome.toLowerCase()}`, "aria-hidden": "true" }, sign),
      h(
        "div",
        { class: "row" },
        h("strong", null, KINDS[kind]),
        this.link(step),
        badge(tone, word),
        h(
          "span",
          { class: "took number", title: exact(time) },
          time ? clock(time, Date.now()) : "time unknown",
          typeof took === "number" ? `, ${seconds(took)} later` : "",
        ),
      ),
      h("p", null, message),
      more.length > 0 && facts(more.map(({ name: fact, value }): [string, Child] => [fact, h("code", null, value)])),
      row !== null && row !== undefined && [h("h3", null, "The row"), rowFacts(row)],
    );
  }

  private link({ kind, name }: Step): Child {
    const to = (view: ViewName, query: Record<string, string> = {}): VNode =>
      h("a", { href: viewUrl(this.live.namespace, this.live.name, view, query) }, name);
    switch (kind) {
      case "Run":
        return to("runs", { run: name });
      case "Source":
        return to("runs", { source: name });
      case "Topic":
        return to("messages", { topic: name });
      case "Query":
        return to("signals");
      case "Row":
        return to("tables", { table: name });
      case "DeadLetter":
        return to("letters");
    }
  }
}

const KINDS: Record<Step["kind"], string> = {
  Run: "Run",
  Source: "Source",
  Topic: "Topic",
  Query: "Query",
  Row: "Row of",
  DeadLetter: "Dead letter in",
};

const OUTCOMES: Record<Step["outcome"], [Tone, string, string]> = {
  Done: ["ok", "✓", "done"],
  Waiting: ["busy", "●", "in progress"],
  Missing: ["bad", "✕", "missing"],
  Superseded: ["warn", "▲", "overwritten"],
  Rejected: ["bad", "✕", "refused"],
  Unknown: ["unknown", "?", "unknown"],
};

/** Returns whether nothing of a record's way will change by itself. Pure. */
export function settled({ steps }: Trace): boolean {
  return steps.length > 0 && steps.every(({ outcome }) => outcome !== "Waiting" && outcome !== "Unknown");
}

/** Returns the part of a record's way of which both moments are known, the longest such part; nothing if there is none. Pure. */
export function timedWay(steps: readonly Step[]): { from: Step; to: Step; seconds: number } | undefined {
  const timed = steps.filter(({ time, outcome }) => outcome === "Done" && time !== null);
  const [from] = timed;
  const to = timed.at(-1);
  if (from === undefined || to === undefined || from === to) return undefined;
  return { from, to, seconds: (Date.parse(to.time ?? "") - Date.parse(from.time ?? "")) / 1000 };
}

function total(steps: readonly Step[]): VNode {
  const done = steps.filter(({ outcome }) => outcome === "Done").length;
  const way = timedWay(steps);
  const figure = (value: Child, name: string): VNode =>
    h("div", { class: "figure" }, h("div", { class: "value" }, value), h("div", { class: "name" }, name));
  return h(
    "div",
    { class: "figures" },
    figure(`${count(done)} of ${count(steps.length)}`, "steps done"),
    way === undefined
      ? figure(known("unknown"), "how long it took")
      : figure(
          seconds(way.seconds),
          `from ${KINDS[way.from.kind].toLowerCase()} to ${KINDS[way.to.kind].toLowerCase()}`,
        ),
  );
}
