import assert from "node:assert/strict";
import test from "node:test";
import { search } from "../src/index.js";

test("articles without a shared word are left out", () => {
  const articles = [{ id: 1, title: "Blue chair" }, { id: 2, title: "Green table" }];
  assert.deepEqual(search("table", articles).map(({ id }) => id), [2]);
});
