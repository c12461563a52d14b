// Owns the question that matters most: everybody asks at the token's end, and the app sees one refresh. Expects that of
// any peer, and of any number of callers and Workers.

import assert from "node:assert/strict";
import { setTimeout as sleep } from "node:timers/promises";

/** How often a caller comes back who is told that the refresh is under way. */
const PATIENCE = 60;

/** All ask at once, in turn at each of the Workers; every last answer. */
const atOnce = (installation, id, callers, workers) =>
  Promise.all(
    Array.from({ length: callers }, (_, index) =>
      untilAnswered(() =>
        installation.resolve(id, { workflow: "nightly", step: `step ${index % 4}` }, installation.key, workers[index % workers.length]),
      ),
    ),
  );

/** On a slow machine a caller may be told to come again, and does: whatever it costs, it must not be another refresh. */
async function untilAnswered(ask) {
  for (let tries = 1; ; tries += 1) {
    const answer = await ask();
    if (answer.body.code !== "refresh_in_progress" || tries === PATIENCE) return answer;
    await sleep(1000);
  }
}

/**
 * At a real end of the token, waited for, and then at one that is written into the record: all callers ask at once, all
 * get the same token, and the peer must have seen one refresh for this account.
 */
export async function expectOneRefreshAtEachEnd(installation, peer, { id, account }, crowd) {
  // Read from the record: to resolve near the end would begin a refresh.
  const { expires_at: end } = await installation.row("SELECT expires_at FROM connections WHERE id = ?1", id);
  await sleep(Math.max(0, (end + 1) * 1000 - Date.now()));
  const first = await oneRefresh(installation, peer, { id, account }, crowd);
  await installation.run("UPDATE connections SET expires_at = unixepoch() - 1, refreshed_at = NULL WHERE id = ?1", id);
  assert.notEqual(await oneRefresh(installation, peer, { id, account }, crowd), first, "each refresh brings another token");
}

async function oneRefresh(installation, peer, { id, account }, { callers, workers = [installation.worker] }) {
  const before = await peer.seen(account);
  const answers = await atOnce(installation, id, callers, workers);
  const { refreshes, refused, strange } = await peer.seen(account);
  assert.deepEqual({ refreshes: refreshes - before.refreshes, refused, strange }, { refreshes: 1, refused: 0, strange: 0 }, "what the server saw");
  const problem = answers.find(({ status }) => status !== 200);
  assert.equal(problem, undefined, JSON.stringify(problem?.body));
  const tokens = new Set(answers.map(({ body }) => body.credential.access_token));
  assert.equal(tokens.size, 1, "all have the same token");
  const [token] = tokens;
  assert.ok(await peer.accepts({ authorization: `Bearer ${token}` }), "the app takes the token");
  return token;
}
