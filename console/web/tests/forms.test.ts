/** What people type: params, limits, searches, keys. Each check has something that passes and something that does not. */

import assert from "node:assert/strict";
import { test } from "node:test";
import type { Column, ParamView } from "../src/types";
import { request, searchOf, searchProblem } from "../src/views/messages/query";
import { countProblem, durationProblem, givenParams, initialValues, paramProblem } from "../src/views/runs/form";
import { told } from "../src/views/runs/trigger";
import { keyOf, keyProblem } from "../src/views/tables";

const param = (over: Partial<ParamView>): ParamView => ({
  name: "p",
  type: "string",
  default: null,
  description: null,
  minimum: null,
  maximum: null,
  choices: [],
  pattern: null,
  ...over,
});

test("a param without a default is needed, one with a default is not", () => {
  assert.equal(paramProblem(param({}), ""), "A value is needed.");
  assert.equal(paramProblem(param({ default: "x" }), ""), undefined);
});

test("values are checked by type, bounds, choices and pattern", () => {
  const cases: [Partial<ParamView>, string, string][] = [
    [{ type: "integer", minimum: 1, maximum: 50 }, "50", "51"],
    [{ type: "integer", minimum: 1 }, "1", "0"],
    [{ type: "integer" }, "-3", "1.5"],
    [{ type: "number" }, "1.5", "abc"],
    [{ type: "boolean" }, "true", "yes"],
    [{ type: "timestamp" }, "2026-01-31T00:00:00Z", "2026-01-31"],
    [{ choices: ["v1", "v2"] }, "v2", "v3"],
    [{ pattern: "[0-9]{4}-[0-9]{2}" }, "2026-01", "x2026-01"],
  ];
  for (const [over, right, wrong] of cases) {
    assert.equal(paramProblem(param(over), right), undefined, right);
    assert.notEqual(paramProblem(param(over), wrong), undefined, wrong);
  }
});

test("a pattern that the browser cannot read is left to the server", () => {
  assert.equal(paramProblem(param({ pattern: "(?x) [a-z]" }), "anything"), undefined);
});

test("only what differs from the defaults is sent", () => {
  const params = [param({ name: "day" }), param({ name: "pages", type: "integer", default: "1" })];
  assert.deepEqual(initialValues(params, { day: "2026-01-31" }), { day: "2026-01-31", pages: "1" });
  assert.deepEqual(givenParams(params, { day: "2026-01-31", pages: "1" }), { day: "2026-01-31" });
  assert.deepEqual(givenParams(params, { day: "2026-01-31", pages: "2" }), { day: "2026-01-31", pages: "2" });
});

test("limits are whole numbers and lengths of time", () => {
  assert.equal(countProblem(""), undefined);
  assert.equal(countProblem("1"), undefined);
  assert.notEqual(countProblem("0"), undefined);
  assert.equal(countProblem("0", 0), undefined);
  assert.equal(durationProblem("1h30m"), undefined);
  assert.notEqual(durationProblem("soon"), undefined);
});

test("what the server refuses stands at the field that it names", () => {
  assert.deepEqual(told({ kind: "refused", message: "", fields: [{ field: "params.day", message: "no such day" }] }), {
    day: "no such day",
  });
  assert.deepEqual(told(undefined), {});
});

test("a search asks for what the address says and nothing else", () => {
  const search = searchOf({ from: "offset", offset: "7", time: "2026-01-01T00:00", partition: "3", contains: "x" }, [
    "orders",
  ]);
  const query = request(search, undefined);
  assert.equal(search.topic, "orders");
  assert.equal(query.offset, "7");
  assert.equal(query.time, undefined);
  assert.equal(query.partition, "3");
  assert.equal(request(search, "c").offset, undefined);
});

test("a search that cannot work says why", () => {
  assert.equal(searchProblem(searchOf({ from: "offset", offset: "7" }, [])), undefined);
  assert.notEqual(searchProblem(searchOf({ from: "offset", offset: "-7" }, [])), undefined);
  assert.notEqual(searchProblem(searchOf({ from: "time" }, [])), undefined);
  assert.equal(searchOf({ from: "nonsense" }, []).from, "newest");
});

const column = (name: string, role: Column["role"]): Column => ({ name, role, type: "text", masked: false });
const COLUMNS = [
  column("a", "Partition"),
  column("b", "Partition"),
  column("c", "Clustering"),
  column("d", "Clustering"),
  column("v", "Regular"),
];

test("a key is the whole partition key and a beginning of the clustering key", () => {
  assert.equal(keyProblem(COLUMNS, {}), undefined);
  assert.equal(keyProblem(COLUMNS, { "key.a": "1", "key.b": "2", "key.c": "3" }), undefined);
  assert.match(keyProblem(COLUMNS, { "key.a": "1" }) ?? "", /b too/);
  assert.match(keyProblem(COLUMNS, { "key.a": "1", "key.b": "2", "key.d": "4" }) ?? "", /from the first on/);
  assert.equal(keyOf(COLUMNS, { "key.a": "1", "key.b": "2", "key.v": "9" }), '{"a":"1","b":"2"}');
  assert.equal(keyOf(COLUMNS, {}), undefined);
});
