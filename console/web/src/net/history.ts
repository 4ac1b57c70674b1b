/**
 * The last hour of a pipeline's measures: columns of one length, extended by a sample at a time. Pure but for its own state.
 */

import type { History, Measure, Sample, SeriesKey, Stage } from "../types";

/** An hour at 5 s. */
const MOST = 720;

export type Column = (number | null)[];

export interface Selector {
  measure: Measure;
  stage?: Stage | undefined;
  name?: string | undefined;
  partition?: number | undefined;
}

export class Columns {
  times: number[] = [];
  step = 5;
  private readonly series = new Map<string, { key: SeriesKey; values: Column }>();

  /** Takes a whole history in place of what there is. */
  replace(history: History): void {
    this.times = [...history.times];
    this.step = history.stepSeconds;
    this.series.clear();
    for (const { key, values } of history.series) {
      this.series.set(identity(key), { key, values: this.times.map((_, index) => values[index] ?? null) });
    }
  }

  /** Adds the newest sample. A series without a value in it is unknown then. */
  push(sample: Sample): void {
    const last = this.times.at(-1);
    if (last !== undefined && sample.time <= last) return;
    const gap = last !== undefined && sample.time - last > this.step * 2.5;
    // A hole in time is a value that nobody knows: it must not be bridged by a line.
    if (gap) this.append(last + this.step, new Map());
    const values = new Map(sample.values.map(({ key, value }) => [identity(key), value ?? null]));
    for (const { key } of sample.values) {
      if (!this.series.has(identity(key))) this.series.set(identity(key), { key, values: this.times.map(() => null) });
    }
    this.append(sample.time, values);
  }

  private append(time: number, values: Map<string, number | null>): void {
    this.times.push(time);
    for (const [id, series] of this.series) series.values.push(values.get(id) ?? null);
    if (this.times.length <= MOST) return;
    this.times.shift();
    for (const series of this.series.values()) series.values.shift();
  }

  /** Returns the series that a selector picks; what it leaves out must be absent from the series too. */
  column(selector: Selector): Column | undefined {
    return this.series.get(identity(selector))?.values;
  }

  /** Returns the keys of the series of a measure. */
  keys(measure: Measure): SeriesKey[] {
    return [...this.series.values()].map(({ key }) => key).filter((key) => key.measure === measure);
  }
}

function identity(key: {
  measure: Measure;
  stage?: Stage | null | undefined;
  name?: string | null | undefined;
  partition?: number | null | undefined;
}): string {
  return [key.measure, key.stage ?? "", key.name ?? "", key.partition ?? ""].join("|");
}

export interface Range {
  /** Length in seconds. */
  seconds: number;
  /** End in seconds since the epoch. Absent: now, and going on. */
  until: number | undefined;
}

export const RANGES: [number, string][] = [
  [300, "5 min"],
  [900, "15 min"],
  [1800, "30 min"],
  [3600, "1 h"],
];

/** Returns the range that a view's query asks for; the last quarter of an hour if none. */
export function rangeOf(query: Record<string, string>): Range {
  const asked = Number(query.range);
  const until = Number(query.until);
  return {
    seconds: RANGES.some(([length]) => length === asked) ? asked : 900,
    until: query.until !== undefined && Number.isFinite(until) && until > 0 ? until : undefined,
  };
}

/** Returns the first and last second of a range. */
export function bounds(range: Range, now: number): [number, number] {
  const end = range.until ?? Math.floor(now / 1000);
  return [end - range.seconds, end];
}
