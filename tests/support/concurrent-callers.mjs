// Owns the most important check: many callers ask when the token expires, and the app sees one refresh. Works with any
// OAuth server and any number of callers and Workers.

import assert from "node:assert/strict";
import { setTimeout as sleep } from "node:timers/promises";

/** How often a caller asks again after the answer `refresh_in_progress`. */
const MAX_TRIES = 60;

/** All callers ask at the same time, spread over the Workers. Returns the last answer of each. */
const resolveConcurrently = (installation, id, callers, workers) =>
  Promise.all(
    Array.from({ length: callers }, (_, index) =>
      retryWhileInProgress(() =>
        installation.resolve(id, { workflow: "nightly", step: `step ${index % 4}` }, installation.key, workers[index % workers.length]),
      ),
    ),
  );

/** On a slow machine a caller may be told to ask again. That must not cause another refresh. */
async function retryWhileInProgress(ask) {
  for (let tries = 1; ; tries += 1) {
    const answer = await ask();
    if (answer.body.code !== "refresh_in_progress" || tries === MAX_TRIES) return answer;
    await sleep(1000);
  }
}

/**
 * Checks two expiries: the real one, which it waits for, and one that is written into the database. Each time all
 * callers ask at once, all get the same token, and the OAuth server sees one refresh for this account.
 */
export async function expectOneRefreshPerExpiry(installation, oauthServer, { id, account }, callers) {
  // Read from the database: a resolve shortly before expiry would start a refresh.
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
