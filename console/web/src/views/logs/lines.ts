/**
 * Lines of a log: time, text, how grave, and the parts that were looked for. Pure.
 */

import { parseJson } from "../../parts/json";

export interface Line {
  /** As Kubernetes writes it, RFC 3339. Empty: the line has none. */
  time: string;
  text: string;
  tone: "bad" | "warn" | "";
}

/** Returns a line of a log whose lines begin with their time. */
export function parseLine(line: string): Line {
  const match = /^(\d{4}-\d{2}-\d{2}T[\d:.]+(?:Z|[+-]\d{2}:\d{2})) ?(.*)$/s.exec(line);
  const text = readable(withoutColours(match?.[2] ?? line));
  return { time: match?.[1] ?? "", text, tone: toneOf(text) };
}

/** Writes a JSON line of a worker as level, message and fields; anything else stays as it is. */
function readable(text: string): string {
  const record = text.startsWith("{") ? parseJson(text) : undefined;
  if (record === null || typeof record !== "object" || Array.isArray(record)) return text;
  const { timestamp: _time, level, message, ...fields } = record;
  if (typeof level !== "string" || typeof message !== "string") return text;
  const rest = Object.entries(fields).map(
    ([name, value]) => ` ${name}=${typeof value === "string" ? value : JSON.stringify(value)}`,
  );
  return `${level.padStart(5)} ${message}${rest.join("")}`;
}

/** Takes out the terminal's colours. */
function withoutColours(text: string): string {
  return text.replace(/\u001b\[[0-9;]*m/g, "");
}

/** Levels as the workers, Kafka, ZooKeeper and Cassandra write them: a word of its own near the begin. */
function toneOf(text: string): Line["tone"] {
  const word = /\b(ERROR|FATAL|WARN|WARNING)\b/.exec(text.slice(0, 80))?.[1] ?? "";
  if (word === "ERROR" || word === "FATAL") return "bad";
  return word.startsWith("WARN") ? "warn" : "";
}

/** Returns a text cut at what is looked for: plain and found parts take turns, a plain one first. */
export function split(text: string, wanted: string): string[] {
  if (wanted === "") return [text];
  const parts: string[] = [];
  const low = text.toLowerCase();
  const needle = wanted.toLowerCase();
  let from = 0;
  for (let at = low.indexOf(needle); at >= 0; at = low.indexOf(needle, from)) {
    parts.push(text.slice(from, at), text.slice(at, at + needle.length));
    from = at + needle.length;
  }
  parts.push(text.slice(from));
  return parts;
}

/** Returns the lines of a log's text. */
export function linesOf(text: string): Line[] {
  return text
    .split("\n")
    .filter((line) => line !== "")
    .map(parseLine);
}
