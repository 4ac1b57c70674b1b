/**
 * One message in full: key, value as JSON or text, headers, and where it leads.
 */

import { type Child, h, type VNode } from "../../dom";
import { ago, bytes, exact } from "../../format";
import type { Live } from "../../net/live";
import { copyButton } from "../../parts/command";
import { type Json, jsonTree } from "../../parts/json";
import { facts } from "../../parts/table";
import { viewUrl } from "../../router";
import type { ApiText, Message } from "../../types";

/** Returns the part of a page that shows a message. `followed`: its way is shown beside it. */
export function messageDetail(live: Live, topic: string, message: Message, close: () => void, followed = false): VNode {
  const { partition, offset, timestamp, run } = message;
  return h(
    "aside",
    { class: "panel side stack", "aria-label": "The message", key: "detail" },
    h(
      "div",
      { class: "panel-head" },
      h("h2", null, `Partition ${partition}, offset ${offset}`),
      h(
        "div",
        { class: "end" },
        !followed &&
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
        h("button", { type: "button", class: "quiet", "aria-label": "Close the message", onClick: close }, "✕"),
      ),
    ),
    facts([
      [
        "Time",
        timestamp === null || timestamp === undefined
          ? "none"
          : [exact(timestamp), h("span", { class: "soft" }, ` · ${ago(timestamp, Date.now())}`)],
      ],
      ["Key", text(message.key, "none")],
      [
        "Run",
        run === null || run === undefined
          ? h("span", { class: "soft" }, "none, or unknown")
          : h("a", { href: viewUrl(live.namespace, live.name, "runs", { run }) }, run),
      ],
      ["Size", bytes(message.bytes)],
    ]),
    messageValue(message),
    message.headers.length > 0 &&
      h(
        "section",
        null,
        h("h3", null, "Headers"),
        facts(message.headers.map(({ name, value }): [string, Child] => [name, text(value, "null")])),
      ),
  );
}

/** Returns a message's value: a tree if it is JSON, else its text. */
export function messageValue({ value, json }: Message): VNode {
  return h(
    "section",
    null,
    h(
      "div",
      { class: "panel-head" },
      h("h3", null, "Value"),
      value !== null && value !== undefined && h("div", { class: "end" }, copyButton(value.text)),
    ),
    value !== null &&
      value !== undefined &&
      value.cut &&
      h("p", { class: "soft" }, "Only the beginning is shown: the value is too long."),
    json !== null && json !== undefined ? jsonTree(json as Json, 3) : h("pre", { class: "yaml" }, text(value, "null")),
  );
}

/** Returns bytes as text, saying so where they are not text, or are masked. */
export function text(value: ApiText | null | undefined, absent: string): Child {
  if (value === null || value === undefined) return h("span", { class: "soft" }, absent);
  return [
    h("code", null, value.text),
    value.encoding === "Base64" && h("span", { class: "soft" }, " base64"),
    value.cut && h("span", { class: "soft" }, " …"),
    value.masked &&
      h("span", { class: "masked", title: "Fields of it are masked: you lack the right to see them" }, " masked"),
  ];
}
