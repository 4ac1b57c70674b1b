/**
 * What is looked for in a topic: from the address to the API's query, and the commands and files that belong to it. Pure.
 */

import type { Query } from "../../net/client";

/** What the filter has, all as the address writes it; empty: not asked. */
export interface Search {
  topic: string;
  from: string;
  offset: string;
  time: string;
  partition: string;
  key: string;
  contains: string;
  header: string;
  run: string;
  limit: string;
  live: boolean;
}

export const FROM: [string, string][] = [
  ["newest", "newest first"],
  ["oldest", "oldest first"],
  ["offset", "from an offset"],
  ["time", "from a time"],
];

/** Returns the search of a view's address; the first topic if none is named. */
export function searchOf(query: Record<string, string>, topics: readonly string[]): Search {
  const {
    topic = topics[0] ?? "",
    from = "newest",
    offset = "",
    time = "",
    partition = "",
    key = "",
    contains = "",
    header = "",
    run = "",
    limit = "",
  } = query;
  return {
    topic,
    from: FROM.some(([name]) => name === from) ? from : "newest",
    offset,
    time,
    partition,
    key,
    contains,
    header,
    run,
    limit,
    live: query.live === "1",
  };
}

/** Returns the filters of a search, as both a request and a tail take them. */
export function filters({ partition, key, contains, header, run }: Search): Query {
  return { partition, key, contains, header, run };
}

/** Returns the request of a search. */
export function request(search: Search, cursor: string | undefined): Query {
  if (cursor !== undefined) return { ...filters(search), limit: search.limit, from: search.from, cursor };
  const { from, offset, time, limit } = search;
  return {
    ...filters(search),
    limit,
    from,
    offset: from === "offset" ? offset || "0" : undefined,
    time: from === "time" ? moment(time) : undefined,
  };
}

/** Returns a moment in UTC of what a field for date and time has; nothing if it is none. */
export function moment(local: string): string | undefined {
  const date = new Date(local);
  return local === "" || Number.isNaN(date.getTime()) ? undefined : date.toISOString();
}

/** Returns why a search cannot be asked for, or nothing. */
export function searchProblem({ from, offset, time, partition }: Search): string | undefined {
  if (from === "offset" && !/^\d*$/.test(offset)) return "The offset is a whole number from 0.";
  if (from === "time" && moment(time) === undefined) return "Choose a time to begin at.";
  if (!/^\d*$/.test(partition)) return "The partition is a whole number from 0.";
  return undefined;
}

/** Returns what a search looks at, for the key of what was found. */
export function identity(search: Search): string {
  return JSON.stringify({ ...search, live: false });
}
