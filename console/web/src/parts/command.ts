/**
 * Commands: what an action is as a line for the shell, with a button that copies it.
 */

import { h, type VNode } from "../dom";
import { announce } from "./announce";

/** Returns a command line, or several, that can be copied. */
export function command(line: string, label = "The same with kubectl"): VNode {
  return h(
    "div",
    { class: "command" },
    h("p", { class: "label" }, label),
    h(
      "div",
      { class: "line" },
      h("pre", { tabindex: 0, role: "region", "aria-label": label }, h("code", null, line)),
      copyButton(line),
    ),
  );
}

/** Returns a button that copies text. */
export function copyButton(text: string, label = "Copy"): VNode {
  return h(
    "button",
    { type: "button", class: "quiet", title: "Copy to the clipboard", onClick: () => void copy(text) },
    label,
  );
}

async function copy(text: string): Promise<void> {
  try {
    await navigator.clipboard.writeText(text);
    announce("Copied.");
  } catch {
    announce("The browser does not let this page copy; select the text instead.");
  }
}
