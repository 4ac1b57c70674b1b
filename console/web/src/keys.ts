/**
 * The keyboard: which keys go where. Keys that are typed into a field, or with Ctrl, Alt or Meta, are left alone.
 */

import type { App } from "./app";
import { VIEW_KEYS, toggleHelp } from "./shell";
import { VIEWS, viewUrl } from "./router";
import { chooseTheme, chosenTheme } from "./theme";

/** Listens to keys for the whole page. */
export function listenToKeys(app: App): void {
  let going = false;
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey || event.defaultPrevented) return;
    if (typing(event.target)) {
      if (event.key === "Escape" && event.target instanceof HTMLElement) event.target.blur();
      return;
    }
    const wasGoing = going;
    going = event.key === "g" && !wasGoing;
    const acted = wasGoing ? goTo(app, event.key) : act(app, event.key);
    if (acted) event.preventDefault();
  });
}

function typing(target: EventTarget | null): boolean {
  return (
    target instanceof HTMLElement && target.closest("input:not([type=checkbox]), textarea, select, dialog") !== null
  );
}

function goTo(app: App, key: string): boolean {
  if (app.session.kind !== "in") return false;
  if (key === "a") {
    app.go("/");
    return true;
  }
  const { place, query } = app.route;
  const view = VIEWS.find((name) => VIEW_KEYS[name] === key);
  if (place.kind !== "pipeline" || view === undefined) return false;
  const { range = "", until = "" } = query;
  app.go(viewUrl(place.namespace, place.name, view, { range, until }));
  return true;
}

function act(app: App, key: string): boolean {
  switch (key) {
    case "?":
      toggleHelp(app);
      return true;
    case "t": {
      const theme = chosenTheme();
      chooseTheme(theme === "system" ? "light" : theme === "light" ? "dark" : "system");
      app.redraw();
      return true;
    }
    case "Escape":
      return app.view?.close?.() ?? false;
    case "/": {
      const field = document.querySelector<HTMLElement>("main [data-search]");
      field?.focus();
      return field !== null;
    }
    default: {
      const own = app.view?.keys?.find((candidate) => candidate.key === key);
      own?.act();
      return own !== undefined;
    }
  }
}
