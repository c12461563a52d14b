// Owns the scheduled run on the real runtime: a hundred connections in every state, all due at once. The tests check
// the status of each afterwards, with its evidence, and that no app was asked more than once.

import assert from "node:assert/strict";
import { after, before, suite, test } from "node:test";
import { startInstallation } from "../support/installation.mjs";
import { Person } from "../support/person.mjs";
import { connectMinimalApp, defineMinimalApp, startMinimalApp } from "../support/minimal-app.mjs";

/** How many connections a run checks at most. */
const BATCH = 40;

let installation, ada, working, failing, seeded;
const grants = new Map();

before(async () => {
  installation = await startInstallation();
  installation.oauth.provider.on("grant.success", ({ oidc }) => {
    const code = oidc.entities.AuthorizationCode;
    if (code) grants.set(code.accountId, code.grantId);
  });
  ada = await Person.createSignedIn(installation);
  [working, failing] = [await startMinimalApp(), await startMinimalApp({ refreshTokens: true })];
  failing.definition.id = "failing";
  for (const app of [working, failing]) await defineMinimalApp(installation, app);
  seeded = await Promise.all(Object.entries(STATES).map(async ([name, state]) => [name, await seed(name, state)])).then(Object.fromEntries);
  await due();
});
after(async () => {
  await installation.close();
  working.close();
  failing.close();
});

/**
 * For each state: the number of connections, how to create one, its status afterwards, and how often its app is asked.
 */
const STATES = {
  "works, with time left": { count: 20, make: connectAcme, says: ["connected", null, /probe: /], asks: { userinfo: 1 } },
  "works, near its end": { count: 20, make: connectAcme, ends: 5, says: ["connected", null, /refreshed/], asks: { refresh_token: 1 } },
  "revoked at the app, with time left": {
    count: 10,
    make: connectAcme,
    revoked: true,
    says: ["needs_reconnect", "revoked", /invalid_grant/],
    asks: { userinfo: 1, refresh_token: 1 },
  },
  "revoked at the app, near its end": {
    count: 10,
    make: connectAcme,
    revoked: true,
    ends: 5,
    says: ["needs_reconnect", "revoked", /invalid_grant/],
    asks: { refresh_token: 1 },
  },
  "its app is down, with time left": {
    count: 10,
    make: (who, name) => connectMinimalApp(who, name, "failing"),
    says: ["connected", null, /did not answer/],
  },
  "its app is down, near its end": {
    count: 10,
    make: (who, name) => connectMinimalApp(who, name, "failing"),
    ends: 5,
    says: ["connected", null, /^held back: |^refresh: /],
  },
  "without a refresh token, with time left": { count: 10, make: connectMinimalApp, says: ["connected", null, /probe: /] },
  "without a refresh token, ended": { count: 10, make: connectMinimalApp, ends: -5, says: ["needs_reconnect", "refresh_token_missing", /ended/] },
};

function connectAcme(who, login) {
  return who.connect("acme", { login });
}

async function seed(name, { count, make, ends, revoked }) {
  const who = await Person.createSignedIn(installation);
  const ids = [];
  for (let number = 0; number < count; number += 1) {
    const login = `${name.replace(/\W+/g, "-")}-${number}`;
    ids.push(await make(who, login));
    if (revoked) await revokeAtTheApp(login);
  }
  if (ends)
    await installation.run(
      "UPDATE connections SET connected_at = unixepoch() - 100, expires_at = unixepoch() + ?1 WHERE id IN (SELECT value FROM json_each(?2))",
      ends,
      JSON.stringify(ids),
    );
  return ids;
}

async function revokeAtTheApp(login) {
  const { Grant, AccessToken, RefreshToken } = installation.oauth.provider;
  const id = grants.get(login);
  await (await Grant.find(id)).destroy();
  for (const model of [AccessToken, RefreshToken]) await model.revokeByGrantId(id);
}

/** Makes all connections due, or only these. */
const due = (ids) =>
  installation.run(
    "UPDATE connections SET next_check_at = 1, checked_at = NULL WHERE ?1 IS NULL OR id IN (SELECT value FROM json_each(?1))",
    ids ? JSON.stringify(ids) : null,
  );
const taken = async () => (await installation.row("SELECT count(*) AS rows FROM connections WHERE next_check_at IS NOT 1")).rows;
const lastRun = async () => (await installation.requestOk("GET", "/v1/status", undefined, installation.adminKey)).last_cron_run;
const asked = () => ({
  ...installation.oauth.requests,
  workingMe: working.requests["/me"],
  failingMe: failing.requests["/me"],
  failingToken: failing.requests["/token"],
});
const difference = (now, before) =>
  Object.fromEntries(
    Object.keys(now)
      .map((name) => [name, now[name] - (before[name] ?? 0)])
      .filter(([, n]) => n > 0),
  );

suite("a hundred due connections", () => {
  let requestsOfRuns;

  test("are all checked once, in as many runs as the batch size requires", async (t) => {
    assert.equal(Object.values(seeded).flat().length, 100);
    failing.down = true;
    const before = asked();
    requestsOfRuns = [];
    for (const expected of [40, 80, 100]) {
      const outbound = installation.outbound.requests.length;
      await installation.runScheduled();
      assert.equal(await taken(), expected);
      requestsOfRuns.push(installation.outbound.requests.length - outbound);
      assert.equal((await lastRun()).summary.checked, expected === 100 ? 20 : BATCH);
    }
    const total = (what) => Object.values(STATES).reduce((sum, { count, asks }) => sum + count * (asks?.[what] ?? 0), 0);
    const { userinfo, refresh_token, refused, workingMe, failingMe, failingToken } = difference(asked(), before);
    assert.deepEqual(
      { userinfo, refresh_token, refused, workingMe, failingMe },
      { userinfo: total("userinfo"), refresh_token: total("refresh_token"), refused: 20, workingMe: 10, failingMe: 10 },
    );
    // After three failures in a row the app gets no more requests for a while. Its other connections wait.
    assert.ok(failingToken >= 3 && failingToken <= 10, `${failingToken} refreshes at the app that is down`);
    t.diagnostic(
      `outbound requests of the runs, in their connections' objects: ${requestsOfRuns.join(", ")}; dispatches from the run itself: at most ${BATCH}`,
    );
  });

  for (const [name, { says }] of Object.entries(STATES)) {
    test(`${name}: says ${says[0]}${says[1] ? `, ${says[1]}` : ""}, with the evidence`, async () => {
      const [status, reason, evidence] = says;
      for (const id of seeded[name]) {
        const one = await installation.requestOk("GET", `/v1/connections/${id}`);
        assert.deepEqual([one.status, one.reason], [status, reason], one.check_evidence);
        assert.match(one.check_evidence, evidence);
        assert.equal(one.next_check_at === null, status === "needs_reconnect", "what only a person can mend is not checked again");
      }
    });
  }

  test("are not checked again before they are due", async () => {
    const before = asked();
    await installation.runScheduled();
    assert.deepEqual(difference(asked(), before), {});
    assert.equal((await lastRun()).summary.checked, 0);
  });

  test("are checked again after a day of the schedule's time", async () => {
    await due(seeded["works, with time left"]);
    await installation.runScheduled();
    const before = asked();
    await installation.runScheduled(new Date(Date.now() + 36 * 3_600_000));
    assert.equal((await lastRun()).summary.checked, BATCH);
    assert.ok(difference(asked(), before).userinfo > 0);
  });

  test("are checked once when runs overlap", async () => {
    const ids = seeded["works, with time left"];
    await installation.run("UPDATE connections SET next_check_at = unixepoch() + 86400 WHERE next_check_at IS NOT NULL");
    await due(ids);
    const before = asked();
    await Promise.all([1, 2, 3].map(() => installation.runScheduled()));
    assert.deepEqual(difference(asked(), before), { userinfo: ids.length });
  });

  test("can be repaired by a person with a reconnect", async () => {
    const [id] = seeded["revoked at the app, near its end"];
    assert.equal((await installation.resolve(id)).body.code, "needs_reconnect");
    await ada.completeFlow(`/connections/${id}/reconnect`, { login: "revoked-at-the-app-near-its-end-0" });
    assert.equal((await installation.resolve(id)).status, 200);
  });

  test("work again without a person when their app is back", async () => {
    failing.down = false;
    const ids = seeded["its app is down, with time left"];
    await due(ids);
    await installation.runScheduled();
    for (const id of ids) assert.match((await installation.requestOk("GET", `/v1/connections/${id}`)).check_evidence, /probe: accepted/);
  });
});

test("expired rows are deleted", async () => {
  await ada.startFlow("/oauth/start/acme");
  await installation.requestOk("POST", "/v1/links", { app: "acme" });
  await installation.requestOk("POST", "/v1/sign-in-links", { user: { id: "nobody" } });
  const tables = ["flows", "connect_links", "sign_in_links", "sessions"];
  // Expired long ago, so that entries that are kept for a while are expired too.
  for (const table of tables) await installation.run(`UPDATE ${table} SET expires_at = unixepoch() - 100 * 86400`);
  await installation.run("UPDATE connections SET next_check_at = unixepoch() + 86400 WHERE next_check_at IS NOT NULL");
  await installation.runScheduled();
  for (const table of tables) assert.deepEqual(await installation.row(`SELECT count(*) AS rows FROM ${table}`), { rows: 0 }, table);
});
