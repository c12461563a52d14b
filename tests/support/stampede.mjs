// Owns the question that matters most: everybody asks at the token's end, and the app sees one refresh. Expects that of
// any peer, and of any number of callers and Workers.

import assert from "node:assert/strict";
import { setTimeout as sleep } from "node:timers/promises";

/** All ask at once, in turn at each of the Workers; every answer as its status, token and problem. */
async function atOnce(installation, id, callers, workers) {
  const asked = Array.from({ length: callers }, (_, index) =>
    installation.resolve(id, { workflow: "nightly", step: `step ${index % 4}` }, installation.key, workers[index % workers.length]),
  );
  return (await Promise.all(asked)).map(({ status, body }) => ({ status, token: body.credential?.access_token, code: body.code, detail: body.detail }));
}

/**
 * At a real end of the token, waited for, and then at one that is written into the record: all callers ask at once, and
 * the peer must have seen one refresh for this account. With `mayBeLate` a caller may be told that a refresh is under
 * way instead of getting the token.
 */
export async function expectOneRefreshAtEachEnd(installation, peer, { id, account }, crowd) {
  // Read from the record: to resolve near the end would begin a refresh.
  const { expires_at: end } = await installation.row("SELECT expires_at FROM connections WHERE id = ?1", id);
  await sleep(Math.max(0, (end + 1) * 1000 - Date.now()));
  const first = await oneRefresh(installation, peer, { id, account }, crowd);
  await installation.run("UPDATE connections SET expires_at = unixepoch() - 1, refreshed_at = NULL WHERE id = ?1", id);
  assert.notEqual(await oneRefresh(installation, peer, { id, account }, crowd), first, "each refresh brings another token");
}

async function oneRefresh(installation, peer, { id, account }, { callers, workers = [installation.worker], mayBeLate = false }) {
  const before = await peer.seen(account);
  const answers = await atOnce(installation, id, callers, workers);
  const { refreshes, refused, strange } = await peer.seen(account);
  assert.deepEqual({ refreshes: refreshes - before.refreshes, refused, strange }, { refreshes: 1, refused: 0, strange: 0 }, "what the server saw");
  const served = answers.filter(({ status }) => status === 200);
  const late = answers.filter(({ code }) => code === "refresh_in_progress");
  assert.equal(served.length + (mayBeLate ? late.length : 0), callers, JSON.stringify(answers.find(({ status }) => status !== 200)));
  assert.equal(new Set(served.map(({ token }) => token)).size, 1, "all have the same token");
  assert.ok(await peer.accepts({ authorization: `Bearer ${served[0].token}` }), "the app takes the token");
  return served[0].token;
}
