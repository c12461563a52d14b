// Owns the single refresh at a server of another code base: django-oauth-toolkit. Without a grace period it treats the
// second use of a refresh token as theft. With one it accepts it for 30 seconds. There is one refresh at each expiry,
// for any number of callers and Workers, also where the server would accept more.

import assert from "node:assert/strict";
import { after, before, suite, test } from "node:test";
import { startDjangoServer } from "../support/django-server.mjs";
import { writeConfigFile, startInstallation } from "../support/installation.mjs";
import { connectAccount, defineApp } from "../support/oauth-servers.mjs";
import { Person } from "../support/person.mjs";
import { expectOneRefreshPerExpiry } from "../support/concurrent-callers.mjs";

/** Lifetime of a first token, whose expiry is waited for. The next ones last until all callers are answered. */
const FIRST_TTL = 4;
const GRACES = [0, 30];
const CALLERS = [1, 2, 8, 64];
const MODES = {
  "one Worker": [{ name: "connections" }],
  "two Workers over one database": [{ name: "connections" }, { name: "connections-too" }],
  "a Worker without the REFRESHER binding": [{ refresher: false }],
};

const oauthServers = new Map();
before(async () => {
  for (const grace of GRACES) oauthServers.set(grace, await startDjangoServer({ grace, firstTokenTtl: FIRST_TTL }));
});
after(() => Promise.all([...oauthServers.values()].map((oauthServer) => oauthServer.close())));

for (const [mode, configs] of Object.entries(MODES)) {
  // Each number of callers has its own connection, so that all wait for the expiry at the same time.
  suite(mode, { concurrency: true }, () => {
    let installation, ada, workers;
    before(async () => {
      installation = await startInstallation({ configs: configs.map(writeConfigFile) });
      workers = configs.map(({ name }) => installation.server.getWorker(name));
      for (const grace of GRACES) await defineApp(installation, oauthServers.get(grace), `django-${grace}`);
      ada = await Person.createSignedIn(installation);
    });
    after(() => installation.close());

    for (const grace of GRACES) {
      for (const callers of CALLERS) {
        test(`concurrent callers cause one refresh at each expiry: ${callers}, grace ${grace} s`, async () => {
          const oauthServer = oauthServers.get(grace);
          const account = `${mode.replace(/\W+/g, "-")}-${callers}`;
          const id = await connectAccount(ada, oauthServer, `django-${grace}`, account);
          const { account: shown } = await installation.requestOk("GET", `/v1/connections/${id}`);
          assert.equal(shown.label, `${account}@example.test`);
          await expectOneRefreshPerExpiry(installation, oauthServer, { id, account }, { callers, workers });
        });
      }
    }
  });
}

suite("a refresh token that somebody else has used", () => {
  let installation;
  before(async () => {
    installation = await startInstallation();
    for (const grace of GRACES) await defineApp(installation, oauthServers.get(grace), `django-${grace}`);
  });
  after(() => installation.close());

  /** A connection whose refresh token was used by us, and then again by somebody who had copied it. */
  async function replayed(grace) {
    const person = await Person.createSignedIn(installation, { id: `victim-${grace}` });
    const id = await connectAccount(person, oauthServers.get(grace), `django-${grace}`, "victim");
    const first = await installation.resolve(id, { force_refresh: true });
    assert.equal(first.status, 200);
    const { url, method, headers, body } = installation.outbound.to("/token/").at(-1);
    assert.match(body, /grant_type=refresh_token/);
    const { "content-type": type, authorization } = headers;
    const second = await fetch(url, { method, headers: { "content-type": type, authorization }, body });
    return { id, first, status: second.status, answer: await second.json() };
  }

  test("ends the grant of a strict app: the connection has the reason revoked", async () => {
    const { id, status, answer } = await replayed(0);
    assert.deepEqual([status, answer.error], [400, "invalid_grant"]);
    await installation.run("UPDATE connections SET expires_at = unixepoch() - 1, refreshed_at = NULL WHERE id = ?1", id);
    const { status: refused, body } = await installation.resolve(id);
    assert.deepEqual([refused, body.code, body.reason], [409, "needs_reconnect", "revoked"]);
  });

  test("returns the same tokens again within the grace period: the connection keeps working", async () => {
    const { id, first, status, answer } = await replayed(30);
    assert.deepEqual([status, answer.access_token], [200, first.body.credential.access_token]);
    await installation.run("UPDATE connections SET expires_at = unixepoch() - 1, refreshed_at = NULL WHERE id = ?1", id);
    assert.equal((await installation.resolve(id)).body.freshness, "refreshed");
  });
});
