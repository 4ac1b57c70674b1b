/** The past hour: gaps stay gaps, and the hour is bounded. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { bounds, Columns, rangeOf } from "../src/net/history";
import { columns as plotColumns, newest, summary, unknownSpans } from "../src/parts/chart";
import { sparkPath } from "../src/parts/spark";
import type { SeriesKey } from "../src/types";

const LAG: SeriesKey = { measure: "LagRecords", stage: null, name: null, partition: null };

test("a series that is missing in a sample is unknown then, not as before and not zero", () => {
  const columns = new Columns();
  columns.replace({ stepSeconds: 5, times: [0, 5], series: [{ key: LAG, values: [3, 4] }], unknown: [] });
  columns.push({ time: 10, values: [], unknown: ["Kafka does not answer"] });
  assert.deepEqual(columns.column({ measure: "LagRecords" }), [3, 4, null]);
});

test("a hole in time becomes a gap, so that no line bridges it", () => {
  const columns = new Columns();
  columns.replace({ stepSeconds: 5, times: [0], series: [{ key: LAG, values: [3] }], unknown: [] });
  columns.push({ time: 100, values: [{ key: LAG, value: 7 }], unknown: [] });
  assert.deepEqual(columns.times, [0, 5, 100]);
  assert.deepEqual(columns.column({ measure: "LagRecords" }), [3, null, 7]);
});

test("a series that is new is unknown before, and a sample that came already is not taken twice", () => {
  const columns = new Columns();
  columns.replace({ stepSeconds: 5, times: [0, 5], series: [], unknown: [] });
  columns.push({ time: 10, values: [{ key: LAG, value: 1 }], unknown: [] });
  columns.push({ time: 10, values: [{ key: LAG, value: 9 }], unknown: [] });
  assert.deepEqual(columns.column({ measure: "LagRecords" }), [null, null, 1]);
});

test("an hour is kept and no more", () => {
  const columns = new Columns();
  for (let index = 0; index < 800; index += 1)
    columns.push({ time: index * 5, values: [{ key: LAG, value: index }], unknown: [] });
  assert.equal(columns.times.length, 720);
  assert.equal(columns.column({ measure: "LagRecords" })?.length, 720);
  assert.equal(columns.column({ measure: "LagRecords" })?.at(-1), 799);
});

test("a partition's series is not the total's", () => {
  const columns = new Columns();
  columns.push({
    time: 5,
    values: [
      { key: LAG, value: 1 },
      { key: { ...LAG, name: "orders", partition: 0 }, value: 2 },
    ],
    unknown: [],
  });
  assert.deepEqual(columns.column({ measure: "LagRecords", name: "orders", partition: 0 }), [2]);
  assert.deepEqual(columns.column({ measure: "LagRecords" }), [1]);
  assert.equal(columns.column({ measure: "LagRecords", name: "clicks", partition: 0 }), undefined);
});

test("the range is the address's, and a wrong one is the usual one", () => {
  assert.deepEqual(rangeOf({ range: "3600", until: "1000" }), { seconds: 3600, until: 1000 });
  assert.deepEqual(rangeOf({ range: "17", until: "x" }), { seconds: 900, until: undefined });
  assert.deepEqual(bounds({ seconds: 300, until: undefined }, 1_000_500), [700, 1000]);
});

test("stacked series are unknown where one below them is", () => {
  const series = [
    { label: "a", values: [1, null, 1], stacked: true },
    { label: "b", values: [2, 2, null], stacked: true },
  ];
  assert.deepEqual(plotColumns({ times: [1, 2, 3], series }), [
    [1, 2, 3],
    [1, null, 1],
    [3, null, null],
  ]);
});

test("spans without any value are unknown, also before the first and with none at all", () => {
  const frame = { times: [10, 15, 20, 25, 30], from: 0, to: 30 };
  const line = (values: (number | null)[]): { label: string; values: (number | null)[] }[] => [{ label: "a", values }];
  assert.deepEqual(unknownSpans({ ...frame, series: line([0, 1, null, null, 4]) }), [
    [0, 10],
    [15, 30],
  ]);
  assert.deepEqual(unknownSpans({ ...frame, from: 10, series: line([0, 0, 0, 0, 0]) }), []);
  assert.deepEqual(unknownSpans({ times: [], from: 0, to: 30, series: line([]) }), [[0, 30]]);
});

test("when no sample has come for long, what is now is unknown", () => {
  const frame = { times: [0, 5], from: 0, series: [{ label: "a", values: [1, 2] }] };
  assert.deepEqual(unknownSpans({ ...frame, to: 12 }), []);
  assert.equal(newest({ ...frame, to: 12 }, [1, 2]), 2);
  assert.deepEqual(unknownSpans({ ...frame, to: 60 }), [[5, 60]]);
  assert.equal(newest({ ...frame, to: 60 }, [1, 2]), undefined);
});

test("a chart says its unit, and unknown, to those who do not see it", () => {
  const data = {
    title: "Lag",
    unit: "in records" as const,
    times: [1, 2],
    from: 0,
    to: 3,
    format: (value: number | null | undefined): string => (typeof value === "number" ? String(value) : "unknown"),
  };
  assert.equal(
    summary({ ...data, series: [{ label: "all", values: [null, null] }] }),
    "Lag, in records. all: unknown.",
  );
  assert.equal(
    summary({ ...data, series: [{ label: "all", values: [4, null] }] }),
    "Lag, in records. all: now unknown, least 4, most 4.",
  );
});

test("a small line breaks where values are unknown", () => {
  assert.equal(sparkPath([null, undefined]), "");
  assert.equal(sparkPath([0, 1, null, 1, 1], 40, 12).match(/M/g)?.length, 2);
  assert.equal(sparkPath([0, 1, 1], 40, 12).match(/M/g)?.length, 1);
});
