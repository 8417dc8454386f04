import assert from "node:assert/strict";
import test from "node:test";
import { price } from "../src/index.js";

test("twenty pieces are in the second band", () => {
  assert.equal(price(100, 20), 1840);
});
