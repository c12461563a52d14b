// Owns what happens when a refresh fails on the way to a real server: the answer to the caller, the requests to the
// app, and the final state. A connection is never given up without a loss. A token is lost only if the app's refresh
// tokens are single use, and then the reason is `lost_rotation`. Time passes by changing the data.

import assert from "node:assert/strict";
import { after, before, suite, test } from "node:test";
import { startDjangoServer } from "../support/django-server.mjs";
import { faults, startFaultProxy } from "../support/fault-proxy.mjs";
import { startInstallation } from "../support/installation.mjs";
import { connectAccount, defineApp, adaptOidcProvider } from "../support/oauth-servers.mjs";
import { Person } from "../support/person.mjs";

/** Longer than a caller waits, shorter than a request may take. */
const LONGER_THAN_CALLERS_WAIT = 11_000;
/** Longer than a request may take. */
const LONGER_THAN_REQUESTS_TAKE = 16_000;

const UNAVAILABLE = [503, "app_unavailable"];
const IN_PROGRESS = [503, "refresh_in_progress"];

/**
 * The fault, the answer to the caller (none: the caller gets the token), the error in the database, whether the app has
 * rotated the token at the end, and the shortest `Retry-After`.
 */
const FAULTS = {
  "acts after nobody waits any more": { fault: faults.slowToAct(LONGER_THAN_REQUESTS_TAKE), tells: IN_PROGRESS, notes: "timeout", rotated: true },
  "answers after nobody waits any more": { fault: faults.slowToAnswer(LONGER_THAN_REQUESTS_TAKE), tells: IN_PROGRESS, notes: "timeout", rotated: true },
  "is slow to answer, longer than a caller waits": { fault: faults.slowToAnswer(LONGER_THAN_CALLERS_WAIT), tells: IN_PROGRESS, rotated: true },
  "is slow to act, shorter than a caller waits": { fault: faults.slowToAct(300), rotated: true },
  "is slow to answer, shorter than a caller waits": { fault: faults.slowToAnswer(300), rotated: true },
  "breaks within the answer": { fault: faults.brokenBody, tells: UNAVAILABLE, notes: "network_error", rotated: true },
  "ends the answer in the middle": { fault: faults.halfBody, tells: UNAVAILABLE, notes: "unreadable_body", rotated: true },
  "acts and breaks before the answer": { fault: faults.noAnswer, tells: UNAVAILABLE, notes: "network_error", rotated: true },
  "acts and answers 500": { fault: faults.errorAfter, tells: UNAVAILABLE, notes: "server_error", rotated: true },
  "acts, and a proxy in front of it answers HTML": { fault: faults.htmlAfter, tells: UNAVAILABLE, notes: "unreadable_body", rotated: true },
  "breaks before it acts": { fault: faults.noConnection, tells: UNAVAILABLE, notes: "network_error" },
  "answers 500 before it acts": { fault: faults.errorBefore, tells: UNAVAILABLE, notes: "server_error" },
  "answers 429": { fault: faults.tooMany(300), tells: UNAVAILABLE, notes: "too_many_requests", wait: 300 },
  "a proxy in front of it answers HTML": { fault: faults.htmlBefore, tells: UNAVAILABLE, notes: "unreadable_body" },
  "redirects elsewhere (302)": { fault: faults.redirect(302), tells: UNAVAILABLE, notes: "redirect" },
  "redirects elsewhere (307)": { fault: faults.redirect(307), tells: UNAVAILABLE, notes: "redirect" },
};

let installation;
const oauthServers = {};
before(async () => {
  installation = await startInstallation();
  oauthServers.oidc = adaptOidcProvider(installation);
  oauthServers.strict = await startDjangoServer({ grace: 0 });
  oauthServers.grace = await startDjangoServer({ grace: 30 });
});
after(async () => {
  await installation?.close();
  await Promise.all(Object.values(oauthServers).map((oauthServer) => oauthServer.close()));
});

const CLIENT_OF = "(SELECT oauth_client FROM connections WHERE id = ?1)";
const connection = (id) => installation.requestOk("GET", `/v1/connections/${id}`);
const readAttempt = (id) => installation.row("SELECT lease_attempt_id, last_error FROM connections WHERE id = ?1", id);
const expireToken = (id) => installation.run("UPDATE connections SET expires_at = unixepoch() - 1, refreshed_at = NULL WHERE id = ?1", id);

/** Ends everything that makes callers wait: the lease, and the back-off of the connection and of the client. */
async function endBackOff(id) {
  await installation.run("UPDATE connections SET next_attempt_at = 0, lease_expires_at = lease_expires_at - 70 WHERE id = ?1", id);
  await installation.run(`UPDATE oauth_clients SET backoff_until = 0 WHERE id = ${CLIENT_OF}`, id);
}

/** An attempt may continue after its caller has stopped waiting. */
async function waitForAttempt(id, proxy) {
  await proxy.waitUntilIdle();
  for (let tries = 0; tries < 250; tries += 1) {
    const { lease_attempt_id, last_error } = await readAttempt(id);
    if (lease_attempt_id === null || last_error !== null) return;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  assert.fail("the attempt did not end");
}

const SERVERS = {
  oidc: "oidc-provider, strict",
  strict: "django-oauth-toolkit without grace",
  grace: "django-oauth-toolkit with 30 s of grace",
};
// Several tests run at once, the long ones first. Each has its own app and client, so that no back-off affects another
// test.
suite("a refresh with a fault on the way", { concurrency: 8 }, () => {
  let cases = 0;
  for (const [name, row] of Object.entries(FAULTS)) {
    for (const [kind, server] of Object.entries(SERVERS)) {
      const lost = row.notes && row.rotated && kind !== "grace";
      test(`${name}, ${server}: ${lost ? "the token is lost, with the reason lost_rotation" : "the connection recovers"}`, async (t) => {
        const number = (cases += 1);
        const scenario = await createScenario(t, oauthServers[kind], `app-${number}`, `somebody${number}`);
        await injectFault(scenario, row);
        if (row.notes) await expectBackOff(scenario, row);
        await endBackOff(scenario.id);
        await (lost ? expectLost : expectRecovery)(scenario, row);
      });
    }
  }
});

async function createScenario(t, oauthServer, app, account) {
  const proxy = await startFaultProxy(oauthServer.addresses.token_url);
  t.after(proxy.close);
  await defineApp(installation, oauthServer, app, { auth: { refresh_url: proxy.url } });
  const person = await Person.createSignedIn(installation, { id: account });
  const id = await connectAccount(person, oauthServer, app, account);
  await expireToken(id);
  return { oauthServer, person, account, proxy, id };
}

async function injectFault({ oauthServer, account, proxy, id }, { fault, tells, notes, rotated = false, wait = 1 }) {
  proxy.queueFault(fault);
  const { status, headers, body } = await installation.resolve(id);
  assert.deepEqual([status, body.code], tells ?? [200, undefined]);
  if (tells) assert.ok(Number(headers.get("retry-after")) >= wait, `Retry-After: ${headers.get("retry-after")}`);
  await waitForAttempt(id, proxy);
  assert.deepEqual(await oauthServer.countRefreshes(account), { refreshes: rotated ? 1 : 0, refused: 0, unknown: 0 }, "what the server saw");
  assert.equal((await readAttempt(id)).last_error, notes ?? null);
  const { status: stands, reason } = await connection(id);
  assert.deepEqual([stands, reason], ["connected", null], "nobody is given up for a fault");
}

/**
 * Callers are told to wait, and the app gets no request. A short back-off is extended, so that it does not end during
 * the test.
 */
async function expectBackOff({ proxy, id }, { wait = 1 }) {
  await installation.run("UPDATE connections SET next_attempt_at = next_attempt_at + 60 WHERE id = ?1", id);
  await installation.run(`UPDATE oauth_clients SET backoff_until = backoff_until + 60 WHERE backoff_until > 0 AND id = ${CLIENT_OF}`, id);
  const answers = await Promise.all([1, 2, 3].map(() => installation.resolve(id)));
  for (const { status, headers, body } of answers) {
    assert.deepEqual([status, body.code], UNAVAILABLE);
    assert.ok(Number(headers.get("retry-after")) >= wait);
  }
  assert.equal(proxy.times.length, 1, "requests to the app");
}

async function expectRecovery({ oauthServer, account, proxy, id }, { notes, rotated }) {
  const again = notes ? 1 : 0;
  await expectWorking({ oauthServer, id });
  const first = rotated ? 1 : 0;
  assert.deepEqual(await oauthServer.countRefreshes(account), { refreshes: first + again, refused: 0, unknown: 0 }, "what the server saw");
  await expireToken(id);
  await expectWorking({ oauthServer, id });
  assert.deepEqual(await oauthServer.countRefreshes(account), { refreshes: first + again + 1, refused: 0, unknown: 0 }, "at the next end");
  const { status, reason } = await connection(id);
  assert.deepEqual([status, reason, proxy.requestsElsewhere], ["connected", null, 0]);
}

async function expectWorking({ oauthServer, id }) {
  const answers = await Promise.all([1, 2, 3].map(() => installation.resolve(id)));
  assert.deepEqual(answers.map(({ status }) => status), [200, 200, 200], JSON.stringify(answers.map(({ body }) => body.code)));
  const [{ body }] = answers;
  assert.ok(answers.every((answer) => answer.body.credential.access_token === body.credential.access_token), "all have the same token");
  assert.ok(await oauthServer.accepts(body.request.headers), "the app takes the token");
}

/** One more try, which the app refuses. After that the app gets no request until a person has reconnected. */
async function expectLost({ oauthServer, person, account, proxy, id }) {
  for (const _ of ["first", "later"]) {
    const { status, body } = await installation.resolve(id);
    assert.deepEqual([status, body.code, body.reason], [409, "needs_reconnect", "lost_rotation"]);
  }
  assert.deepEqual(await oauthServer.countRefreshes(account), { refreshes: 2, refused: 1, unknown: 0 }, "what the server saw");
  const { status, reason } = await connection(id);
  assert.deepEqual([status, reason, proxy.times.length], ["needs_reconnect", "lost_rotation", 2]);
  const location = await person.followCallback(await oauthServer.authorize(await person.startFlow(`/connections/${id}/reconnect`), account));
  assert.equal(location, `/connections/${id}`);
  await expectWorking({ oauthServer, id });
}
