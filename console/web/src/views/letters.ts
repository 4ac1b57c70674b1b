/**
 * View 9: the newest dead letters by reason, each with the record that no query could use, and the way back for them.
 */

import { closeDetail, type Page, type View } from "../app";
import { type Child, h, type VNode } from "../dom";
import { ago, clock, count, exact, plural } from "../format";
import type { Live } from "../net/live";
import { Poll } from "../net/poll";
import { command } from "../parts/command";
import { choiceField } from "../parts/fields";
import { preview } from "../parts/json";
import { badge, held, known, notice } from "../parts/state";
import { facts, table } from "../parts/table";
import { viewUrl } from "../router";
import type { DeadLetter, DeadLetters, RedriveAnswer } from "../types";
import { type RedriveActions, RedriveDialog, redrivePanels } from "./letters/redrive";
import { messageValue, text } from "./messages/detail";

const LIMITS = ["100", "500"];

export function lettersView(page: Page, live: Live): View {
  const limit = (): number => Number(page.route.query.limit ?? "100");
  let asked = limit();
  const poll = new Poll<DeadLetters>(
    10,
    (signal) => live.client.letters(signal, limit()),
    () => page.redraw(),
  );
  let open: RedriveDialog | undefined;
  let done: RedriveAnswer | undefined;
  const close = (): void => {
    open = undefined;
    page.redraw();
  };
  const redriven = (answer: RedriveAnswer): void => {
    done = answer;
    poll.again();
  };
  const actions = (): RedriveActions => ({
    right: live.view.value?.rights.redrive,
    done,
    redrive: (reason) => {
      open = new RedriveDialog(page, live, reason, close, redriven);
      page.redraw();
    },
    forget: () => {
      done = undefined;
      page.redraw();
    },
  });
  return {
    draw: () => [
      h(
        "header",
        null,
        h("h1", null, "Dead letters"),
        h(
          "div",
          { class: "end" },
          limitChoice(page),
          h("button", { type: "button", onClick: () => poll.again() }, "↻ Read again"),
        ),
      ),
      held(
        poll.held,
        "The dead letters",
        (letters) => content(page, live, letters, actions()),
        () => poll.again(),
      ),
      open?.draw(),
    ],
    moved: () => {
      if (asked === limit()) return;
      asked = limit();
      poll.again();
    },
    stop: () => poll.stop(),
    close: () => closeDetail(page, "at"),
  };
}

function limitChoice(page: Page): VNode {
  const { limit = "100" } = page.route.query;
  return choiceField({
    id: "limit",
    label: "The newest",
    value: limit,
    options: LIMITS,
    beside: true,
    change: (value) => page.setQuery({ limit: value }),
  });
}

function content(page: Page, live: Live, answer: DeadLetters, actions: RedriveActions): Child {
  const { topic, total, reasons, letters, more, kubectl } = answer;
  const { reason = "", at = "" } = page.route.query;
  const shown = letters.filter((letter) => reason === "" || letter.reason === reason);
  const selected = letters.find((letter) => place(letter) === at);
  return [
    h(
      "section",
      { class: "panel", key: "reasons" },
      h(
        "div",
        { class: "panel-head" },
        h("h2", null, "By reason"),
        h(
          "span",
          { class: "soft" },
          `in ${topic}`,
          letters.length > 0 &&
            `, which holds at most ${plural(total ?? Number.NaN, "record")}; reasons of the newest ${count(letters.length)}`,
        ),
      ),
      letters.length === 0
        ? notice(
            "empty",
            "There are no dead letters",
            h("p", null, "No record was refused within the retention of the topic."),
          )
        : h(
            "ul",
            { class: "chips" },
            chip(page, "", `all ${letters.length}`, reason),
            reasons.map((item) => chip(page, item.reason, `${item.reason} ${item.count}`, reason)),
          ),
    ),
    letters.length > 0 &&
      h(
        "div",
        { class: selected === undefined ? "split" : "split open", key: "letters" },
        h("section", { class: "panel tall" }, letterTable(page, shown, at)),
        selected !== undefined && detail(page, live, selected),
      ),
    more && h("p", { class: "soft" }, "Older dead letters exist and are not shown."),
    letters.length > 0 && redrivePanels(answer, actions),
    h("div", { key: "command" }, command(kubectl)),
  ];
}

function chip(page: Page, reason: string, title: string, selected: string): VNode {
  return h(
    "li",
    { key: reason },
    h(
      "button",
      { type: "button", "aria-pressed": String(reason === selected), onClick: () => page.setQuery({ reason, at: "" }) },
      title,
    ),
  );
}

function letterTable(page: Page, letters: readonly DeadLetter[], at: string): VNode {
  const now = Date.now();
  return table<DeadLetter>({
    caption: "Dead letters",
    rows: letters,
    key: place,
    selected: at,
    open: (letter) => page.setQuery({ at: place(letter) }, true),
    columns: [
      {
        head: "When",
        class: "nowrap",
        cell: ({ timestamp }) =>
          h("span", { title: exact(timestamp) }, timestamp ? clock(timestamp, now) : known("unknown")),
      },
      { head: "Reason", class: "nowrap", cell: ({ reason }) => badge("bad", reason) },
      {
        head: "What is wrong, and the record",
        class: "wide",
        cell: ({ message, record }) => [
          h("div", null, message ?? known("unknown")),
          h("span", { class: "value-line soft" }, preview(record.value?.text ?? "null", 160)),
        ],
      },
      { head: "Query", cell: ({ query }) => known(query ?? "unknown") },
      { head: "From", class: "nowrap", cell: (letter) => known(origin(letter)) },
    ],
  });
}

function origin({ topic, partition, offset }: DeadLetter): string {
  if (topic === null || topic === undefined) return "unknown";
  return typeof partition === "number" && typeof offset === "number" ? `${topic} ${partition}:${offset}` : topic;
}

function place({ record }: DeadLetter): string {
  return `${record.partition}:${record.offset}`;
}

function detail(page: Page, live: Live, letter: DeadLetter): VNode {
  const { topic, partition, offset, record, timestamp } = letter;
  const traceable =
    topic !== null && topic !== undefined && typeof partition === "number" && typeof offset === "number";
  return h(
    "aside",
    { class: "panel side stack", "aria-label": "The dead letter", key: "detail" },
    h(
      "div",
      { class: "panel-head" },
      badge("bad", letter.reason),
      h(
        "div",
        { class: "end" },
        traceable &&
          h(
            "a",
            {
              class: "button",
              href: viewUrl(live.namespace, live.name, "follow", {
                topic,
                partition: String(partition),
                offset: String(offset),
              }),
            },
            "Follow it",
          ),
        h(
          "button",
          {
            type: "button",
            class: "quiet",
            "aria-label": "Close the letter",
            onClick: () => page.setQuery({ at: "" }, true),
          },
          "✕",
        ),
      ),
    ),
    h("p", null, letter.message ?? known("unknown")),
    facts([
      ["Written", timestamp ? `${exact(timestamp)}, ${ago(timestamp, Date.now())}` : known("unknown")],
      ["Query", known(letter.query ?? "unknown")],
      ["From", known(origin(letter))],
      ["Key", text(record.key, "none")],
    ]),
    messageValue(record),
    record.headers.length > 0 &&
      h(
        "section",
        null,
        h("h3", null, "Headers"),
        facts(record.headers.map(({ name, value }): [string, Child] => [name, text(value, "null")])),
      ),
  );
}
