/**
 * Requests to the console's API, typed; every failure becomes a `Failure` with a kind that the page can draw.
 */

import type * as api from "../types";
import { heard, lost } from "./connection";
import { Failure, kindOf, type Problem, type ProblemKind } from "./problem";

export type Query = Record<string, string | number | boolean | null | undefined>;

/** Header and value that whatever changes something must carry; known since the session was read. */
const CSRF_HEADER = "x-millrace-csrf";
let csrf = "";
let signedOut = (): void => undefined;

/** Calls `listener` when an answer says that the session has ended. */
export function onSignedOut(listener: () => void): void {
  signedOut = listener;
}

/** Returns the session, or fails with `signedOut`. */
export async function readSession(): Promise<api.Session> {
  return keep(await request<api.Session>("GET", "/api/v1/session"));
}

/** Opens a session with a Kubernetes token. */
export async function openSession(token: string): Promise<api.Session> {
  return keep(await request<api.Session>("POST", "/api/v1/session", { body: { token } }));
}

/** Ends the session. */
export async function endSession(): Promise<void> {
  await request<undefined>("DELETE", "/api/v1/session");
  csrf = "";
}

function keep(session: api.Session): api.Session {
  csrf = session.csrf;
  return session;
}

export function readPipelines(signal: AbortSignal, namespace: string): Promise<api.Pipelines> {
  return request("GET", url("/api/v1/pipelines", { namespace }), { signal });
}

/** The routes of one pipeline. */
export class PipelineClient {
  private readonly base: string;

  constructor(namespace: string, name: string) {
    this.base = `/api/v1/namespaces/${encodeURIComponent(namespace)}/pipelines/${encodeURIComponent(name)}`;
  }

  /** Returns the URL of a route below the pipeline's; each part of the path is escaped. */
  url(parts: string[], query: Query = {}): string {
    return url([this.base, ...parts.map(encodeURIComponent)].join("/"), query);
  }

  view = (signal: AbortSignal): Promise<api.PipelineView> => this.get(signal, []);
  history = (signal: AbortSignal): Promise<api.History> => this.get(signal, ["history"]);
  lag = (signal: AbortSignal): Promise<api.Lag> => this.get(signal, ["lag"]);
  topics = (signal: AbortSignal): Promise<api.Topics> => this.get(signal, ["topics"]);
  tables = (signal: AbortSignal): Promise<api.Tables> => this.get(signal, ["tables"]);
  resource = (signal: AbortSignal): Promise<api.Resource> => this.get(signal, ["resource"]);
  pods = (signal: AbortSignal): Promise<api.Pods> => this.get(signal, ["pods"]);
  events = (signal: AbortSignal): Promise<api.Events> => this.get(signal, ["events"]);
  runs = (signal: AbortSignal): Promise<api.Runs> => this.get(signal, ["runs"]);

  messages(signal: AbortSignal, topic: string, query: Query): Promise<api.Messages> {
    return this.get(signal, ["topics", topic, "messages"], query);
  }

  rows(signal: AbortSignal, table: string, query: Query): Promise<api.Rows> {
    return this.get(signal, ["tables", table, "rows"], query);
  }

  letters(signal: AbortSignal, limit: number): Promise<api.DeadLetters> {
    return this.get(signal, ["dead-letters"], { limit });
  }

  trace(signal: AbortSignal, topic: string, partition: number, offset: number): Promise<api.Trace> {
    return this.get(signal, ["trace"], { topic, partition, offset });
  }

  run(signal: AbortSignal, run: string): Promise<api.Run> {
    return this.get(signal, ["runs", run]);
  }

  /** Returns a log as text. */
  logs(signal: AbortSignal, pod: string, query: Query): Promise<string> {
    return request("GET", this.url(["pods", pod, "logs"], query), { signal, text: true });
  }

  trigger(trigger: api.Trigger): Promise<api.Done> {
    return request("POST", this.url(["runs"]), { body: trigger });
  }

  cancel(run: string): Promise<api.Done> {
    return request("POST", this.url(["runs", run, "cancel"]));
  }

  rerun(run: string): Promise<api.Done> {
    return request("POST", this.url(["runs", run, "rerun"]));
  }

  backfill(backfill: api.Backfill): Promise<api.BackfillAnswer> {
    return request("POST", this.url(["backfills"]), { body: backfill });
  }

  /** Takes up to a minute: it is awaited in the pod that does it. */
  redrive(redrive: api.Redrive): Promise<api.RedriveAnswer> {
    return request("POST", this.url(["dead-letters", "redrive"]), { body: redrive });
  }

  pause(source: string, paused: boolean): Promise<api.Done> {
    return request("PUT", this.url(["sources", source, "paused"]), { body: { paused } });
  }

  /** Approves the plan with this hash, and no other. */
  approve(hash: string): Promise<api.Done> {
    return request("POST", this.url(["plan", "approval"]), { body: { hash } });
  }

  private get<T>(signal: AbortSignal, parts: string[], query: Query = {}): Promise<T> {
    return request("GET", this.url(parts, query), { signal });
  }
}

/** Returns a path with a query; what is absent or empty is left out. */
export function url(path: string, query: Query): string {
  const set = Object.entries(query).filter(
    ([, value]) => value !== undefined && value !== null && value !== "" && value !== false,
  );
  if (set.length === 0) return path;
  return `${path}?${new URLSearchParams(set.map(([name, value]) => [name, String(value)])).toString()}`;
}

interface RequestOptions {
  signal?: AbortSignal;
  body?: unknown;
  text?: boolean;
}

async function request<T>(method: string, path: string, options: RequestOptions = {}): Promise<T> {
  const headers: Record<string, string> = { accept: options.text === true ? "text/plain" : "application/json" };
  if (method !== "GET") headers[CSRF_HEADER] = csrf;
  if (options.body !== undefined) headers["content-type"] = "application/json";
  const init: RequestInit = { method, headers, credentials: "same-origin", cache: "no-store" };
  if (options.signal !== undefined) init.signal = options.signal;
  if (options.body !== undefined) init.body = JSON.stringify(options.body);

  const response = await send(path, init);
  if (response.status === 401) signedOut();
  if (!response.ok) throw new Failure(await problem(response));
  if (response.status === 204) return undefined as T;
  return (options.text === true ? await response.text() : await response.json()) as T;
}

async function send(path: string, init: RequestInit): Promise<Response> {
  try {
    const response = await fetch(path, init);
    heard();
    return response;
  } catch (cause) {
    if (init.signal?.aborted === true) throw cause;
    lost();
    throw new Failure({
      kind: "disconnected",
      message: "the console does not answer; is the port-forward still open?",
    });
  }
}

async function problem(response: Response): Promise<Problem> {
  try {
    return problemFrom(response.status, (await response.json()) as Partial<api.Problem>);
  } catch {
    return { kind: kindOf(response.status), message: `the console answered ${response.status} ${response.statusText}` };
  }
}

const KINDS: Record<api.ProblemReason, ProblemKind> = {
  Unauthenticated: "signedOut",
  Forbidden: "forbidden",
  NotFound: "missing",
  Rejected: "refused",
  Conflict: "refused",
  Limited: "limited",
  Unavailable: "away",
  Bug: "bug",
};

/** Returns the problem that the API's answer tells. */
export function problemFrom(status: number, told: Partial<api.Problem>): Problem {
  const kind = told.reason === undefined ? kindOf(status) : KINDS[told.reason];
  const parts = [told.message ?? `the console answered ${status}`, ...(told.causes ?? [])];
  const right = told.right === undefined || told.right === null ? "" : ` (needs: ${told.right})`;
  return {
    kind,
    message: parts.join(": ") + right,
    fields: told.fields ?? [],
    retryAfter: told.retryAfter ?? undefined,
  };
}
