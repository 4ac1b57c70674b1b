/**
 * Charts over time, by uPlot. Where a value is unknown the line has a gap, and where all are, the ground is hatched: a gap
 * is never bridged and never drawn as 0.
 */

import uPlot from "uplot";
import { type VNode, h, type Mounted, widget } from "../dom";
import { clock, UNKNOWN } from "../format";
import { isDark } from "../theme";
import { saveFile } from "./save";

export interface ChartSeries {
  label: string;
  values: readonly (number | null)[];
  /** Drawn as an area on top of the series before it. */
  stacked?: boolean;
}

/** What the values are, in words; it stands behind the title. */
export type Unit = "in records" | "in seconds" | "in percent" | "per second";

export interface ChartData {
  title: string;
  unit: Unit;
  /** Seconds since the epoch. */
  times: readonly number[];
  series: ChartSeries[];
  /** First and last second that are shown. */
  from: number;
  to: number;
  format(value: number | null | undefined): string;
  /** Whether it takes a whole line. */
  full?: boolean;
  /** Largest value of the axis. Absent: as the values need. */
  most?: number;
}

const LIGHT = ["#0b6673", "#b4530a", "#5d43b3", "#17693f", "#b3232a", "#2f66a3", "#7d6200", "#8c3b7a"];
const DARK = ["#62c7d3", "#f0a35e", "#bcaaff", "#64cf95", "#ff8f8f", "#8ab8ef", "#d9c15c", "#e39bd0"];
const HEIGHT = 168;

/** A newest value that is older than this is not what is now. */
const STALE_SECONDS = 20;

/** Returns a chart under its title, with the newest values in words. */
export function chart(data: ChartData): VNode {
  return h(
    "figure",
    { class: data.full === true ? "chart panel full" : "chart panel", key: `chart-${data.title}` },
    h(
      "figcaption",
      null,
      h("h3", null, data.title, h("span", { class: "unit" }, `, ${data.unit}`)),
      h(
        "button",
        { type: "button", class: "quiet small", "aria-label": `${data.title} as CSV`, onClick: () => saveCsv(data) },
        "CSV",
      ),
    ),
    widget(CHART, data, { class: "plot", role: "img", "aria-label": summary(data) }),
  );
}

/** Returns what a chart shows, for those who do not see it. */
export function summary({ title, unit, series, times, from, to, format }: ChartData): string {
  const parts = series.map(({ label, values }) => {
    const seen = values.filter(
      (value, index): value is number => value !== null && (times[index] ?? 0) >= from && (times[index] ?? 0) <= to,
    );
    if (seen.length === 0) return `${label}: ${UNKNOWN}`;
    return `${label}: now ${format(newest({ times, to }, values))}, least ${format(Math.min(...seen))}, most ${format(Math.max(...seen))}`;
  });
  return `${title}, ${unit}. ${parts.join("; ")}.`;
}

function saveCsv({ title, times, series, ...data }: ChartData): void {
  // A share of 0.5 is shown as 50 %; the file has it as it was measured.
  const unit = data.unit === "in percent" ? "share" : data.unit;
  const head = ["time", ...series.map(({ label }) => `"${label.replaceAll('"', '""')}, ${unit}"`)].join(",");
  const rows = times.map((time, index) =>
    [new Date(time * 1000).toISOString(), ...series.map(({ values }) => values[index] ?? "")].join(","),
  );
  saveFile(`${title.toLowerCase().replace(/[^a-z0-9]+/g, "-")}.csv`, "text/csv", [head, ...rows].join("\n"));
}

const CHART = {
  mount: (element: HTMLElement, data: ChartData): Mounted<ChartData> => new Plot(element, data),
};

class Plot implements Mounted<ChartData> {
  private plot: uPlot | undefined;
  private shape = "";
  private length = 0;
  private drawn: ChartData;
  private readonly sizes: ResizeObserver;

  constructor(
    private readonly element: HTMLElement,
    data: ChartData,
  ) {
    this.drawn = data;
    this.sizes = new ResizeObserver(() => this.resize());
    this.sizes.observe(element);
    this.update(data);
  }

  update(data: ChartData): void {
    const shape = JSON.stringify([data.title, data.series.map(({ label, stacked }) => [label, stacked]), isDark()]);
    const same = data.times === this.drawn.times && data.times.length === this.drawn.times.length;
    const moved = data.from !== this.drawn.from || data.to !== this.drawn.to;
    this.drawn = data;
    if (shape !== this.shape) this.rebuild(shape);
    else if (!same || moved || this.length !== data.times.length) this.plot?.setData(columns(data), true);
    this.length = data.times.length;
  }

  destroy(): void {
    this.sizes.disconnect();
    this.plot?.destroy();
  }

  private rebuild(shape: string): void {
    this.plot?.destroy();
    this.shape = shape;
    const width = this.element.clientWidth;
    this.plot = new uPlot(this.options(Math.max(width, 100)), columns(this.drawn), this.element);
  }

  private resize(): void {
    const width = this.element.clientWidth;
    if (width > 0 && this.plot !== undefined && Math.abs(this.plot.width - width) > 1)
      this.plot.setSize({ width, height: HEIGHT });
  }

  private options(width: number): uPlot.Options {
    const dark = isDark();
    const colours = dark ? DARK : LIGHT;
    const ink = dark ? "#a3b1be" : "#51606d";
    const grid = { stroke: dark ? "#25303a" : "#e4e9ee", width: 1 };
    const font = "11px system-ui, sans-serif";
    const stacked = this.drawn.series.some((series) => series.stacked === true);
    return {
      width,
      height: HEIGHT,
      padding: [8, 8, 0, 0],
      cursor: { sync: { key: "time" }, drag: { x: false, y: false }, points: { size: 6 } },
      legend: { live: true, markers: { width: 2 } },
      scales: {
        x: { time: true, range: () => [this.drawn.from, this.drawn.to] },
        y: { range: (_plot, _low, high) => [0, this.drawn.most ?? niceTop(high)] },
      },
      axes: [
        {
          stroke: ink,
          font,
          grid,
          ticks: grid,
          size: 26,
          values: (_plot, ticks) => ticks.map((tick) => shortClock(tick)),
          space: 70,
        },
        {
          stroke: ink,
          font,
          grid,
          ticks: grid,
          size: 62,
          values: (_plot, ticks) => ticks.map((tick) => this.drawn.format(tick)),
        },
      ],
      series: [
        {
          label: "time",
          value: (_plot, value) => (value === null || value === undefined ? "now" : clock(value * 1000, Date.now())),
        },
        ...this.drawn.series.map((series, index): uPlot.Series => {
          const colour = colours[index % colours.length] ?? ink;
          const base: uPlot.Series = {
            label: series.label,
            stroke: colour,
            width: 1.75,
            spanGaps: false,
            points: { show: false },
            value: (_plot, _value, _series, at) => this.drawn.format(this.valueAt(index, at)),
          };
          if (stacked) base.fill = `${colour}55`;
          return base;
        }),
      ],
      bands: stacked ? this.drawn.series.slice(1).map((_, index) => ({ series: [index + 2, index + 1] })) : [],
      hooks: { drawClear: [(plot) => hatchUnknown(plot, this.drawn, ink)] },
    };
  }

  /** The value under the cursor, or the newest. */
  private valueAt(series: number, at: number | null): number | null | undefined {
    const values = this.drawn.series[series]?.values;
    return at === null || at === undefined ? newest(this.drawn, values ?? []) : values?.[at];
  }
}

/** Returns uPlot's columns; of stacked series each stands on the sum of those before it, and is unknown if one of them is. */
export function columns({ times, series }: Pick<ChartData, "times" | "series">): uPlot.AlignedData {
  const sums: (number | null)[] = times.map(() => 0);
  const rows = series.map(({ values, stacked }) => {
    if (stacked !== true) return [...values];
    return times.map((_, index) => {
      const below = sums[index];
      const value = values[index];
      const sum = below === null || below === undefined || value === null || value === undefined ? null : below + value;
      sums[index] = sum;
      return sum;
    });
  });
  return [[...times], ...rows] as uPlot.AlignedData;
}

/** Returns the top of an axis: a little above the largest value, never 0. */
function niceTop(high: number | null | undefined): number {
  return high === null || high === undefined || !Number.isFinite(high) || high <= 0 ? 1 : high * 1.12;
}

function shortClock(time: number): string {
  const date = new Date(time * 1000);
  const clockTime = date.toLocaleTimeString("en-GB", { hour12: false });
  return clockTime.endsWith(":00") ? clockTime.slice(0, 5) : clockTime;
}

/** Returns the newest value; nothing if it is too old to be what is now. */
export function newest(
  { times, to }: Pick<ChartData, "times" | "to">,
  values: readonly (number | null)[],
): number | null | undefined {
  return to - (times.at(-1) ?? 0) > STALE_SECONDS ? undefined : values.at(-1);
}

/** Returns the spans of time, within the range, in which no series has a value. */
export function unknownSpans({
  times,
  series,
  from,
  to,
}: Pick<ChartData, "times" | "series" | "from" | "to">): [number, number][] {
  const spans: [number, number][] = [];
  let since: number | undefined = from;
  for (const [index, time] of times.entries()) {
    const isKnown = series.some(({ values }) => values[index] !== null && values[index] !== undefined);
    if (isKnown) {
      if (since !== undefined && time > since) spans.push([since, time]);
      since = undefined;
    } else {
      since ??= times[index - 1] ?? time;
    }
  }
  const last = times.at(-1) ?? from;
  // Samples come a little late; when none has come for long, what is now is unknown.
  const stale = to - last > STALE_SECONDS;
  if (stale) since ??= last;
  const end = stale ? to : Math.max(from, Math.min(to, last));
  if (since !== undefined && times.length > 0 && end > since) spans.push([since, end]);
  if (times.length === 0) spans.push([from, to]);
  return spans
    .map(([start, stop]): [number, number] => [Math.max(start, from), Math.min(stop, to)])
    .filter(([start, stop]) => stop > start);
}

function hatchUnknown(plot: uPlot, data: ChartData, ink: string): void {
  const { ctx, bbox } = plot;
  ctx.save();
  ctx.textAlign = "left";
  ctx.font = `${11 * devicePixelRatio}px system-ui, sans-serif`;
  for (const [start, stop] of unknownSpans(data)) {
    const left = Math.max(bbox.left, plot.valToPos(start, "x", true));
    const right = Math.min(bbox.left + bbox.width, plot.valToPos(stop, "x", true));
    if (right - left < 2) continue;
    ctx.save();
    ctx.beginPath();
    ctx.rect(left, bbox.top, right - left, bbox.height);
    ctx.clip();
    ctx.strokeStyle = ink;
    ctx.globalAlpha = 0.16;
    ctx.lineWidth = devicePixelRatio;
    ctx.beginPath();
    for (let x = left - bbox.height; x < right; x += 9 * devicePixelRatio) {
      ctx.moveTo(x, bbox.top + bbox.height);
      ctx.lineTo(x + bbox.height, bbox.top);
    }
    ctx.stroke();
    ctx.restore();
    const width = ctx.measureText(UNKNOWN).width;
    if (width + 12 > right - left) continue;
    ctx.fillStyle = ink;
    ctx.fillText(UNKNOWN, (left + right - width) / 2, bbox.top + bbox.height / 2);
  }
  ctx.restore();
}
