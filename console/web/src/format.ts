/**
 * Numbers and times as people read them. Pure. What is unknown is written "unknown", never 0.
 */

export type Known<T> = T | null | undefined;

export const UNKNOWN = "unknown";

/** Returns a count, such as `12,345` or `1.2 M`. */
export function count(value: Known<number>): string {
  if (value === null || value === undefined || !Number.isFinite(value)) return UNKNOWN;
  if (Math.abs(value) < 100_000) return Math.round(value).toLocaleString("en-GB");
  return scaled(value, 1000, ["", "k", "M", "G", "T"]);
}

/** Returns a rate per second, such as `3.2/s`. */
export function rate(value: Known<number>): string {
  const known = short(value);
  return known === UNKNOWN ? UNKNOWN : `${known}/s`;
}

/** Returns a number of three digits, such as `0.05`, `3.2`, `1,200` or `1.2 M`. */
export function short(value: Known<number>): string {
  if (value === null || value === undefined || !Number.isFinite(value)) return UNKNOWN;
  const size = Math.abs(value);
  if (size >= 100_000) return scaled(value, 1000, ["", "k", "M", "G", "T"]);
  if (size >= 100 || value === 0) return Math.round(value).toLocaleString("en-GB");
  if (size >= 10) return value.toFixed(1).replace(/\.0$/, "");
  if (size < 0.005) return value > 0 ? "< 0.01" : "> -0.01";
  return value.toFixed(2).replace(/\.?0+$/, "");
}

/** Returns bytes, such as `12 KiB`. */
export function bytes(value: Known<number>): string {
  if (value === null || value === undefined || !Number.isFinite(value)) return UNKNOWN;
  if (value < 1024) return `${Math.round(value)} B`;
  return `${scaled(value, 1024, ["", "Ki", "Mi", "Gi", "Ti"])}B`;
}

function scaled(value: number, base: number, units: string[]): string {
  let rest = value;
  let unit = 0;
  while (Math.abs(rest) >= base && unit < units.length - 1) {
    rest /= base;
    unit += 1;
  }
  const digits = Math.abs(rest) < 10 ? rest.toFixed(1).replace(/\.0$/, "") : String(Math.round(rest));
  return `${digits} ${units[unit] ?? ""}`.trimEnd();
}

/** Returns a part of one as a percentage. */
export function share(value: Known<number>): string {
  if (value === null || value === undefined || !Number.isFinite(value)) return UNKNOWN;
  const percent = value * 100;
  return percent > 0 && percent < 1 ? "< 1 %" : `${Math.round(percent)} %`;
}

/** Returns a length of time in seconds, in the two largest units: `4 ms`, `12 s`, `3 min 5 s`, `2 d 4 h`. */
export function seconds(value: Known<number>): string {
  if (value === null || value === undefined || !Number.isFinite(value)) return UNKNOWN;
  if (value < 0) return `-${seconds(-value)}`;
  if (value === 0) return "0 s";
  if (value < 0.001) return `${short(value * 1e6)} µs`;
  if (value < 1) return `${short(value * 1000)} ms`;
  if (value < 60) return `${short(value)} s`;
  const whole = Math.round(value);
  const units: [number, string][] = [
    [86_400, "d"],
    [3600, "h"],
    [60, "min"],
    [1, "s"],
  ];
  const first = units.findIndex(([length]) => whole >= length);
  const [length, name] = units[first] ?? [1, "s"];
  const [nextLength, nextName] = units[first + 1] ?? [1, "s"];
  const rest = Math.floor((whole % length) / nextLength);
  const head = `${Math.floor(whole / length)} ${name}`;
  return rest === 0 || first === 3 ? head : `${head} ${rest} ${nextName}`;
}

/** Returns the seconds from a moment to `now`, or nothing if the moment is absent or not one. */
export function secondsSince(moment: Known<string>, now: number): number | undefined {
  const then = moment === null || moment === undefined ? Number.NaN : Date.parse(moment);
  return Number.isNaN(then) ? undefined : Math.max(0, (now - then) / 1000);
}

/** Returns how long ago a moment is, such as `5 min ago`, or how far ahead, such as `in 2 h`. */
export function ago(moment: Known<string>, now: number): string {
  const then = moment === null || moment === undefined ? Number.NaN : Date.parse(moment);
  if (Number.isNaN(then)) return UNKNOWN;
  const passed = Math.round((now - then) / 1000);
  if (Math.abs(passed) < 1) return "now";
  return passed > 0 ? `${seconds(passed)} ago` : `in ${seconds(-passed)}`;
}

/** Returns the time of day, with the day if it is another than today's: `14:02:07`, `3 Nov, 14:02:07`. */
export function clock(moment: Known<string | number>, now: number): string {
  if (moment === null || moment === undefined) return UNKNOWN;
  const date = new Date(moment);
  if (Number.isNaN(date.getTime())) return UNKNOWN;
  const time = date.toLocaleTimeString("en-GB", { hour12: false });
  const sameDay = date.toDateString() === new Date(now).toDateString();
  return sameDay ? time : `${date.toLocaleDateString("en-GB", { day: "numeric", month: "short" })}, ${time}`;
}

/** Returns the whole moment in UTC, for titles and files. */
export function exact(moment: Known<string | number>): string {
  if (moment === null || moment === undefined) return UNKNOWN;
  const date = new Date(moment);
  return Number.isNaN(date.getTime()) ? UNKNOWN : date.toISOString().replace(".000Z", "Z");
}

/** Returns a user's name, a ServiceAccount's without its long beginning. */
export function userName(user: Known<string>): string {
  return user?.replace(/^system:serviceaccount:/, "") ?? UNKNOWN;
}

/** Returns `1 run`, `2 runs`. */
export function plural(number: number, noun: string): string {
  return `${count(number)} ${noun}${number === 1 ? "" : "s"}`;
}

/** Returns a length of time as the resources write it (`1h30m`, `45s`) in seconds. */
export function parseDuration(text: string): number | undefined {
  const units: Record<string, number> = { d: 86_400, h: 3600, m: 60, s: 1, ms: 0.001 };
  const parts = [...text.matchAll(/(\d+(?:\.\d+)?)(ms|[dhms])/g)];
  if (parts.length === 0 || parts.map(([whole]) => whole).join("") !== text) return undefined;
  return parts.reduce((sum, [, number, unit]) => sum + Number(number) * (units[unit ?? ""] ?? 0), 0);
}
