import assert from "node:assert/strict";
import test from "node:test";
import { plan } from "../src/index.js";

test("shifts go round", () => {
  const names = plan(["b", "a"], [1, 2, 3]).map(({ person }) => person);
  assert.deepEqual(names, ["a", "b", "a"]);
});
