/** Numbers and times as people read them; unknown is never 0. */

import assert from "node:assert/strict";
import { test } from "node:test";
import {
  ago,
  bytes,
  clock,
  count,
  exact,
  parseDuration,
  plural,
  rate,
  seconds,
  secondsSince,
  share,
  short,
} from "../src/format";

test("what is unknown is written so, whatever kind of figure it is", () => {
  for (const write of [count, rate, short, bytes, share, seconds]) {
    for (const value of [null, undefined, Number.NaN, Number.POSITIVE_INFINITY]) assert.equal(write(value), "unknown");
  }
  assert.equal(ago(null, 0), "unknown");
  assert.equal(clock("not a time", 0), "unknown");
  assert.equal(exact(undefined), "unknown");
});

test("a true zero is a zero, not unknown", () => {
  assert.equal(count(0), "0");
  assert.equal(rate(0), "0/s");
  assert.equal(bytes(0), "0 B");
  assert.equal(share(0), "0 %");
  assert.equal(seconds(0), "0 s");
});

test("numbers keep three digits, small ones do not become zero", () => {
  assert.equal(rate(3.21), "3.21/s");
  assert.equal(rate(12.0), "12/s");
  assert.equal(rate(0.001), "< 0.01/s");
  assert.equal(count(12_345), "12,345");
  assert.equal(count(1_234_567), "1.2 M");
  assert.equal(bytes(188_000), "184 KiB");
  assert.equal(share(0.004), "< 1 %");
});

test("times have their two largest units", () => {
  assert.equal(seconds(0.000_4), "400 µs");
  assert.equal(seconds(0.07), "70 ms");
  assert.equal(seconds(59), "59 s");
  assert.equal(seconds(185), "3 min 5 s");
  assert.equal(seconds(3600), "1 h");
  assert.equal(seconds(90_061), "1 d 1 h");
});

test("moments are told from now", () => {
  const now = Date.parse("2026-01-31T12:00:00Z");
  assert.equal(ago("2026-01-31T11:55:00Z", now), "5 min ago");
  assert.equal(ago("2026-01-31T14:00:00Z", now), "in 2 h");
  assert.equal(ago("2026-01-31T12:00:00Z", now), "now");
  assert.equal(secondsSince("2026-01-31T11:59:00Z", now), 60);
  assert.equal(secondsSince("", now), undefined);
});

test("lengths of time are read as the resources write them, and nothing else is", () => {
  assert.equal(parseDuration("1h30m"), 5400);
  assert.equal(parseDuration("500ms"), 0.5);
  for (const wrong of ["", "10", "h", "1 h", "-1s", "1h x"]) assert.equal(parseDuration(wrong), undefined);
});

test("one is singular", () => {
  assert.equal(plural(1, "run"), "1 run");
  assert.equal(plural(2, "run"), "2 runs");
});
