/**
 * Dialogs, by the browser's own element: it keeps the focus inside and closes with Escape.
 */

import { type Child, h, type VNode } from "../dom";

export interface DialogOptions {
  title: string;
  close(): void;
  /** What stands at its foot, the buttons. */
  foot?: Child;
  wide?: boolean;
}

/** Returns a dialog; it is open as long as it is drawn. */
export function dialog(options: DialogOptions, ...content: Child[]): VNode {
  return h(
    "dialog",
    {
      key: "dialog",
      class: options.wide === true ? "wide" : undefined,
      "aria-labelledby": "dialog-title",
      onCancel: (event: Event) => {
        event.preventDefault();
        options.close();
      },
    },
    h(
      "header",
      null,
      h("h2", { id: "dialog-title" }, options.title),
      h("button", { type: "button", class: "quiet", "aria-label": "Close", onClick: options.close }, "✕"),
    ),
    h("div", { class: "body" }, ...content),
    options.foot !== undefined && h("footer", null, options.foot),
  );
}

/** Opens the dialogs that were drawn. To be called after each drawing. */
export function openDialogs(root: Element): void {
  for (const element of root.querySelectorAll("dialog")) {
    if (element.open) continue;
    element.showModal();
    element.querySelector<HTMLElement>(".body input, .body select")?.focus();
  }
}
