/**
 * Where one is: every view is a path, and what it shows is in the query, so that an address can be sent to somebody.
 *
 * Paths: `/`, `/login`, `/NAMESPACE/PIPELINE`, `/NAMESPACE/PIPELINE/VIEW`. Pure.
 */

export const VIEWS = [
  "overview",
  "lag",
  "signals",
  "messages",
  "runs",
  "logs",
  "tables",
  "letters",
  "follow",
  "resource",
] as const;

export type ViewName = (typeof VIEWS)[number];

export type Place =
  | { kind: "pipelines" }
  | { kind: "login" }
  | { kind: "pipeline"; namespace: string; name: string; view: ViewName }
  | { kind: "unknown"; path: string };

export interface Route {
  place: Place;
  query: Record<string, string>;
}

/** Returns the route of a URL's path and query. */
export function parseRoute(path: string, search: string): Route {
  return { place: parsePlace(path), query: Object.fromEntries(new URLSearchParams(search)) };
}

function parsePlace(path: string): Place {
  const unknown: Place = { kind: "unknown", path };
  const parts = path.split("/").filter((part) => part !== "");
  if (parts.length === 0) return { kind: "pipelines" };
  if (parts.length === 1) return parts[0] === "login" ? { kind: "login" } : unknown;
  const [namespace, name, view = "overview", ...rest] = parts.map(decode);
  if (namespace === undefined || name === undefined || rest.length > 0 || !isView(view)) return unknown;
  return isName(namespace) && isName(name) ? { kind: "pipeline", namespace, name, view } : unknown;
}

function decode(part: string): string | undefined {
  try {
    return decodeURIComponent(part);
  } catch {
    return undefined;
  }
}

function isView(view: string | undefined): view is ViewName {
  return VIEWS.some((known) => known === view);
}

/** Names of Kubernetes objects; anything else never reaches the server. */
function isName(name: string): boolean {
  return /^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$/.test(name);
}

/** Returns the URL of a route; empty values are left out, and keys are sorted so that equal views have equal addresses. */
export function routeUrl(route: Route): string {
  const entries = Object.entries(route.query).filter(([, value]) => value !== "");
  entries.sort(([left], [right]) => (left < right ? -1 : 1));
  const query = new URLSearchParams(entries).toString();
  return placePath(route.place) + (query === "" ? "" : `?${query}`);
}

function placePath(place: Place): string {
  switch (place.kind) {
    case "pipelines":
      return "/";
    case "login":
      return "/login";
    case "unknown":
      return place.path;
    case "pipeline": {
      const base = `/${place.namespace}/${place.name}`;
      return place.view === "overview" ? base : `${base}/${place.view}`;
    }
  }
}

/** Returns the URL of a pipeline's view. */
export function viewUrl(namespace: string, name: string, view: ViewName, query: Record<string, string> = {}): string {
  return routeUrl({ place: { kind: "pipeline", namespace, name, view }, query });
}
