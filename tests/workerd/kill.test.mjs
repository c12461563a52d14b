// Owns what a refresh is worth when the runtime dies in the middle of it: killed at random moments and started again on the
// same data, it loses nothing at an app with grace, and at a strict one only answers that were truly lost, by their name.
// Also that the verdicts can fail: a record that is spoiled on purpose is found out. `npm run kill` does more of the same.

import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { PHASES, startKilling } from "../support/killing.mjs";

const ROUNDS = 6;
const SEED = 7;
const [, , IN_FLIGHT, COMMITTED] = PHASES;
const sum = (counts) => Object.values(counts).reduce((all, one) => all + one, 0);

/** Rounds with kills and a last one without, in which everything must still work. */
async function killed(options, t, judge) {
  const killing = await startKilling({ seed: SEED, ...options });
  try {
    const { results } = killing;
    for (let round = 0; round < ROUNDS; round += 1) await killing.round();
    await killing.round({ kills: 0 });
    t.diagnostic(`seed ${SEED}: ${JSON.stringify({ ...results, violations: results.violations.length })}`);
    assert.deepEqual(results.violations, []);
    for (const phase of [IN_FLIGHT, COMMITTED]) assert.ok(results.hits[phase] > 0, `no kill met a refresh that was ${phase}`);
    judge(results);
  } finally {
    await killing.close();
  }
}

suite("a runtime that is killed among refreshes and started again on the same data", () => {
  test("loses nothing at an app with grace", (t) =>
    killed({ grace: 300 }, t, ({ losses, recovered }) => {
      assert.equal(sum(losses), 0);
      assert.ok(sum(recovered) > 0, "answers were lost, and had again");
    }));

  test("loses at a strict app what the app had made good and could not deliver, and calls it so", (t) =>
    killed({}, t, ({ losses, recovered }) => {
      assert.ok(sum(losses) > 0);
      assert.equal(sum(losses), losses[IN_FLIGHT] + losses[COMMITTED]);
      assert.equal(sum(recovered), 0, "what is lost at a strict app can't be had again");
    }));
});

/** What a Worker that got it wrong would do to the record, done by a trigger in its place. */
const SPOILED = [
  {
    wrong: "does not say what killed a connection",
    when: "UPDATE OF reason ON connections WHEN NEW.reason = 'lost_rotation'",
    does: "reason = 'revoked'",
    found: /a lost answer was called .* revoked/,
  },
  {
    wrong: "gives up every connection whose attempt was cut short",
    when: "UPDATE OF version ON connections WHEN OLD.ambiguous_token_hash IS NOT NULL AND NEW.version > OLD.version",
    does: "status = 'needs_reconnect', reason = 'lost_rotation'",
    found: /false death/,
  },
  {
    wrong: "writes down no intent",
    when: "UPDATE OF attempt_id ON connections WHEN NEW.attempt_id IS NOT NULL",
    does: "attempt_id = NULL, attempt_until = NULL, attempt_token_hash = NULL",
    found: /without an intent/,
  },
  {
    wrong: "does not store what it was given",
    when: "UPDATE OF version ON connections WHEN NEW.version > OLD.version",
    does: "version = OLD.version, sealed_credential = OLD.sealed_credential",
    found: /handed a token that was not stored/,
  },
];

test("a Worker that got it wrong would be found out", async (t) => {
  const killing = await startKilling({ seed: SEED });
  try {
    const { installation, results } = killing;
    for (const { wrong, when, does, found } of SPOILED) {
      await t.test(`one that ${wrong}`, async () => {
        results.violations.length = 0;
        await installation.run(`CREATE TRIGGER spoiled AFTER ${when} BEGIN UPDATE connections SET ${does} WHERE id = NEW.id; END`);
        for (let round = 0; round < 4 && !results.violations.some((what) => found.test(what)); round += 1) await killing.round({ kills: 1 });
        await installation.run("DROP TRIGGER spoiled");
        assert.ok(
          results.violations.some((what) => found.test(what)),
          `found only: ${results.violations.join("\n")}`,
        );
      });
    }
  } finally {
    await killing.close();
  }
});
