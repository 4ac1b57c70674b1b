/**
 * Short messages at the page's foot, read aloud too: "Copied.", "Run created.".
 */

import { h, render } from "../dom";

let timer: ReturnType<typeof setTimeout> | undefined;

/** Shows a message for some seconds. */
export function announce(message: string): void {
  const place = region();
  render(place, h("p", { class: "toast" }, message));
  clearTimeout(timer);
  timer = setTimeout(() => render(place), 6000);
}

function region(): Element {
  const found = document.querySelector("#announcements");
  if (found !== null) return found;
  const made = document.createElement("div");
  made.id = "announcements";
  made.setAttribute("role", "status");
  made.setAttribute("aria-live", "polite");
  document.body.append(made);
  return made;
}
