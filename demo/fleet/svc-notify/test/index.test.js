import assert from "node:assert/strict";
import test from "node:test";
import { digest } from "../src/index.js";

test("keeps the newest first", () => {
  const all = [1, 2, 3].map((at) => ({ at, to: "ops", text: `m${at}` }));
  assert.deepEqual(digest(all, 2).get("ops"), ["m3", "m2"]);
});
