// Owns what a refresh is worth when the runtime dies in the middle of it: killed at random moments and started again on the
// same data, it loses nothing at an app with grace, and at a strict one only answers that were truly lost, by their name.
// Also that the verdicts can fail: a record that is spoiled on purpose is found out. `npm run kill` does more of the same.

import assert from "node:assert/strict";
import { after, before, suite, test } from "node:test";
import { PHASES, startKillTest } from "../support/kill-rounds.mjs";

const ROUNDS = 6;
/** No further round after so many milliseconds, on a machine that is busy with something else. */
const TIME_LIMIT = 12_000;
const SEED = 7;
/** Moments that surely meet what this is about; those after them are the seed's. */
const FIRST_MOMENTS = [{ reached: 10 }, { reached: 20, later: 60 }];
const [, , IN_FLIGHT, ROTATED] = PHASES;
const sum = (counts) => Object.values(counts).reduce((all, one) => all + one, 0);

/** Rounds with kills and a last one without, in which everything must still work. */
async function runRounds({ runRound, results }, t) {
  const met = () => [IN_FLIGHT, ROTATED].every((phase) => results.hits[phase] > 0);
  const start = Date.now();
  while (results.rounds < ROUNDS && (Date.now() - start < TIME_LIMIT || !met())) await runRound({ moment: FIRST_MOMENTS[results.rounds] });
  await runRound({ kills: 0 });
  t.diagnostic(`seed ${SEED}: ${JSON.stringify(results)}`);
  assert.deepEqual(results.violations, []);
  assert.ok(met(), "kills met refreshes that were in flight at the app, and answers that were not stored yet");
}

test("a runtime that is killed among refreshes loses nothing at an app with grace", async (t) => {
  const killTest = await startKillTest({ seed: SEED, grace: 300 });
  try {
    await runRounds(killTest, t);
    assert.equal(sum(killTest.results.losses), 0);
    assert.ok(sum(killTest.results.recovered) > 0, "answers were lost, and had again");
  } finally {
    await killTest.close();
  }
});

/** What a Worker that got it wrong would do to the record, done by a trigger in its place. */
const DEFECTS = [
  {
    wrong: "does not say what killed a connection",
    when: "UPDATE OF reconnect_reason ON connections WHEN NEW.reconnect_reason = 'lost_rotation'",
    does: "reconnect_reason = 'revoked'",
    found: /a lost answer was called .* revoked/,
  },
  {
    wrong: "gives up every connection whose attempt was cut short",
    when: "UPDATE OF version ON connections WHEN NEW.version > OLD.version AND OLD.ambiguous_token_hash IS NOT NULL",
    does: "status = 'needs_reconnect', reconnect_reason = 'lost_rotation'",
    found: /false death/,
  },
  {
    wrong: "writes down no intent",
    when: "UPDATE OF lease_attempt_id ON connections WHEN NEW.lease_attempt_id IS NOT NULL",
    does: "lease_attempt_id = NULL, lease_expires_at = NULL, lease_token_hash = NULL",
    found: /without an intent/,
  },
  {
    wrong: "keeps an old token",
    when: "UPDATE OF version ON connections WHEN NEW.version > OLD.version AND NEW.generation = OLD.generation",
    does: "sealed_credential = OLD.sealed_credential",
    found: /the grant was killed, and no answer was lost/,
  },
];

suite("a runtime that is killed among refreshes at a strict app", () => {
  let killTest;
  before(async () => {
    killTest = await startKillTest({ seed: SEED });
  });
  after(() => killTest.close());

  test("loses what the app had made good and could not deliver, and calls it so", async (t) => {
    await runRounds(killTest, t);
    const { losses, recovered } = killTest.results;
    assert.ok(sum(losses) > 0);
    assert.equal(sum(losses), losses[IN_FLIGHT] + losses[ROTATED]);
    assert.equal(sum(recovered), 0, "what is lost at a strict app can't be had again");
  });

  for (const { wrong, when, does, found } of DEFECTS) {
    test(`a Worker that ${wrong} would be found out`, async () => {
      const { installation, results, runRound } = killTest;
      const isFound = () => results.violations.some((what) => found.test(what));
      results.violations.length = 0;
      await installation.run(`CREATE TRIGGER spoiled AFTER ${when} BEGIN UPDATE connections SET ${does} WHERE id = NEW.id; END`);
      for (let tries = 0; tries < 4 && !isFound(); tries += 1) await runRound({ kills: 1, moment: FIRST_MOMENTS[0] });
      await installation.run("DROP TRIGGER spoiled");
      assert.ok(isFound(), `found only: ${results.violations.slice(0, 5).join("\n")}`);
    });
  }
});
