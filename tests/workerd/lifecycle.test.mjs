// Owns the lifecycle of a connection on the real runtime: a person connects an app once. From then on workflows get a
// working token, for any number of callers and expiries, until the disconnect. The OAuth server is strict: a refresh
// token that is sent twice ends the grant. So a working connection proves that each token was sent once.

import assert from "node:assert/strict";
import { after, before, suite, test } from "node:test";
import { writeConfigFile, startInstallation } from "../support/installation.mjs";
import { adaptOidcProvider } from "../support/oauth-servers.mjs";
import { Person } from "../support/person.mjs";
import { expectOneRefreshPerExpiry } from "../support/concurrent-callers.mjs";

/** Lifetime of a first token, whose expiry is waited for. The next ones last until all callers are answered. */
const FIRST_TTL = 4;

const profile = (installation, headers) => fetch(`${installation.oauth.issuer}/me`, { headers });

suite("the lifecycle of a connection", () => {
  let installation, oauthServer, ada, id;
  before(async () => {
    installation = await startInstallation({ firstTokenTtl: FIRST_TTL });
    oauthServer = adaptOidcProvider(installation);
    ada = new Person(installation);
  });
  after(() => installation.close());

  test("a sign-in link shows the person's name and works once", async () => {
    const { url } = await installation.requestOk("POST", "/v1/sign-in-links", { user: { id: "ada", name: "Ada Lovelace" } });
    const page = await ada.get(new URL(url).pathname);
    assert.equal(page.status, 200);
    assert.match(page.text, /Sign in as Ada Lovelace/);
    assert.equal((await ada.get("/")).status, 401, "opening the link signs nobody in");
    assert.equal((await ada.signIn(url)).location, "/");
    assert.match((await ada.get("/")).text, /Signed in as Ada Lovelace/);

    const second = new Person(installation);
    assert.equal((await second.get(new URL(url).pathname)).status, 410);
    assert.equal((await second.post(new URL(url).pathname)).status, 410);
    assert.equal((await second.get("/")).status, 401);
  });

  test("a person connects an app with its real sign-in and consent forms, and sees the account", async () => {
    id = await ada.connect("acme", { login: "ada" });
    for (const path of ["/", `/connections/${id}`]) {
      const { text } = await ada.get(path);
      for (const shown of ["Acme", "ada@example.test", "Connected"]) assert.ok(text.includes(shown), `${shown} on ${path}: ${text}`);
    }
    const { status, account, scopes, credential } = await installation.requestOk("GET", `/v1/connections/${id}`);
    assert.deepEqual(
      { status, account, missing: scopes.missing, refreshable: credential.refreshable },
      { status: "connected", account: { id: "ada", label: "ada@example.test" }, missing: [], refreshable: true },
    );
  });

  test("a workflow resolves the connection, and the app accepts the token", async () => {
    const { status, body } = await installation.resolve(id, { workflow: "nightly", step: "fetch", expect: { app: "acme", account: "ada" } });
    assert.equal(status, 200);
    assert.equal(body.source, "database");
    assert.equal((await (await profile(installation, body.request.headers)).json()).sub, "ada");
    assert.doesNotMatch(JSON.stringify(body), /refresh_token|client_secret/);
  });

  test("64 callers share one refresh when the token expires, and again at the next expiry", async () => {
    await expectOneRefreshPerExpiry(installation, oauthServer, { id, account: "ada" }, { callers: 64 });
  });

  test("the page shows which workflow steps use the connection", async () => {
    const { text } = await ada.get(`/connections/${id}`);
    for (const shown of ["nightly", "step 0", "step 3"]) assert.ok(text.includes(shown), shown);
    const { data } = await installation.requestOk("GET", `/v1/connections/${id}/uses`);
    assert.deepEqual(data.map(({ step }) => step).sort(), ["fetch", "step 0", "step 1", "step 2", "step 3"]);
  });

  test("a disconnect on the page asks for confirmation and can be undone", async () => {
    const disconnect = () => ada.submit(`/connections/${id}?disconnect=1`, {}, { to: `/connections/${id}/disconnect` });
    const { body } = await installation.resolve(id);
    assert.equal((await disconnect()).location, "/");
    assert.equal((await installation.resolve(id)).status, 404);
    const { location } = await ada.submit("/", {}, { to: `/connections/${id}/undo-disconnect` });
    assert.equal(location, `/connections/${id}`);
    const again = await installation.resolve(id);
    assert.equal(again.body.credential.access_token, body.credential.access_token);
    assert.equal((await profile(installation, again.body.request.headers)).status, 200, "the app knows nothing of it");
  });

  test("the end of the wait after a disconnect revokes at the app, and erases the connection", async () => {
    const { body } = await installation.resolve(id);
    const page = await ada.get(`/connections/${id}?disconnect=1`);
    assert.match(page.text, /Disconnect “ ?Acme/);
    const { location } = await ada.submit(`/connections/${id}?disconnect=1`, {}, { to: `/connections/${id}/disconnect` });
    assert.equal(location, "/");
    assert.match((await ada.get(location)).text, /Acme.* is disconnected/s);
    const ended = await ada.submit("/", {}, { to: `/connections/${id}/revoke-now` });
    assert.match((await ada.get(ended.location)).text, /The app confirmed that the access is revoked/);

    assert.equal((await profile(installation, body.request.headers)).status, 401, "the token is dead at the app");
    const refused = await installation.resolve(id);
    assert.deepEqual([refused.status, refused.body.code], [404, "connection_not_found"]);
    assert.equal((await ada.get(`/connections/${id}`)).status, 404);
    assert.deepEqual(await installation.row("SELECT count(*) AS rows FROM connections"), { rows: 0 });
  });

  test("a disconnect by API returns the result of the revocation at the app", async () => {
    const again = await ada.connect("acme", { login: "ada" });
    const { body } = await installation.resolve(again);
    assert.deepEqual(await installation.requestOk("DELETE", `/v1/connections/${again}`), { revoked: "confirmed", retrying: false, undo_until: null });
    assert.equal((await profile(installation, body.request.headers)).status, 401);
    assert.equal((await installation.requestApi("DELETE", `/v1/connections/${again}`)).status, 404);
  });

  test("a grant that another connection uses is revoked only with the last of them", async () => {
    const [one, two] = [
      await ada.connect("acme", { login: "twin" }),
      await (await Person.createSignedIn(installation, { id: "eve" })).connect("acme", { login: "twin" }),
    ];
    assert.deepEqual(await installation.requestOk("DELETE", `/v1/connections/${one}`), { revoked: "kept_shared", retrying: false, undo_until: null });
    assert.equal((await profile(installation, (await installation.resolve(two)).body.request.headers)).status, 200);
    assert.equal((await installation.requestOk("DELETE", `/v1/connections/${two}`)).revoked, "confirmed");
  });
});

const MODES = {
  "one Worker": [{ name: "connections" }],
  "two Workers over one database": [{ name: "connections" }, { name: "connections-too" }],
  "a Worker without the REFRESHER binding": [{ refresher: false }],
  "two Workers over one database, one of them without the binding": [{ name: "connections" }, { name: "connections-too", refresher: false }],
};

for (const [mode, configs] of Object.entries(MODES)) {
  // Each number of callers has its own connection, so that all wait for the expiry at the same time.
  suite(mode, { concurrency: true }, () => {
    let installation, oauthServer, ada, workers;
    before(async () => {
      installation = await startInstallation({ firstTokenTtl: FIRST_TTL, configs: configs.map(writeConfigFile) });
      workers = configs.map(({ name }) => installation.server.getWorker(name));
      oauthServer = adaptOidcProvider(installation);
      ada = await Person.createSignedIn(installation);
    });
    after(() => installation.close());

    for (const callers of [1, 2, 8, 64]) {
      test(`concurrent callers cause one refresh at each expiry: ${callers}`, async () => {
        const account = `crowd-of-${callers}`;
        const id = await ada.connect("acme", { login: account });
        await expectOneRefreshPerExpiry(installation, oauthServer, { id, account }, { callers, workers });
      });
    }
  });
}
