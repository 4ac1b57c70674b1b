/** Redriving: what is asked, what is sent, and what is not known. */

import assert from "node:assert/strict";
import { test } from "node:test";
import type { RedriveAnswer } from "../src/types";
import { countedLines, redriveTitle, request, toSend } from "../src/views/letters/redrive";

function answer(redriven: RedriveAnswer["redriven"]): RedriveAnswer {
  return { message: "m", redriven, kubectl: "k" };
}

test("all reasons are asked for by none", () => {
  assert.deepEqual(request(undefined, false, true), { again: false, dryRun: true });
  assert.deepEqual(request("BadValue", true, false), { reason: "BadValue", again: true, dryRun: false });
});

test("a count that has not ended is not none", () => {
  assert.equal(toSend(answer(null)), undefined);
  assert.equal(redriveTitle(answer(null)), "Redrive");
  assert.equal(toSend(answer({ sent: {}, kept: {} })), 0);
  assert.equal(redriveTitle(answer({ sent: { BadValue: 1 }, kept: { cut: 3 } })), "Redrive 1 record");
  assert.deepEqual(countedLines(answer(null), "sent"), []);
});

test("what was sent comes before what was left, most first", () => {
  const lines = countedLines(answer({ sent: { BadValue: 1, NotJson: 1200 }, kept: { cut: 2 } }), "would be sent");
  assert.deepEqual(
    lines.map(({ what, why, number }) => `${what} ${why} ${number}`),
    ["would be sent NotJson 1200", "would be sent BadValue 1", "left cut 2"],
  );
});
