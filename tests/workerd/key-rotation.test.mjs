// Owns the rotation of encryption keys on the real runtime: a key is added, then becomes the first one, everything is
// sealed again, and the old key is removed. Callers resolve all the time, and tokens expire all the time. Two Workers
// over one database represent a running deployment: one has the new settings, the other the old ones. The OAuth server
// is strict: a refresh token that is sent twice ends the grant.

import assert from "node:assert/strict";
import { after, before, suite, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { CLIENT_ID, writeConfigFile, createKeyRing, startInstallation } from "../support/installation.mjs";
import { Person } from "../support/person.mjs";

/**
 * Connections that callers resolve all the time, and connections that nobody resolves before the old key is removed.
 */
const BUSY = 19;
const IDLE = 23;
const CALLERS = 6;
/** Milliseconds until the next token expires, so that there are always refreshes. */
const PACE = 150;
/** Values that a run looks at. The number is small, so that a run can be killed in the middle. */
const BATCH = 12;

const status = (installation) => installation.requestOk("GET", "/v1/status", undefined, installation.adminKey);
/** The number of values under each key id. */
async function sealedUnder({ db }) {
  const { results } = await db
    .prepare(
      `SELECT substr(sealed, 1, 7) AS begin, count(*) AS n FROM (SELECT sealed_credential AS sealed FROM connections UNION ALL SELECT sealed_secret FROM oauth_clients
       UNION ALL SELECT sealed_tokens FROM revocations UNION ALL SELECT sealed_verifier FROM flows UNION ALL SELECT sealed_grant FROM flows)
       WHERE sealed IS NOT NULL GROUP BY 1`,
    )
    .all();
  return Object.fromEntries(results.map(({ begin, n }) => [begin.slice(4, 6), n]));
}

/** Callers that ask without end, at all Workers by turns, and can be held for as long as a Worker is exchanged. Each
 * connection is asked for at every Worker and in every mode: their numbers have no common divisor. */
function startLoad(installation, ids, workers) {
  const load = { calls: 0, refreshed: 0, used: 0, failed: [], over: false, gate: undefined, underWay: 0 };
  let turn = 0;
  const once = async () => {
    turn += 1;
    const consistency = ["strong", "strong", "available", "edge"][turn % 4];
    const id = ids[turn % ids.length];
    const { status, body } = await installation.resolve(id, { workflow: "w", min_ttl: 2, consistency }, installation.key, workers[turn % workers.length]);
    load.calls += 1;
    if (status !== 200) return load.failed.push(`${status} ${body.code} ${body.detail} ${consistency} at call ${load.calls}`);
    if (body.freshness === "refreshed") load.refreshed += 1;
    if (load.calls % 10 === 0) {
      const { status: atTheApp } = await fetch(`${installation.oauth.issuer}/me`, { headers: body.request.headers });
      load.used += 1;
      if (atTheApp !== 200) load.failed.push(`${atTheApp} at the app: ${body.freshness} from ${body.source}`);
    }
  };
  const caller = async () => {
    while (!load.over) {
      await load.gate?.promise;
      load.underWay += 1;
      await once().catch((error) => load.failed.push(`${error}`));
      load.underWay -= 1;
      await sleep(25);
    }
  };
  /** Tokens expire one after the other. */
  const end = async () => {
    for (let at = 0; !load.over; at += 1) {
      await load.gate?.promise;
      await installation.run("UPDATE connections SET expires_at = unixepoch() - 1, refreshed_at = NULL WHERE id = ?1", ids[at % ids.length]);
      await sleep(PACE);
    }
  };
  const running = [...Array.from({ length: CALLERS }, caller), end()];
  /** Waits until no caller asks and no deferred work runs. */
  load.hold = async () => {
    load.gate = Promise.withResolvers();
    for (let quiet = 0, seen; quiet < 4; await sleep(50)) {
      const now = `${load.calls} ${installation.outbound.requests.length}`;
      const attempts = (await installation.row("SELECT count(*) AS n FROM connections WHERE lease_attempt_id IS NOT NULL")).n;
      quiet = load.underWay === 0 && attempts === 0 && now === seen ? quiet + 1 : 0;
      seen = now;
    }
  };
  load.go = () => {
    load.gate?.resolve();
    load.gate = undefined;
  };
  load.serve = async (calls) => {
    const end = load.calls + load.failed.length + calls;
    while (load.calls + load.failed.length < end) await sleep(20);
  };
  load.stop = async () => {
    load.go();
    load.over = true;
    await Promise.all(running);
  };
  return load;
}

suite("a key rotation under load", () => {
  let installation, workers, ids, idle, load, begun;
  const [k1, k2] = [createKeyRing("k1"), createKeyRing("k2")];
  /** The tokens of all connections, and the client's secret. */
  const sealed = BUSY + IDLE + 1;
  const configs = ["connections", "connections-too"];

  before(async () => {
    installation = await startInstallation({
      secrets: { ENCRYPTION_KEYS: k1 },
      vars: { RESEAL_BATCH: `${BATCH}` },
      configs: configs.map((name) => writeConfigFile({ name })),
    });
    workers = configs.map((name) => installation.server.getWorker(name));
    const people = await Promise.all(Array.from({ length: 6 }, () => Person.createSignedIn(installation)));
    ids = [];
    for (let at = 0; at < BUSY + IDLE; at += people.length)
      ids.push(...(await Promise.all(people.map((who, n) => who.connect("acme", { login: `p${at + n}` })))));
    idle = ids.splice(BUSY);
    begun = await counts();
    load = startLoad(installation, ids, workers);
  });
  after(async () => {
    await load?.stop();
    await installation.close();
  });

  const counts = async () => ({
    versions: (await installation.row("SELECT sum(version) AS n FROM connections")).n,
    requests: installation.oauth.requests.refresh_token ?? 0,
  });
  /** Sets the keys of the first and the second Worker, and lets callers continue. */
  const deploy = async (first, second, calls = 80) => {
    await load.hold();
    await installation.restart((index) => ({ secrets: { ...installation.secrets, ENCRYPTION_KEYS: [first, second][index] } }));
    load.go();
    await load.serve(calls);
  };
  /** The waiting time until the next pass is a column. */
  const itIsTimeForTheNextPass = () => installation.run("UPDATE reseal_progress SET next_pass_at = unixepoch() WHERE next_pass_at IS NOT NULL");

  test("a key that is added after the first can open values before it seals any", async () => {
    await deploy(`${k1},${k2}`, k1);
    await deploy(`${k1},${k2}`, `${k1},${k2}`);
    await installation.runScheduled();
    assert.deepEqual(await sealedUnder(installation), { k1: sealed });
  });

  test("each Worker opens what the other sealed while only one of them has the new first key", async () => {
    await deploy(`${k2},${k1}`, `${k1},${k2}`, 200);
    for (let run = 0; run < 3; run += 1) {
      await installation.runScheduled();
      await load.serve(40);
    }
    assert.equal((await status(installation)).reseal.state, "running");
    await deploy(`${k2},${k1}`, `${k2},${k1}`);
  });

  test("Workers that are replaced during a run lose nothing", async (t) => {
    let died = 0;
    for (const milliseconds of [0, 10]) {
      await load.hold();
      const dying = installation.runScheduled().then(
        () => true,
        () => false,
      );
      await sleep(milliseconds);
      await installation.restart((index) => ({ secrets: { ...installation.secrets, ENCRYPTION_KEYS: `${k2},${k1}` } }));
      if (!(await Promise.race([dying, sleep(2000, false)]))) died += 1;
      const under = await sealedUnder(installation);
      assert.equal((under.k1 ?? 0) + (under.k2 ?? 0), sealed);
      load.go();
      await load.serve(20);
    }
    assert.ok((await sealedUnder(installation)).k1 > 0, "it was in the middle");
    t.diagnostic(`runs that did not end: ${died} of 2`);
  });

  test("scheduled runs seal everything with the new key, and the status says when it is done", async (t) => {
    let runs = 0;
    let most = 0;
    for (; runs < 60; runs += 1) {
      const earlier = (await status(installation)).reseal;
      await installation.runScheduled();
      const { reseal, keys } = await status(installation);
      most = Math.max(most, reseal.resealed - earlier.resealed);
      assert.equal(reseal.remaining, keys.find(({ id }) => id === "k1").rows);
      if (reseal.state === "finished") break;
      await itIsTimeForTheNextPass();
      await load.serve(15);
    }
    const { reseal, keys } = await status(installation);
    assert.equal(reseal.state, "finished");
    assert.deepEqual({ remaining: reseal.remaining, unreadable: reseal.unreadable }, { remaining: 0, unreadable: 0 });
    assert.deepEqual(
      keys.map(({ id, rows, seals }) => ({ id, rows, seals })),
      [
        { id: "k2", rows: sealed, seals: true },
        { id: "k1", rows: 0, seals: false },
      ],
    );
    assert.ok(most <= BATCH, `${most} values in one run`);
    assert.ok(reseal.resealed >= IDLE, "what no refresh had sealed again by the way");
    assert.deepEqual(await sealedUnder(installation), { k2: sealed });
    t.diagnostic(`${runs + 1} runs to the end, ${reseal.resealed} values sealed again, at most ${most} in one run`);
  });

  test("after the old key is removed from both Workers, all connections are still refreshed", async () => {
    await deploy(k2, `${k2},${k1}`);
    await deploy(k2, k2);
    const since = await counts();
    while ((await counts()).requests < since.requests + BUSY) await load.serve(50);
    for (const id of idle) {
      await installation.run("UPDATE connections SET expires_at = unixepoch() - 1, refreshed_at = NULL WHERE id = ?1", id);
      const { status, body } = await installation.resolve(id);
      assert.deepEqual([status, body.freshness], [200, "refreshed"], `${body.code}: what nobody asked for all the while`);
    }
    assert.deepEqual(await sealedUnder(installation), { k2: sealed });
  });

  test("no call failed, no token was sent twice, and none was lost", async (t) => {
    await load.hold();
    const now = await counts();
    load.go();
    await load.stop();
    t.diagnostic(
      `${load.calls} calls, ${load.failed.length} errors; ${load.refreshed} waited for a refresh; ${load.used} answers were used at the app; ${now.requests - begun.requests} token requests`,
    );
    assert.deepEqual(load.failed, []);
    assert.ok(load.calls > 500, `${load.calls} calls`);
    assert.ok(now.requests - begun.requests >= 2 * BUSY, "there were refreshes all the time");
    assert.equal(now.requests - begun.requests, now.versions - begun.versions, "one token request for every credential that was stored");
    assert.equal(installation.oauth.requests.refused ?? 0, 0);
    const { data } = await installation.requestOk("GET", "/v1/connections?limit=200");
    assert.deepEqual([...new Set(data.map((one) => one.status))], ["connected"]);
  });
});

suite("a lost key", () => {
  let installation, ada, lost, kept;
  const [k1, k2] = [createKeyRing("k1"), createKeyRing("k2")];
  const withKeys = (ENCRYPTION_KEYS) => installation.restart({ secrets: { ...installation.secrets, ENCRYPTION_KEYS } });
  const expire = (id) => installation.run("UPDATE connections SET expires_at = unixepoch() - 1, next_attempt_at = 0 WHERE id = ?1", id);

  before(async () => {
    installation = await startInstallation({ secrets: { ENCRYPTION_KEYS: k1 } });
    ada = await Person.createSignedIn(installation);
    lost = await ada.connect("acme", { login: "lost" });
    await withKeys(`${k2},${k1}`);
    kept = await ada.connect("acme", { login: "kept" });
    await withKeys(k2);
  });
  after(() => installation.close());

  test("connections that it sealed are unreadable and stay unchanged, and the others work", async () => {
    const sealed = await installation.row("SELECT sealed_credential AS sealed FROM connections WHERE id = ?1", lost);
    const { status: refused, body } = await installation.resolve(lost);
    assert.deepEqual([refused, body.code, body.reason], [409, "needs_reconnect", "unreadable"]);
    assert.equal((await installation.resolve(kept)).status, 200);
    await installation.runScheduled();
    const { reseal, keys } = await status(installation);
    assert.deepEqual([reseal.unreadable, reseal.remaining, reseal.state], [2, 2, "finished"], "the connection's tokens and the client's secret");
    assert.deepEqual(
      keys.map(({ id, on_ring, rows }) => [id, on_ring, rows]),
      [
        ["k2", true, 1],
        ["k1", false, 2],
      ],
    );
    assert.deepEqual(await installation.row("SELECT sealed_credential AS sealed FROM connections WHERE id = ?1", lost), sealed);
  });

  test("a client secret that it sealed must be entered again, and its connections need no person", async () => {
    await expire(kept);
    assert.equal((await installation.resolve(kept)).body.code, "client_misconfigured");
    await installation.requestOk("PUT", "/v1/apps/acme/client", { client_id: CLIENT_ID, client_secret: installation.clientSecret });
    await expire(kept);
    assert.equal((await installation.resolve(kept)).body.freshness, "refreshed");
  });

  test("reconnecting repairs a connection under the same id", async () => {
    assert.match((await ada.get(`/connections/${lost}`)).text, /[Rr]econnect/);
    await ada.completeFlow(`/connections/${lost}/reconnect`, { login: "lost" });
    assert.equal((await installation.resolve(lost)).status, 200);
    assert.deepEqual((await installation.requestOk("GET", "/v1/connections")).data.map(({ id }) => id).sort(), [lost, kept].sort());
    assert.equal((await status(installation)).reseal.remaining, 0);
  });

  test("other bytes under its id are refused before anything is written, also after a new first key", async () => {
    const tables = (await installation.db.prepare("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE '\\_cf%' ESCAPE '\\'").all()).results;
    const dump = async () => {
      const all = {};
      for (const { name } of tables) all[name] = (await installation.db.prepare(`SELECT * FROM ${name}`).all()).results;
      return all;
    };
    const before = await dump();
    for (const keys of [`${k2},${createKeyRing("k1")}`, `${createKeyRing("k3")},${k2},${createKeyRing("k1")}`]) {
      await withKeys(keys);
      assert.deepEqual([(await installation.resolve(kept)).body.code, (await installation.request("/healthz")).status], ["misconfigured", 503]);
      await installation.runScheduled();
      assert.deepEqual(await dump(), before);
    }
    await withKeys(k2);
    assert.equal((await installation.resolve(kept)).status, 200);
  });
});
