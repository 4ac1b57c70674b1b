/**
 * View 5: the messages of a topic: newest first, by offset, time, partition, key, text, header or run; a live tail; one in
 * full; and a download.
 */

import { closeDetail, type Page, type View } from "../app";
import { type Child, h, type VNode } from "../dom";
import { clock, count, exact, plural } from "../format";
import type { Live } from "../net/live";
import { Poll } from "../net/poll";
import { problemOf } from "../net/problem";
import { command } from "../parts/command";
import { choiceField, type Option, textField, type TextOptions } from "../parts/fields";
import { preview } from "../parts/json";
import { held, notice, problemNotice, stale } from "../parts/state";
import { type Column, table } from "../parts/table";
import { viewUrl } from "../router";
import type { ApiText, Message, Messages, Topics } from "../types";
import { messageDetail } from "./messages/detail";
import { FROM, identity, request, type Search, searchOf, searchProblem } from "./messages/query";
import { MOST_ROWS, Tail } from "./messages/tail";

export function messagesView(page: Page, live: Live): View {
  const view = new MessagesView(page, live);
  return {
    draw: () => view.draw(),
    moved: () => view.moved(),
    stop: () => view.stop(),
    close: () => closeDetail(page, "at"),
    keys: [
      { key: "l", does: "Start or stop the live tail", act: () => view.toggleLive() },
      { key: " ", does: "Hold or resume the live tail", act: () => view.toggleFreeze() },
    ],
  };
}

class MessagesView {
  private readonly topics: Poll<Topics>;
  private found: Poll<Messages> | undefined;
  private asked = "";
  private more: Messages[] = [];
  private loadingMore = false;
  private tail: Tail | undefined;
  private tailing = "";

  constructor(
    private readonly page: Page,
    private readonly live: Live,
  ) {
    this.topics = new Poll<Topics>(30, live.client.topics, () => this.moved());
  }

  stop(): void {
    this.topics.stop();
    this.found?.stop();
    this.tail?.stop();
  }

  private search(): Search {
    return searchOf(this.page.route.query, this.topics.held.value?.topics.map(({ name }) => name) ?? []);
  }

  /** Asks for what the address wants, if that is not what is shown. */
  moved(): void {
    const search = this.search();
    if (search.topic !== "" && searchProblem(search) === undefined) {
      if (search.live) this.follow(search);
      else this.look(search);
    }
    this.page.redraw();
  }

  private look(search: Search): void {
    this.tail?.stop();
    const wanted = identity(search);
    if (this.tailing === wanted && this.tail !== undefined) return;
    this.tail = undefined;
    this.tailing = "";
    if (this.asked === wanted) return;
    this.asked = wanted;
    this.more = [];
    this.found?.stop();
    this.found = new Poll<Messages>(
      0,
      (signal) => this.live.client.messages(signal, search.topic, request(search, undefined)),
      () => this.page.redraw(),
    );
  }

  private follow(search: Search): void {
    const wanted = identity(search);
    if (this.tail !== undefined && this.tailing === `${wanted} live`) return;
    this.tail?.stop();
    this.tailing = `${wanted} live`;
    this.tail = new Tail(
      this.live.client,
      search,
      () => this.page.redraw(),
      () => this.page.expired(),
    );
  }

  toggleLive(): void {
    if (this.search().live) this.stopTail();
    else this.page.setQuery({ live: "1", at: "" });
  }

  /** The rows stay when the tail stops, until something else is looked for. */
  private stopTail(): void {
    this.tailing = identity(this.search());
    this.asked = "";
    this.page.setQuery({ live: "" });
  }

  toggleFreeze(): void {
    this.tail?.freeze(!this.tail.frozen);
  }

  /** Looks again, from the beginning. */
  private again(): void {
    this.asked = "";
    this.tailing = "";
    this.tail?.stop();
    this.tail = undefined;
    this.moved();
  }

  private async loadMore(cursor: string): Promise<void> {
    const search = this.search();
    const wanted = this.asked;
    this.loadingMore = true;
    this.page.redraw();
    try {
      const next = await this.live.client.messages(AbortSignal.timeout(30_000), search.topic, request(search, cursor));
      if (this.asked === wanted) this.more.push(next);
    } catch (cause) {
      if (this.found !== undefined) this.found.held = { ...this.found.held, problem: problemOf(cause) };
    }
    this.loadingMore = false;
    this.page.redraw();
  }

  draw(): Child {
    const search = this.search();
    const forbidden = this.live.view.value?.rights.messages === false;
    return [
      h("header", null, h("h1", null, "Messages"), h("div", { class: "end" }, this.buttons(search))),
      forbidden
        ? problemNotice(
            { kind: "forbidden", message: "Messages need the right: get streamingpipelines/messages" },
            "Messages",
          )
        : held(
            this.topics.held,
            "The topics",
            (topics) => [this.filterForm(search, topics), this.body(search, topics)],
            () => this.topics.again(),
          ),
    ];
  }

  private buttons(search: Search): Child {
    if (search.live) {
      return [
        h(
          "button",
          { type: "button", "aria-pressed": String(this.tail?.frozen === true), onClick: () => this.toggleFreeze() },
          this.tail?.frozen === true ? "▶ Resume" : "‖ Hold",
        ),
        h("button", { type: "button", class: "primary", onClick: () => this.stopTail() }, "■ Stop the tail"),
      ];
    }
    const file = this.live.client.url(["topics", search.topic, "messages", "file"], request(search, undefined));
    return [
      h("button", { type: "button", onClick: () => this.again() }, "↻ Look again"),
      search.topic !== "" && h("a", { class: "button", href: file, download: `${search.topic}.ndjson` }, "Download"),
      h("button", { type: "button", class: "primary", onClick: () => this.toggleLive() }, "● Live tail"),
    ];
  }

  private filterForm(search: Search, { topics }: Topics): VNode {
    const locked = search.live;
    const change = (changes: Record<string, string>): void => this.page.setQuery({ at: "", ...changes });
    const text = (name: keyof Search, label: string, placeholder: string, more: Partial<TextOptions> = {}): VNode =>
      textField({
        id: `filter-${name}`,
        label,
        value: String(search[name]),
        placeholder,
        disabled: locked,
        change: (value) => change({ [name]: value }),
        ...more,
      });
    const choice = (name: keyof Search, label: string, options: readonly Option[]): VNode =>
      choiceField({
        id: `filter-${name}`,
        label,
        value: String(search[name]),
        options,
        disabled: locked,
        change: (value) => change({ [name]: value }),
      });
    const partitions = topics.find(({ name }) => name === search.topic)?.partitions ?? 0;
    return h(
      "form",
      {
        class: "filters panel",
        key: "filters",
        "aria-label": "Filter of the messages",
        onSubmit: (event: Event) => event.preventDefault(),
      },
      choice(
        "topic",
        "Topic",
        topics.map(({ name, records, deadLetters }) => [
          name,
          `${name}${deadLetters ? " (dead letters)" : ""} · ${count(records)}`,
        ]),
      ),
      choice("from", "Begin", FROM),
      search.from === "offset" && text("offset", "Offset", "0", { short: true }),
      search.from === "time" && text("time", "Time", "", { type: "datetime-local" }),
      choice("partition", "Partition", [
        ["", "all"],
        ...Array.from({ length: partitions }, (_, index) => String(index)),
      ]),
      text("key", "Key is", "any"),
      text("contains", "Value contains", "any text", { search: true, type: "search" }),
      text("header", "Header", "name or name=value"),
      text("run", "Run", "any"),
      locked && h("p", { class: "soft" }, "Stop the tail to change the filter."),
    );
  }

  private body(search: Search, topics: Topics): Child {
    if (topics.topics.length === 0)
      return notice("empty", "The pipeline has no topic", h("p", null, "Its spec declares no topic."));
    const wrong = searchProblem(search);
    if (wrong !== undefined) return notice("failed", wrong);
    const unknown = topics.unknown ?? null;
    return [
      unknown !== null &&
        h("p", { class: "stale", role: "status", key: "unknown" }, `Offsets are unknown for now: ${unknown}`),
      this.tail !== undefined ? this.tailed(this.tail, search) : this.listed(search),
    ];
  }

  private tailed(tail: Tail, search: Search): Child {
    const { messages, skipped, seen, problem, frozen } = tail;
    const state = search.live
      ? frozen
        ? "Held; records keep coming."
        : "Live."
      : "Stopped; the rows stay until the next search.";
    return [
      h(
        "p",
        { class: "soft", key: "tail-state" },
        `${state} ${plural(seen, "record")} received`,
        skipped > 0 && `, ${count(skipped)} more skipped because the topic is too fast`,
        `; the newest ${MOST_ROWS} are kept.`,
      ),
      problem !== undefined && problemNotice(problem, "Newer messages"),
      messages.length === 0
        ? notice(
            "loading",
            "Waiting for the next record",
            h("p", null, "The tail shows records that arrive from now on and match the filter."),
          )
        : this.rows(messages, search),
    ];
  }

  private listed(search: Search): Child {
    const found = this.found;
    if (found === undefined) return notice("loading", "Messages: loading");
    const first = found.held.value;
    if (first === undefined)
      return held(
        found.held,
        "The messages",
        () => null,
        () => found.again(),
      );
    const pages = [first, ...this.more];
    const messages = pages.flatMap((part) => part.messages);
    const last = pages.at(-1) ?? first;
    const cursor = last.cursor ?? undefined;
    return [
      stale(found.held, "The messages"),
      messages.length === 0
        ? notice(
            "empty",
            cursor === undefined ? "No message matches" : "No message matches so far",
            h("p", null, `${plural(sum(pages), "record")} searched.`),
          )
        : this.rows(messages, search),
      h(
        "div",
        { class: "row", key: "more" },
        cursor !== undefined &&
          h(
            "button",
            { type: "button", disabled: this.loadingMore, onClick: () => void this.loadMore(cursor) },
            this.loadingMore ? "Searching …" : "Search further",
          ),
        h(
          "span",
          { class: "soft" },
          `${plural(messages.length, "message")} of ${plural(sum(pages), "record")} searched${cursor === undefined ? ", which is all" : ""}`,
          first.maskedFields.length > 0 && `; masked for you: ${first.maskedFields.join(", ")}`,
        ),
      ),
      h("div", { key: "command" }, command(first.kubectl)),
    ];
  }

  private rows(messages: readonly Message[], search: Search): VNode {
    const at = this.page.route.query.at ?? "";
    const selected = messages.find((message) => place(message) === at);
    const frozen = search.live && this.tail !== undefined;
    return h(
      "div",
      { class: selected === undefined ? "split" : "split open", key: "rows" },
      h(
        "div",
        { class: "panel tall" },
        table({
          caption: "Messages",
          columns: columns(this.live, selected !== undefined),
          rows: messages,
          key: place,
          selected: at,
          open: (message) => {
            if (frozen) this.tail?.freeze(true);
            this.page.setQuery({ at: place(message) }, true);
          },
        }),
      ),
      selected !== undefined &&
        messageDetail(this.live, search.topic, selected, () => this.page.setQuery({ at: "" }, true)),
    );
  }
}

function sum(pages: readonly Messages[]): number {
  return pages.reduce((total, { scanned }) => total + scanned, 0);
}

function place({ partition, offset }: Message): string {
  return `${partition}:${offset}`;
}

function columns(live: Live, open: boolean): Column<Message>[] {
  const now = Date.now();
  return [
    {
      head: "Time",
      class: "nowrap number",
      cell: ({ timestamp }) => h("span", { title: exact(timestamp) }, timestamp ? clock(timestamp, now) : "none"),
    },
    { head: "Partition", numeric: true, cell: ({ partition }) => partition },
    { head: "Offset", numeric: true, cell: ({ offset }) => offset },
    { head: "Key", class: "nowrap", cell: ({ key }) => short(key, open ? 14 : 40) },
    { head: "Value", class: "wide", cell: ({ value }) => h("span", { class: "value-line" }, short(value, 220)) },
    ...(open ? [] : [runColumn(live)]),
  ];
}

function runColumn({ namespace, name }: Live): Column<Message> {
  const link = (run: string): VNode => h("a", { href: viewUrl(namespace, name, "runs", { run }) }, run);
  return { head: "Run", class: "nowrap", cell: ({ run }) => (run ? link(run) : h("span", { class: "soft" }, "–")) };
}

function short(text: ApiText | null | undefined, length: number): Child {
  if (text === null || text === undefined) return h("span", { class: "soft" }, "null");
  return [h("code", null, preview(text.text, length)), text.masked && h("span", { class: "masked" }, " masked")];
}
