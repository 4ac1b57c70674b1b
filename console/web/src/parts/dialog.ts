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

/** What had the focus before a dialog opened. Absent: no dialog is open. */
let opener: Element | null | undefined;

/** Opens the dialogs that were drawn, and gives the focus back when they are gone. To be called after each drawing. */
export function openDialogs(root: Element): void {
  const dialogs = root.querySelectorAll("dialog");
  for (const element of dialogs) {
    if (element.open) continue;
    opener = document.activeElement;
    element.showModal();
    element.querySelector<HTMLElement>(".body input, .body select")?.focus();
  }
  if (dialogs.length > 0 || opener === undefined) return;
  // A dialog that is taken out of the document leaves the focus nowhere.
  if (opener instanceof HTMLElement && document.activeElement === document.body) opener.focus();
  opener = undefined;
}
