/**
 * What can go wrong with a request, in the few kinds that the page draws differently. Pure.
 */

export type ProblemKind =
  /** No session, or it has ended. */
  | "signedOut"
  /** The viewer lacks a right; the message names it. */
  | "forbidden"
  /** There is no such thing. */
  | "missing"
  /** The request cannot work as it is; the user must change it. */
  | "refused"
  /** Too many requests. */
  | "limited"
  /** Kafka, Cassandra, the API server or a worker does not answer: what was asked for is unknown. */
  | "away"
  /** The console itself cannot be reached. */
  | "disconnected"
  /** The console failed. */
  | "bug";

export interface Problem {
  kind: ProblemKind;
  message: string;
  /** Fields of the request that are wrong, by their path. */
  fields?: { field: string; message: string }[];
  /** Seconds after which it is worth trying again. */
  retryAfter?: number | undefined;
}

/** A request that failed. */
export class Failure extends Error {
  constructor(readonly problem: Problem) {
    super(problem.message);
  }
}

/** Returns the kind of problem that an HTTP status stands for. */
export function kindOf(status: number): ProblemKind {
  switch (status) {
    case 401:
      return "signedOut";
    case 403:
      return "forbidden";
    case 404:
    case 410:
      return "missing";
    case 429:
      return "limited";
    case 502:
    case 503:
    case 504:
      return "away";
    default:
      return status >= 500 ? "bug" : "refused";
  }
}

/** Returns the problem of whatever a request threw. */
export function problemOf(cause: unknown): Problem {
  if (cause instanceof Failure) return cause.problem;
  return { kind: "bug", message: cause instanceof Error ? cause.message : String(cause) };
}
