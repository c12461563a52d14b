// Owns the rule which build is enough for whom: tests and a deployment never get the quick one of `npm start`.

import assert from "node:assert/strict";
import { test } from "node:test";
import { isEnough } from "../../tools/build.mjs";

test("a full build is enough for everybody, a quick one for npm start alone, and neither after a change", () => {
  const enough = (stamp) => [isEnough(stamp, "now", false), isEnough(stamp, "now", true)].map(Boolean);
  assert.deepEqual(enough("now full"), [true, true]);
  assert.deepEqual(enough("now quick"), [false, true]);
  assert.deepEqual(enough("before full"), [false, false]);
  assert.deepEqual(enough("before quick"), [false, false]);
  assert.deepEqual(enough(undefined), [false, false]);
});
