/**
 * The addresses that axe looks at and that pictures are taken of: every view, with something open where there is something.
 */

import type { Task } from "./visit";

/** Returns name and path of each place. */
export function places({ namespace, pipeline, state: { run, message } }: Task): [string, string][] {
  const base = `/${namespace}/${pipeline}`;
  const query = (entries: Record<string, string>): string => `?${new URLSearchParams(entries).toString()}`;
  const topic = run?.topic ?? "";
  const at = message === undefined ? {} : { at: `${message.partition}:${message.offset}` };
  return [
    ["pipelines", "/"],
    ["overview", base],
    ["lag", `${base}/lag`],
    ["signals", `${base}/signals`],
    ["messages", `${base}/messages${run === undefined ? "" : query({ topic, run: run.name, ...at })}`],
    ["runs", `${base}/runs${run === undefined ? "" : query({ run: run.name })}`],
    ["logs", `${base}/logs`],
    ["tables", `${base}/tables`],
    ["letters", `${base}/letters`],
    [
      "follow",
      `${base}/follow${message === undefined ? "" : query({ topic, partition: String(message.partition), offset: String(message.offset) })}`,
    ],
    ["resource", `${base}/resource`],
  ];
}

/** Places that are looked at by axe too: states in which there is nothing to show. */
export function sparePlaces({ namespace, pipeline }: Task): [string, string][] {
  return [
    ["no such pipeline", `/${namespace}/there-is-none`],
    ["no such page", `/${namespace}/${pipeline}/nothing`],
    ["nothing found", `/?search=there-is-none`],
    ["live tail", `/${namespace}/${pipeline}/messages?live=1`],
    ["no such run", `/${namespace}/${pipeline}/runs?run=there-is-none`],
  ];
}
