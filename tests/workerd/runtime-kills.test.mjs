// Owns what happens when the runtime is killed during refreshes and restarted over the same data. At an app with a
// grace period nothing is lost. At a strict app only answers that did not arrive are lost, and the reason says so. Also
// tests the judge: a deliberately wrong database is reported. `npm run kill` runs more rounds.

import assert from "node:assert/strict";
import { after, before, suite, test } from "node:test";
import { PHASES, startKillTest } from "../support/kill-rounds.mjs";

const ROUNDS = 6;
/** No new round starts after this many milliseconds, on a busy machine. */
const TIME_LIMIT = 12_000;
const SEED = 7;
/** The first two moments hit refreshes that are in flight. The seed decides the later ones. */
const FIRST_MOMENTS = [{ reached: 10 }, { reached: 20, later: 60 }];
const [, , IN_FLIGHT, ROTATED] = PHASES;
const sum = (counts) => Object.values(counts).reduce((all, one) => all + one, 0);

/** Rounds with kills, and a last one without a kill in which everything must work. */
async function runRounds({ runRound, results }, t) {
  const met = () => [IN_FLIGHT, ROTATED].every((phase) => results.hits[phase] > 0);
  const start = Date.now();
  while (results.rounds < ROUNDS && (Date.now() - start < TIME_LIMIT || !met())) await runRound({ moment: FIRST_MOMENTS[results.rounds] });
  await runRound({ kills: 0 });
  t.diagnostic(`seed ${SEED}: ${JSON.stringify(results)}`);
  assert.deepEqual(results.violations, []);
  assert.ok(met(), "kills hit requests at the app, and answers that were not stored yet");
}

test("a runtime that is killed during refreshes loses nothing at an app with a grace period", async (t) => {
  const killTest = await startKillTest({ seed: SEED, grace: 300 });
  try {
    await runRounds(killTest, t);
    assert.equal(sum(killTest.results.losses), 0);
    assert.ok(sum(killTest.results.recovered) > 0, "answers were lost and recovered");
  } finally {
    await killTest.close();
  }
});

/** What a defective Worker would write. A trigger writes it instead. */
const DEFECTS = [
  {
    wrong: "records the wrong reconnect reason",
    when: "UPDATE OF reconnect_reason ON connections WHEN NEW.reconnect_reason = 'lost_rotation'",
    does: "reconnect_reason = 'revoked'",
    found: /a lost answer was reported as .* revoked/,
  },
  {
    wrong: "gives up every connection whose attempt was interrupted",
    when: "UPDATE OF version ON connections WHEN NEW.version > OLD.version AND OLD.ambiguous_token_hash IS NOT NULL",
    does: "status = 'needs_reconnect', reconnect_reason = 'lost_rotation'",
    found: /wrongly marked/,
  },
  {
    wrong: "writes no lease",
    when: "UPDATE OF lease_attempt_id ON connections WHEN NEW.lease_attempt_id IS NOT NULL",
    does: "lease_attempt_id = NULL, lease_expires_at = NULL, lease_token_hash = NULL",
    found: /without a lease/,
  },
  {
    wrong: "keeps an old token",
    when: "UPDATE OF version ON connections WHEN NEW.version > OLD.version AND NEW.generation = OLD.generation",
    does: "sealed_credential = OLD.sealed_credential",
    found: /the grant was revoked, and no answer was lost/,
  },
];

suite("a runtime that is killed during refreshes at a strict app", () => {
  let killTest;
  before(async () => {
    killTest = await startKillTest({ seed: SEED });
  });
  after(() => killTest.close());

  test("loses only tokens that the app rotated and could not deliver, with the reason lost_rotation", async (t) => {
    await runRounds(killTest, t);
    const { losses, recovered } = killTest.results;
    assert.ok(sum(losses) > 0);
    assert.equal(sum(losses), losses[IN_FLIGHT] + losses[ROTATED]);
    assert.equal(sum(recovered), 0, "a token that is lost at a strict app cannot be recovered");
  });

  for (const { wrong, when, does, found } of DEFECTS) {
    test(`a Worker that ${wrong} is reported`, async () => {
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
