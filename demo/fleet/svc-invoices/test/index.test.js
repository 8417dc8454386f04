import assert from "node:assert/strict";
import test from "node:test";
import { totals } from "../src/index.js";

test("tax is rounded once per rate", () => {
  const lines = [
    { cents: 333, quantity: 1, rate: 19 },
    { cents: 333, quantity: 2, rate: 19 },
  ];
  assert.deepEqual(totals(lines), { net: 999, tax: 190, gross: 1189 });
});
