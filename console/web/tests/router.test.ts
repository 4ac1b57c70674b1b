/** Addresses: every view has one, and nothing else is one. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { safeNext } from "../src/app";
import { parseRoute, routeUrl, VIEWS, viewUrl } from "../src/router";

test("every view's address leads back to the view with its filters", () => {
  for (const view of VIEWS) {
    const url = new URL(viewUrl("demo", "shop", view, { range: "900", contains: "a&b=c" }), "http://console");
    const route = parseRoute(url.pathname, url.search);
    assert.deepEqual(route, {
      place: { kind: "pipeline", namespace: "demo", name: "shop", view },
      query: { range: "900", contains: "a&b=c" },
    });
  }
});

test("equal views have equal addresses, and empty filters are left out", () => {
  const place = { kind: "pipelines" } as const;
  assert.equal(routeUrl({ place, query: { search: "b", namespace: "a", other: "" } }), "/?namespace=a&search=b");
});

test("what is no name of an object is no pipeline", () => {
  for (const path of [
    "/demo/shop/nothing",
    "/demo/..",
    "/demo/%2e%2e%2fx",
    "/Demo/shop",
    "/demo/%E0%A4%A",
    "/demo/shop/runs/more",
    "/demo",
  ]) {
    assert.equal(parseRoute(path, "").place.kind, "unknown", path);
  }
});

test("after signing in one stays on this page, whatever the link says", () => {
  assert.equal(safeNext("/demo/shop?range=300"), "/demo/shop?range=300");
  for (const evil of [
    "//evil.example",
    "/\\evil.example",
    "https://evil.example",
    "javascript:alert(1)",
    "",
    undefined,
  ])
    assert.equal(safeNext(evil), "/");
});
