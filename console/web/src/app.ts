/**
 * The page's life: who is signed in, where one is, which view is shown, and when it is drawn again. No drawing of its own.
 */

import { type Child, render } from "./dom";
import { endSession, onSignedOut, readSession } from "./net/client";
import { onConnectionChange } from "./net/connection";
import { Live } from "./net/live";
import { type Problem, problemOf } from "./net/problem";
import { openDialogs } from "./parts/dialog";
import { revealCurrent } from "./parts/reveal";
import { parseRoute, type Route, routeUrl } from "./router";
import type { Session } from "./types";

/** What a view gets of the page. */
export interface Page {
  readonly route: Route;
  redraw(): void;
  /** Goes to another address of the page. */
  go(url: string): void;
  /** Changes the query; empty values leave it. `replace`: without a step in the browser's history. */
  setQuery(changes: Record<string, string>, replace?: boolean): void;
  /** Notes that the session has ended. */
  expired(): void;
}

/** What is shown at a place. */
export interface View {
  draw(): Child;
  /** Called when only the query has changed. */
  moved?(): void;
  stop?(): void;
  /** Closes what is open in the view, such as one message beside the others; returns whether there was something. */
  close?(): boolean;
  /** Keys of this view, and what they do. */
  keys?: { key: string; does: string; act(): void }[];
}

export type SessionState =
  | { kind: "asking" }
  | { kind: "in"; session: Session }
  | { kind: "out"; ended: boolean }
  | { kind: "failed"; problem: Problem };

export type MakeView = (page: Page, live: Live | undefined) => View;

export class App implements Page {
  route: Route;
  session: SessionState = { kind: "asking" };
  view: View | undefined;
  live: Live | undefined;
  /** Whether the list of keys is open. */
  help = false;
  private frame = 0;
  private shownPlace = "";

  constructor(
    private readonly root: Element,
    private readonly makeView: MakeView,
    private readonly drawShell: (app: App) => Child,
  ) {
    this.route = parseRoute(location.pathname, location.search);
    addEventListener("popstate", () => this.arrive());
    document.addEventListener("click", (event) => this.followLink(event));
    document.addEventListener("visibilitychange", () => this.redraw());
    // The graph fills the width that there is.
    addEventListener("resize", () => this.redraw());
    onSignedOut(() => this.expired());
    onConnectionChange((regained) => {
      if (regained && this.session.kind === "failed") void this.start();
      this.redraw();
    });
    // Ages and "disconnected since" count on by themselves.
    setInterval(() => this.redraw(), 5000);
  }

  /** Asks who is signed in, and shows the address. */
  async start(): Promise<void> {
    this.redraw();
    try {
      this.signedIn(await readSession());
    } catch (cause) {
      const problem = problemOf(cause);
      this.session = problem.kind === "signedOut" ? { kind: "out", ended: false } : { kind: "failed", problem };
      if (this.session.kind === "failed") setTimeout(() => this.session.kind === "failed" && void this.start(), 3000);
      this.redraw();
    }
  }

  signedIn(session: Session): void {
    this.session = { kind: "in", session };
    if (this.route.place.kind === "login") this.go(safeNext(this.route.query.next));
    else this.arrive();
  }

  async signOut(): Promise<void> {
    try {
      await endSession();
    } finally {
      this.leave();
      this.session = { kind: "out", ended: false };
      this.redraw();
    }
  }

  expired(): void {
    if (this.session.kind !== "in") return;
    this.leave();
    this.session = { kind: "out", ended: true };
    this.redraw();
  }

  go(url: string): void {
    history.pushState(null, "", url);
    this.arrive();
    scrollTo(0, 0);
  }

  setQuery(changes: Record<string, string>, replace = false): void {
    const route = { ...this.route, query: { ...this.route.query, ...changes } };
    const target = routeUrl(route);
    if (target === location.pathname + location.search) return;
    history[replace ? "replaceState" : "pushState"](null, "", target);
    this.arrive();
  }

  redraw(): void {
    if (this.frame !== 0 || document.hidden) return;
    this.frame = requestAnimationFrame(() => {
      this.frame = 0;
      render(this.root, this.drawShell(this));
      openDialogs(this.root);
      revealCurrent(this.root);
    });
  }

  private arrive(): void {
    this.route = parseRoute(location.pathname, location.search);
    if (this.session.kind === "in") this.show();
    this.redraw();
  }

  private show(): void {
    const { place } = this.route;
    const shown = JSON.stringify(place);
    if (shown === this.shownPlace) {
      this.view?.moved?.();
      return;
    }
    this.view?.stop?.();
    this.shownPlace = shown;
    this.followPipeline();
    this.view = this.makeView(this, this.live);
  }

  /** Keeps the stream of the pipeline as long as one stays with it. */
  private followPipeline(): void {
    const { place } = this.route;
    const wanted = place.kind === "pipeline" ? place : undefined;
    if (this.live?.namespace === wanted?.namespace && this.live?.name === wanted?.name) return;
    this.live?.stop();
    this.live =
      wanted === undefined
        ? undefined
        : new Live(
            wanted.namespace,
            wanted.name,
            () => this.redraw(),
            () => this.expired(),
          );
  }

  private leave(): void {
    this.view?.stop?.();
    this.live?.stop();
    this.view = undefined;
    this.live = undefined;
    this.shownPlace = "";
  }

  private followLink(event: MouseEvent): void {
    if (
      event.defaultPrevented ||
      event.button !== 0 ||
      event.ctrlKey ||
      event.metaKey ||
      event.shiftKey ||
      event.altKey
    )
      return;
    const link = event.target instanceof Element ? event.target.closest("a") : null;
    const href = link?.getAttribute("href");
    if (link === null || href === null || href === undefined || !href.startsWith("/") || href.startsWith("/api/"))
      return;
    if (link.hasAttribute("download") || link.hasAttribute("target")) return;
    event.preventDefault();
    this.go(href);
  }
}

/** Takes what is open out of the address; returns whether something was. */
export function closeDetail(page: Page, name: string): boolean {
  if ((page.route.query[name] ?? "") === "") return false;
  page.setQuery({ [name]: "" });
  return true;
}

/** Returns where to go after signing in: an address of this page, whatever the link said. */
export function safeNext(next: string | undefined): string {
  return next !== undefined && /^\/(?![/\\])[\x21-\x7e]*$/.test(next) ? next : "/";
}
