/**
 * What stands around every view: the bar, the list of views, the banners, sign-in, and the list of keys.
 */

import type { App } from "./app";
import { type Child, h, type VNode } from "./dom";
import { clock, seconds, userName } from "./format";
import { connectionState } from "./net/connection";
import { dialog } from "./parts/dialog";
import { badge, notice, problemNotice } from "./parts/state";
import { stateBadge } from "./parts/words";
import { type ViewName, VIEWS, viewUrl } from "./router";
import { chooseTheme, chosenTheme, isDark, type Theme } from "./theme";
import type { State } from "./types";
import { drawLogin } from "./views/login";

export const VIEW_TITLES: Record<ViewName, string> = {
  overview: "Overview",
  lag: "Lag",
  signals: "Signals",
  messages: "Messages",
  runs: "Runs",
  logs: "Logs",
  tables: "Tables",
  letters: "Dead letters",
  follow: "Follow a record",
  resource: "Resource",
};

/** Letter after `g` that goes to a view. */
export const VIEW_KEYS: Record<ViewName, string> = {
  overview: "o",
  lag: "l",
  signals: "s",
  messages: "m",
  runs: "r",
  logs: "p",
  tables: "t",
  letters: "d",
  follow: "f",
  resource: "y",
};

export function drawShell(app: App): Child {
  document.title = title(app);
  return [
    h("a", { class: "skip", href: "#content", onClick: focusContent, key: "skip" }, "Skip to the content"),
    bar(app),
    banners(app),
    h(
      "div",
      { class: "frame", key: "frame" },
      app.session.kind === "in" && app.route.place.kind === "pipeline" && viewList(app),
      h("main", { id: "content", tabindex: -1, key: "main" }, content(app)),
    ),
    app.help && helpDialog(app),
  ];
}

function focusContent(event: Event): void {
  event.preventDefault();
  document.querySelector<HTMLElement>("#content")?.focus();
}

function title(app: App): string {
  const { place } = app.route;
  switch (place.kind) {
    case "pipeline":
      return `${VIEW_TITLES[place.view]} · ${place.name} · Millrace`;
    case "pipelines":
      return "Pipelines · Millrace";
    case "login":
      return "Sign in · Millrace";
    case "unknown":
      return "Not found · Millrace";
  }
}

function content(app: App): Child {
  switch (app.session.kind) {
    case "asking":
      return notice("loading", "Signing you in");
    case "failed":
      return problemNotice(app.session.problem, "The console", () => void app.start());
    case "out":
      return drawLogin(app, app.session.ended);
    case "in":
      return app.view?.draw() ?? notice("missing", "There is no such page", h("a", { href: "/" }, "All pipelines"));
  }
}

function bar(app: App): VNode {
  const { place } = app.route;
  return h(
    "header",
    { class: "bar", key: "bar" },
    h("a", { class: "brand", href: "/" }, h("img", { src: iconUrl(), alt: "", width: 24, height: 24 }), "Millrace"),
    place.kind === "pipeline" &&
      h(
        "nav",
        { class: "crumbs", "aria-label": "Where you are" },
        h("span", { class: "soft" }, "/"),
        h("a", { href: `/?namespace=${encodeURIComponent(place.namespace)}` }, place.namespace),
        h("span", { class: "soft" }, "/"),
        h("strong", null, place.name),
      ),
    h("div", { class: "bar-end" }, liveness(app), themeSwitch(app), helpButton(app), who(app)),
  );
}

function iconUrl(): string {
  return document.querySelector('link[rel="icon"]')?.getAttribute("href") ?? "";
}

function liveness(app: App): Child {
  const { lostSince, heardAt } = connectionState();
  if (app.session.kind !== "in") return null;
  if (lostSince !== undefined) return h("span", { class: "live away" }, "Disconnected");
  return h(
    "span",
    { class: "live", title: heardAt === undefined ? undefined : `Last answer at ${clock(heardAt, Date.now())}` },
    "Live",
  );
}

const NEXT_THEME: Record<Theme, Theme> = { system: "light", light: "dark", dark: "system" };

function themeSwitch(app: App): VNode {
  const theme = chosenTheme();
  const label = theme === "system" ? `Theme: system (${isDark() ? "dark" : "light"})` : `Theme: ${theme}`;
  return h(
    "button",
    {
      type: "button",
      class: "quiet",
      title: `${label}. Change it.`,
      "aria-label": `${label}. Change it.`,
      onClick: () => {
        chooseTheme(NEXT_THEME[theme]);
        app.redraw();
      },
    },
    theme === "system" ? "◐" : theme === "light" ? "☀" : "☾",
  );
}

function helpButton(app: App): VNode {
  return h(
    "button",
    {
      type: "button",
      class: "quiet keys-button",
      title: "Keys (?)",
      "aria-label": "Keys",
      onClick: () => toggleHelp(app),
    },
    "?",
  );
}

function who(app: App): Child {
  if (app.session.kind !== "in") return null;
  const { user, groups, end } = app.session.session;
  return [
    h(
      "span",
      { class: "who", title: `Groups: ${groups.join(", ") || "none"}. The session ends at ${clock(end, Date.now())}.` },
      userName(user),
    ),
    h("button", { type: "button", onClick: () => void app.signOut() }, "Sign out"),
  ];
}

function viewList(app: App): Child {
  const { place } = app.route;
  if (place.kind !== "pipeline") return null;
  const state = app.live?.view.value?.summary.state;
  return h(
    "nav",
    { class: "views", "aria-label": "Views of the pipeline", key: "views" },
    h(
      "ul",
      null,
      VIEWS.map((name) =>
        h(
          "li",
          { key: name },
          h(
            "a",
            {
              href: viewUrl(place.namespace, place.name, name, keptQuery(app)),
              "aria-current": name === place.view ? "page" : undefined,
              title: `g ${VIEW_KEYS[name]}`,
            },
            viewLabel(name, state),
          ),
        ),
      ),
    ),
  );
}

/** Returns a view's title; beside that of the overview stands the pipeline's state, unless all is well. Pure. */
export function viewLabel(name: ViewName, state: State | undefined): Child {
  if (name !== "overview" || state === undefined || state === "Ok") return VIEW_TITLES[name];
  // The space is for those who hear it; what is seen between the two is a gap.
  return [VIEW_TITLES[name], " ", stateBadge(state)];
}

/** The range of time stays when one goes from view to view. */
function keptQuery(app: App): Record<string, string> {
  const { range = "", until = "" } = app.route.query;
  return { range, until };
}

function banners(app: App): Child {
  if (app.session.kind !== "in") return null;
  const { lostSince } = connectionState();
  const now = Date.now();
  return [
    lostSince !== undefined &&
      h(
        "div",
        { class: "banner bad", role: "alert", key: "lost" },
        h("strong", null, `Disconnected since ${clock(lostSince, now)}`),
        h(
          "span",
          null,
          `(${seconds(Math.round((now - lostSince) / 1000))}). The page shows what was known then, and reconnects by itself.`,
        ),
      ),
    pausedBanner(app),
  ];
}

function pausedBanner(app: App): Child {
  const { place } = app.route;
  const paused = app.live?.view.value?.summary.pausedSources ?? [];
  if (place.kind !== "pipeline" || paused.length === 0) return null;
  return h(
    "div",
    { class: "banner paused", key: "paused", role: "status" },
    badge("paused", "Paused"),
    h("span", null, `Schedules are paused: no runs start by themselves for ${paused.join(", ")}.`),
    h("a", { class: "end", href: viewUrl(place.namespace, place.name, "runs") }, "Resume it in Runs"),
  );
}

export function toggleHelp(app: App): void {
  app.help = !app.help;
  app.redraw();
}

function helpDialog(app: App): VNode {
  const row = (key: string, does: string): VNode =>
    h(
      "tr",
      null,
      h(
        "td",
        { class: "nowrap" },
        key.split(" ").map((part) => [h("kbd", null, part), " "]),
      ),
      h("td", null, does),
    );
  const close = (): void => toggleHelp(app);
  return dialog(
    { title: "Keys", close },
    h(
      "table",
      { class: "keys" },
      h(
        "tbody",
        null,
        row("?", "This list"),
        row("/", "Go to the search or filter"),
        row("t", "Theme: light, dark or system"),
        row("↑ ↓", "Move between the rows of a table; Enter opens a row"),
        row("Esc", "Close what is open"),
        row("g a", "All pipelines"),
        VIEWS.map((view) => row(`g ${VIEW_KEYS[view]}`, VIEW_TITLES[view])),
        app.view?.keys?.map(({ key, does }) => row(key, does)),
      ),
    ),
  );
}
