// Owns the question that matters most: everybody asks at the token's end, and the app sees one refresh. Expects that of
// any oauthServer, and of any number of callers and Workers.

import assert from "node:assert/strict";
import { setTimeout as sleep } from "node:timers/promises";

/** How often a caller comes back who is told that the refresh is under way. */
const MAX_TRIES = 60;

/** All ask at once, in turn at each of the Workers; every last answer. */
const resolveConcurrently = (installation, id, callers, workers) =>
  Promise.all(
    Array.from({ length: callers }, (_, index) =>
      retryWhileInProgress(() =>
        installation.resolve(id, { workflow: "nightly", step: `step ${index % 4}` }, installation.key, workers[index % workers.length]),
      ),
    ),
  );

/** On a slow machine a caller may be told to come again, and does: whatever it costs, it must not be another refresh. */
async function retryWhileInProgress(ask) {
  for (let tries = 1; ; tries += 1) {
    const answer = await ask();
    if (answer.body.code !== "refresh_in_progress" || tries === MAX_TRIES) return answer;
    await sleep(1000);
  }
}

/**
 * At a real end of the token, waited for, and then at one that is written into the record: all callers ask at once, all
 * get the same token, and the oauthServer must have seen one refresh for this account.
 */
export async function expectOneRefreshPerExpiry(installation, oauthServer, { id, account }, callers) {
  // Read from the record: to resolve near the end would begin a refresh.
  const { expires_at: end } = await installation.row("SELECT expires_at FROM connections WHERE id = ?1", id);
  await sleep(Math.max(0, (end + 1) * 1000 - Date.now()));
  const first = await expectOneRefresh(installation, oauthServer, { id, account }, callers);
  await installation.run("UPDATE connections SET expires_at = unixepoch() - 1, refreshed_at = NULL WHERE id = ?1", id);
  assert.notEqual(await expectOneRefresh(installation, oauthServer, { id, account }, callers), first, "each refresh brings another token");
}

async function expectOneRefresh(installation, oauthServer, { id, account }, { callers, workers = [installation.worker] }) {
  const before = await oauthServer.countRefreshes(account);
  const answers = await resolveConcurrently(installation, id, callers, workers);
  const { refreshes, refused, unknown } = await oauthServer.countRefreshes(account);
  assert.deepEqual({ refreshes: refreshes - before.refreshes, refused, unknown }, { refreshes: 1, refused: 0, unknown: 0 }, "what the server saw");
  const problem = answers.find(({ status }) => status !== 200);
  assert.equal(problem, undefined, JSON.stringify(problem?.body));
  const tokens = new Set(answers.map(({ body }) => body.credential.access_token));
  assert.equal(tokens.size, 1, "all have the same token");
  const [token] = tokens;
  assert.ok(await oauthServer.accepts({ authorization: `Bearer ${token}` }), "the app takes the token");
  return token;
}
