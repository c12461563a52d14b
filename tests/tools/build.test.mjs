// Owns the rule which build is sufficient: tests and deployments never use the quick build of `npm start`.

import assert from "node:assert/strict";
import { test } from "node:test";
import { isEnough } from "../../tools/build.mjs";

test("a full build is enough for everything, a quick one only for npm start, and neither after a change", () => {
  const enough = (stamp) => [isEnough(stamp, "now", false), isEnough(stamp, "now", true)].map(Boolean);
  assert.deepEqual(enough("now full"), [true, true]);
  assert.deepEqual(enough("now quick"), [false, true]);
  assert.deepEqual(enough("before full"), [false, false]);
  assert.deepEqual(enough("before quick"), [false, false]);
  assert.deepEqual(enough(undefined), [false, false]);
});
