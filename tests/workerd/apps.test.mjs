// Owns the lifecycle of a connection to each simulated app, with the catalogue's own file, the pages, the API and an
// app that behaves as its documentation says: from the test of the client to the disconnect and what it ends at the
// app. How each app differs is in the two tables. The steps are the same for all.

import assert from "node:assert/strict";
import { after, before, suite, test } from "node:test";
import { createKeyPair } from "../support/apps/signed-assertions.mjs";
import { recordRequests, callAppApi, listLiveTokens, startLifecycleFixture, defineSecretLeakSuite, countTokenRequests } from "../support/lifecycles.mjs";
import { pathOf, readText } from "../support/person.mjs";

let fixture;
before(async () => {
  fixture = await startLifecycleFixture();
  const { slack } = fixture.apps;
  for (const name of ["eve", "grace"]) slack.accounts.set(name, { team: { id: `T0${name.toUpperCase()}`, name: `${name}'s team` } });
});
after(() => fixture.close());

const google = (name) => `https://www.googleapis.com/auth/${name}`;
const HOUR = 3600;
const slackBot = (client) => (sim, name) => {
  const { team } = sim.account(name);
  return { id: `${team.id}:${sim.botOf({ where: `${client} ${team.id}` })}`, label: `${team.name} / connections` };
};

/**
 * Connections by consent.
 *
 * - `client`: the client as entered. `wrong`: a secret that the app refuses. `registered`: further fields at the app.
 * - `tick`: what the person requests in addition. `unticked`: what they withhold at the app. `added`: what a workflow
 *   asks for later. `more`: how the app is told that earlier scopes stay granted.
 * - `api`: a call of the app's API. `life`: lifetime of an access token, in seconds; without it, a refresh is forced.
 * - `dies`: the reconnect reason after the person revoked the access. `lingers`: the access token works after that.
 * - `revoked`: the result of a disconnect. `asked`: the requests to the app. `left`: the tokens that stay valid.
 */
const CONSENTED = {
  Slack: {
    file: "slack",
    app: "slack",
    client: { client_id: "slack-client", client_secret: "slack-secret-0123456789" },
    account: slackBot("slack-client"),
    unticked: "channels:read",
    added: "users:read",
    api: { method: "POST", path: "auth.test" },
    refreshes: false,
    dies: "credential_rejected",
    asked: ["POST slack.com/api/auth.revoke"],
  },
  "Slack with token rotation": {
    file: "slack",
    app: "slack",
    client: { client_id: "slack-rotating", client_secret: "slack-rotating-secret-0123456789" },
    registered: { rotation: true },
    account: slackBot("slack-rotating"),
    unticked: "channels:read",
    added: "users:read",
    api: { method: "POST", path: "auth.test" },
    life: 12 * HOUR,
    asked: ["POST slack.com/api/auth.revoke"],
    left: ["access", "refresh"],
  },
  Gmail: {
    file: "gmail",
    app: "google",
    client: { client_id: "gmail-client", client_secret: "gmail-secret-0123456789" },
    registered: { project: "gmail" },
    account: (sim, name) => ({ id: sim.account(name).sub, label: `${name}@example.test` }),
    tick: [google("gmail.readonly")],
    unticked: google("gmail.readonly"),
    added: google("gmail.labels"),
    more: { include_granted_scopes: "true" },
    api: { path: "gmail/v1/users/me/profile" },
    life: HOUR,
    hint: true,
    asked: ["POST oauth2.googleapis.com/revoke", "POST oauth2.googleapis.com/revoke"],
  },
  "Google Sheets": {
    file: "google-sheets",
    app: "google",
    client: { client_id: "sheets-client", client_secret: "sheets-secret-0123456789" },
    registered: { project: "sheets" },
    account: (sim, name) => ({ id: sim.account(name).sub, label: `${name}@example.test` }),
    tick: [google("drive.file")],
    unticked: google("spreadsheets"),
    added: google("drive.readonly"),
    more: { include_granted_scopes: "true" },
    api: { path: "spreadsheets/budget" },
    life: HOUR,
    hint: true,
    asked: ["POST oauth2.googleapis.com/revoke", "POST oauth2.googleapis.com/revoke"],
  },
  Notion: {
    file: "notion",
    app: "notion",
    client: { client_id: "notion-client", client_secret: "notion-secret-0123456789" },
    account: (sim, name) => ({ id: sim.botOf({ key: `notion-client ${name}` }), label: "Acme Corp" }),
    api: { method: "POST", path: "search", text: "{}" },
    asked: ["POST api.notion.com/v1/oauth/revoke", "POST api.notion.com/v1/oauth/revoke"],
  },
  "Stripe Connect": {
    file: "stripe",
    way: "connect",
    app: "stripe",
    client: { client_id: "ca_connect", client_secret: "sk_test_platformplatform" },
    wrong: "sk_test_nobodynobody",
    account: (sim, name) => ({ id: `${sim.account(name).id}:test`, label: `${name} (test mode)` }),
    api: { path: "account" },
    asked: ["POST connect.stripe.com/oauth/deauthorize"],
  },
  "Stripe Apps": {
    file: "stripe",
    way: "apps",
    app: "stripe",
    client: { client_id: "ca_apps", client_secret: "sk_test_developerdeveloper" },
    wrong: "sk_test_nobodynobody",
    account: (sim, name) => ({ id: `${sim.account(name).id}:test`, label: `${name} (test mode)` }),
    api: { path: "account" },
    life: HOUR,
    revoked: "unsupported",
    asked: [],
    left: ["access", "refresh"],
  },
  Outlook: {
    file: "outlook",
    app: "microsoft",
    client: { client_id: "outlook-client", client_secret: "outlook-secret-0123456789", variables: { tenant: "organizations" } },
    account: (sim, name) => ({ id: sim.account(name).oid, label: `${name}@acme.example` }),
    unticked: "Mail.Send",
    added: "Mail.Read",
    api: { path: "me" },
    life: 4500,
    hint: true,
    lingers: true,
    revoked: "unsupported",
    asked: [],
    left: ["access", "refresh"],
  },
  Dropbox: {
    file: "dropbox",
    app: "dropbox",
    client: { client_id: "dropbox-client", client_secret: "dropbox-secret-0123456789" },
    account: (sim, name) => ({ id: sim.account(name).account_id, label: `${name}@example.test` }),
    unticked: "files.content.read",
    added: "files.content.write",
    more: { include_granted_scopes: "user" },
    api: { method: "POST", path: "users/get_current_account", text: "null" },
    life: 4 * HOUR,
    asked: ["POST api.dropboxapi.com/2/auth/token/revoke"],
  },
};

for (const [name, life] of Object.entries(CONSENTED)) {
  suite(`${name}, by consent`, () => {
    let sim, app, id, client;
    const { refreshes = true, unticked, added, way, dies = "revoked", revoked = "confirmed", left = [] } = life;
    const query = way ? `?auth_method=${way}` : "";
    const start = () => `/oauth/start/${app}${query}`;
    const reconnect = () => `/connections/${id}/reconnect`;
    const note = async () => {
      const { auth_methods: auth } = await fixture.requestOk("GET", `/v1/apps/${app}`);
      return auth.find((one) => one.id === (way ?? "oauth2")).limits?.one_per_account;
    };
    const works = async (body) => {
      const answer = await fixture.resolve(id, body);
      const told = await callAppApi(answer.request, life.api);
      assert.ok(told.works, `${told.status} ${JSON.stringify(told.body)}`);
      return answer;
    };

    before(async () => {
      sim = fixture.apps[life.app];
      app = await fixture.registerApp(life.file);
    });

    test("the client is tested before anybody connects: a wrong secret is refused, the right one accepted", async () => {
      const path = `/v1/apps/${app}/client`;
      const { client_id, client_secret } = life.client;
      const entered = await fixture.requestOk("PUT", path + query, { ...life.client, client_secret: life.wrong ?? "not-the-secret" });
      sim.register(client_id, { secret: client_secret, redirect_uris: [entered.redirect_uri], ...life.registered });
      const trial = async () => (await fixture.requestOk("POST", `${path}/test${query}`)).verdict;
      assert.equal(await trial(), "refused");
      client = await fixture.requestOk("PUT", path + query, life.client);
      assert.deepEqual([client.id, client.redirect_uri], [entered.id, entered.redirect_uri]);
      assert.equal(await trial(), "accepted");
    });

    test("a person connects it, and sees the account and the permissions that were not granted", async () => {
      id = await fixture.connect(sim, start(), { untick: unticked ? [unticked] : [], boxes: { tick: life.tick } });
      const { status, account, scopes, credential } = await fixture.getConnection(id);
      const missing = unticked ? [unticked] : [];
      assert.equal(sim.visits.at(-1).include_granted_scopes, undefined);
      assert.deepEqual(
        { status, account, missing: scopes.missing, type: credential.type, refreshable: credential.refreshable },
        { status: "connected", account: life.account(sim, "ada"), missing, type: "oauth2", refreshable: refreshes },
      );
      const page = await fixture.person.get(`/connections/${id}`);
      assert.ok(page.text.includes(`Connected as ${account.label}`), page.text);
      assert.equal(page.text.includes("Missing permissions"), missing.length > 0);
      if (!unticked) return;
      const again = /href="([^"]*)"[^>]*>Ask for the missing permissions/.exec(page.html)?.[1];
      assert.equal(await fixture.connect(sim, readText(again)), id);
      assert.deepEqual((await fixture.getConnection(id)).scopes.missing, []);
    });

    test("a workflow calls the app's API with the answer of a resolve, which contains no other secret", async () => {
      const answer = await works({ workflow: "nightly", step: "fetch" });
      const copy = await fixture.resolveFromCache(id);
      assert.deepEqual([copy.credential, copy.request], [answer.credential, answer.request]);
      assert.equal(answer.credential.type, "oauth2");
      assert.ok(sim.secrets("access").includes(answer.credential.access_token));
      const text = JSON.stringify(answer);
      for (const kind of ["refresh", "client", "code"]) assert.ok(!sim.secrets(kind).some((one) => text.includes(one)), `a ${kind} secret`);
    });

    const ends = async () => {
      const old = await works();
      if (life.life) await fixture.advanceTime(sim, id, life.life + 1);
      else await (sim.expireAccess(), fixture.advanceTime(sim, id, 60));
      assert.equal((await callAppApi(old.request, life.api)).works, false, "the old access has ended");
      const ask = life.life ? {} : { force_refresh: true };
      const count = await countTokenRequests(sim, "refresh_token", () => Promise.all([works(ask), works(ask), works(ask)]));
      assert.equal(count, 1);
    };
    if (refreshes) test("concurrent callers refresh expired access once", ends);

    const addsScope = async () => {
      const refused = await fixture.resolveRefused(id, { scopes: [added] });
      assert.deepEqual([refused.status, refused.code, refused.missing_scopes], [409, "missing_scopes", [added]]);
      const path = pathOf(refused.reconnect_url);
      assert.equal(await fixture.connect(sim, path), id);
      assert.deepEqual(Object.entries(sim.visits.at(-1)).filter(([name]) => name === "include_granted_scopes"), Object.entries(life.more ?? {}));
      if (life.hint) assert.equal(sim.visits.at(-1).login_hint, life.account(sim, "ada").label);
      await works({ scopes: [added] });
      assert.deepEqual((await fixture.getConnection(id)).scopes.missing, []);
    };
    if (added) test("a missing scope leads to a reconnect that adds it", addsScope);

    test("a check finds that the access was revoked at the app, and a reconnect repairs the same connection", async () => {
      sim.revoke("ada");
      await fixture.advanceTime(sim, id, life.lingers ? life.life + 1 : 60);
      const { health, connection } = await fixture.requestOk("POST", `/v1/connections/${id}/check`);
      assert.deepEqual([health, connection.status, connection.reason], ["dead", "needs_reconnect", dies]);
      const refused = await fixture.resolveRefused(id);
      assert.deepEqual([refused.status, refused.code, refused.reason], [409, "needs_reconnect", dies]);
      const { generation } = connection;
      assert.equal(await fixture.connect(sim, pathOf(refused.reconnect_url)), id);
      const now = await fixture.getConnection(id);
      assert.deepEqual([now.status, now.reason, now.generation], ["connected", null, generation + 1]);
      await works(added && { scopes: [added] });
    });

    test("another account leads to a question: keep changes nothing, switch uses the other account", async () => {
      const asked = life.file === "notion" ? /another account.*Both have the same name there/ : /another account/;
      const flow = await fixture.completeConsent(sim, reconnect(), { account: "eve" });
      await fixture.answerQuestion(flow, "keep", asked);
      const { account, generation } = await fixture.getConnection(id);
      assert.equal(account.id, life.account(sim, "ada").id);
      await works();
      if (revoked === "confirmed") assert.deepEqual(listLiveTokens(sim, "eve").filter((kind) => !left.includes(kind)), [], "the grant that nobody chose");

      const switched = await fixture.completeConsent(sim, reconnect(), { account: "eve" });
      assert.match(await fixture.answerQuestion(switched, "switch", asked), new RegExp(`^/connections/${id}`));
      const now = await fixture.getConnection(id);
      assert.deepEqual([now.account, now.generation], [life.account(sim, "eve"), generation + 1]);
      assert.ok(sim.findToken("access", (await works()).credential.access_token).grant.account === "eve");
      if (revoked === "confirmed" && left.length === 0) assert.deepEqual(listLiveTokens(sim, "ada"), [], "the grant that was given up");
    });

    test("a second connection to an account leads to a question, with the app's note", async () => {
      const flow = await fixture.completeConsent(sim, start(), { account: "eve", boxes: { tick: life.tick } });
      const told = await note();
      if (told) assert.ok((await fixture.person.get(flow)).text.includes(told), told);
      assert.match(await fixture.answerQuestion(flow, "reuse", /already connected/), new RegExp(`^/connections/${id}`));
      await works();
      const another = await fixture.completeConsent(sim, start(), { account: "eve", boxes: { tick: life.tick } });
      const second = /con_[\w-]+/.exec(await fixture.answerQuestion(another, "both", /already connected/))[0];
      assert.notEqual(second, id);
      const first = await fixture.requestOk("DELETE", `/v1/connections/${second}`);
      assert.deepEqual(first, { revoked: revoked === "confirmed" ? "kept_shared" : revoked, retrying: false, undo_until: null });
      if (life.way !== "connect") await works();
    });

    test("a disconnect revokes the grant at the app, and the connection cannot be resolved", async () => {
      const last = await fixture.resolve(id);
      const { result, asked } = await recordRequests(sim, () => fixture.requestOk("DELETE", `/v1/connections/${id}`));
      assert.deepEqual([result, asked], [{ revoked, retrying: false, undo_until: null }, life.asked]);
      if (revoked === "confirmed") assert.equal((await callAppApi(last.request, life.api)).works, false);
      assert.deepEqual(listLiveTokens(sim, "eve").filter((kind) => !left.includes(kind)), [], "what lives on at the app");
      assert.equal((await fixture.resolveRefused(id)).code, "connection_not_found");
      assert.deepEqual(await fixture.listConnections(app), []);
    });
  });
}

/** A well-formed key file of an account that Google does not know. */
const strangersKeyFile = () => {
  const client_email = "ghost@project.iam.gserviceaccount.com";
  return JSON.stringify({ type: "service_account", client_email, private_key: createKeyPair().privateKey, private_key_id: "ghost" });
};

/**
 * Connections by a manual credential.
 *
 * - `field`: the field. `createCredential`: the app creates one. `unknown`: a well-formed one that the app does not
 *   know.
 * - `malformed`: one that is refused without asking the app, and the reason.
 */
const ENTERED = {
  "a Stripe restricted key": {
    file: "stripe",
    way: "api_key",
    app: "stripe",
    type: "api_key",
    field: "api_key",
    createCredential: (sim, name) => sim.createKey(name),
    unknown: () => `rk_test_${"x".repeat(24)}`,
    malformed: [`sk_live_${"x".repeat(24)}`, /A live secret key may do everything/],
    account: (sim, name) => ({ id: `${sim.account(name).id}:test`, label: `${name} (test mode)` }),
    request: (sim, key) => ({ base_url: "api.stripe.com/v1/", headers: { Authorization: `Bearer ${key}` } }),
    api: { path: "balance" },
  },
  "a Telegram bot token": {
    file: "telegram",
    way: "bot_token",
    app: "telegram",
    type: "bot_token",
    field: "token",
    createCredential: (sim, name) => sim.createBot(name),
    unknown: () => `123456789:AA${"x".repeat(33)}`,
    malformed: [`bot123456789:AA${"x".repeat(33)}`, /Leave out the word bot/],
    account: (sim, name) => ({ id: String(sim.account(name).id), label: `@${name}_bot` }),
    request: (sim, key) => ({ base_url: `api.telegram.org/bot${key}/`, headers: {} }),
    api: { path: "getMe" },
  },
  "a Notion internal token": {
    file: "notion",
    way: "api_key",
    app: "notion",
    type: "api_key",
    field: "api_key",
    createCredential: (sim, name) => sim.createInternalToken(name),
    unknown: () => `ntn_${"x".repeat(46)}`,
    malformed: ["not a token", /begins with ntn_/],
    account: (sim, name) => ({ id: sim.botOf({ key: `internal ${name}` }), label: "Acme Corp / Connections" }),
    request: (sim, key) => ({ base_url: "api.notion.com/v1/", headers: { Authorization: `Bearer ${key}`, "Notion-Version": "2025-09-03" } }),
    api: { path: "users/me" },
  },
  "a Slack bot token": {
    file: "slack",
    way: "bot_token",
    app: "slack",
    type: "bot_token",
    field: "token",
    createCredential: (sim, name) => sim.createToken(name),
    unknown: () => `xoxb-${"x".repeat(48)}`,
    malformed: [`xoxp-${"x".repeat(48)}`, /This is a user token/],
    account: slackBot("internal"),
    request: (sim, key) => ({ base_url: "slack.com/api/", headers: { Authorization: `Bearer ${key}` } }),
    api: { method: "POST", path: "chat.postMessage" },
  },
  "a Slack user token": {
    file: "slack",
    way: "user_token",
    app: "slack",
    type: "api_key",
    field: "token",
    createCredential: (sim, name) => sim.createToken(name, { type: "user", scopes: ["search:read"] }),
    unknown: () => `xoxp-${"x".repeat(48)}`,
    malformed: [`xoxe.xoxp-1-${"x".repeat(48)}`, /ends after 12 hours/],
    account: (sim, name) => ({ id: `${sim.account(name).team.id}:${sim.account(name).user}`, label: `${sim.account(name).team.name} / ${name}` }),
    request: (sim, key) => ({ base_url: "slack.com/api/", headers: { Authorization: `Bearer ${key}` } }),
    api: { method: "POST", path: "search.messages" },
  },
  "a Google service account": {
    file: "google-sheets",
    way: "service_account",
    app: "google",
    type: "service_account",
    field: "key",
    createCredential: (sim, name) => sim.createServiceAccount(name),
    unknown: strangersKeyFile,
    malformed: ["{}", /./],
    account: (sim, name) => {
      const email = `${name}@project.iam.gserviceaccount.com`;
      return { id: sim.newAccount(email).sub, label: email };
    },
    api: { path: "spreadsheets/budget" },
    revoke: (sim, name) => {
      const email = `${name}@project.iam.gserviceaccount.com`;
      sim.serviceAccounts.delete(email);
      sim.revoke(email);
    },
    life: HOUR,
  },
};

for (const [name, life] of Object.entries(ENTERED)) {
  suite(name, () => {
    let sim, app, id, key;
    const { way, type, field } = life;
    const credential = (value) => ({ type, [field]: value });
    const create = (value, more) => fixture.requestApi("POST", "/v1/connections", { app, auth_method: way, credential: credential(value), ...more });
    const replace = (value, more) => fixture.requestApi("PUT", `/v1/connections/${id}/credential`, { auth_method: way, credential: credential(value), ...more });
    const works = async (of = id) => {
      const answer = await fixture.resolve(of);
      const told = await callAppApi(answer.request, life.api);
      assert.ok(told.works, `${told.status} ${JSON.stringify(told.body)}`);
      return answer;
    };

    before(async () => {
      sim = fixture.apps[life.app];
      app = await fixture.registerApp(life.file);
    });

    test("a refused or malformed credential is not stored", async () => {
      const refused = await create(life.unknown());
      assert.deepEqual([refused.status, refused.body.code], [422, "credential_rejected"], JSON.stringify(refused.body));
      const [text, why] = life.malformed;
      const before = sim.requests.length;
      const malformed = await create(text);
      assert.deepEqual([malformed.status, malformed.body.code], [422, "invalid_request"]);
      assert.match(malformed.body.errors[0].field, new RegExp(`${field}$`));
      assert.match(malformed.body.errors[0].problem, why);
      assert.equal(sim.requests.length, before, "the app is not asked about what can't be a credential");
      assert.deepEqual(await fixture.listConnections(app), []);
    });

    test("a program sends a credential, and the app names its account", async () => {
      key = life.createCredential(sim, "ada");
      const { status, body } = await create(key, { metadata: { tier: "gold" } });
      assert.equal(status, 201, JSON.stringify(body));
      id = body.id;
      assert.deepEqual(
        { way: body.auth_method, status: body.status, account: body.account, type: body.credential.type, metadata: body.metadata },
        { way, status: "connected", account: life.account(sim, "ada"), type, metadata: { tier: "gold" } },
      );
      assert.ok(!JSON.stringify(body).includes(key));
    });

    test("a resolve returns the fields and a request that works", async () => {
      const answer = await works();
      const copy = await fixture.resolveFromCache(id);
      assert.deepEqual([copy.credential, copy.request], [answer.credential, answer.request]);
      if (life.request) {
        const { base_url, headers } = life.request(sim, key);
        assert.deepEqual(answer.credential, { type, [field]: key });
        assert.deepEqual(answer.request, { base_url: `${fixture.apps.origin}/${base_url}`, headers, query: {} });
      } else {
        assert.deepEqual(Object.keys(answer.credential).sort(), ["access_token", "expires_at", "scopes", "token_type", "type"]);
        assert.doesNotMatch(JSON.stringify(answer), /PRIVATE KEY|private_key/);
      }
      assert.equal((await fixture.requestOk("POST", `/v1/connections/${id}/check`)).health, "healthy");
    });

    const ends = async () => {
      const old = await works();
      await fixture.advanceTime(sim, id, life.life + 1);
      assert.equal((await callAppApi(old.request, life.api)).works, false);
      assert.equal(await countTokenRequests(sim, "urn:ietf:params:oauth:grant-type:jwt-bearer", () => Promise.all([works(), works(), works()])), 1);
    };
    if (life.life) test("concurrent callers request one new token when the old one has expired", ends);

    test("a person enters a credential in the form, and a refused one is reported and not shown again", async () => {
      const path = `/oauth/start/${app}?auth_method=${way}`;
      const unknown = life.unknown();
      const refused = await fixture.submitCredential(path, { [field]: unknown });
      assert.equal(refused.status, 422);
      assert.match(refused.text, /did not accept this/);
      assert.ok(!refused.html.includes(unknown) && !refused.html.includes("PRIVATE KEY"));
      const malformed = await fixture.submitCredential(path, { [field]: life.malformed[0] });
      assert.equal(malformed.status, 422);
      assert.match(malformed.text, life.malformed[1]);

      const { status, location } = await fixture.submitCredential(path, { [field]: life.createCredential(sim, "grace") });
      assert.equal(status, 303);
      const second = /^\/connections\/(con_[\w-]+)/.exec(location)[1];
      const page = await fixture.person.get(location);
      assert.ok(page.text.includes(`Connected as ${life.account(sim, "grace").label}`), page.text);
      await works(second);
      const again = await fixture.submitCredential(path, { [field]: life.createCredential(sim, "grace") });
      assert.match(await fixture.answerQuestion(again.location, "reuse", /already connected/), new RegExp(`^/connections/${second}`));
      await works(second);
      assert.deepEqual(await fixture.requestOk("DELETE", `/v1/connections/${second}`), { revoked: "unsupported", retrying: false, undo_until: null });
    });

    test("a new key of the same account replaces the old one, and one of another account only on request", async () => {
      key = life.createCredential(sim, "ada");
      const same = await replace(key);
      assert.deepEqual([same.status, same.body.id, same.body.generation], [200, id, 2], JSON.stringify(same.body));
      await works();
      const other = life.createCredential(sim, "eve");
      const refused = await replace(other);
      assert.deepEqual([refused.status, refused.body.code], [409, "conflict"]);
      assert.equal((await fixture.getConnection(id)).account.id, life.account(sim, "ada").id);
      await works();
      const { location } = await fixture.submitCredential(`/connections/${id}/reconnect`, { [field]: other });
      await fixture.answerQuestion(location, "keep", /What you entered is of another account/);
      const { account, generation } = await fixture.getConnection(id);
      assert.deepEqual([account.id, generation], [life.account(sim, "ada").id, 2]);
      await works();
      const switched = await replace(other, { switch_account: true });
      assert.deepEqual([switched.status, switched.body.account, switched.body.generation], [200, life.account(sim, "eve"), 3]);
      await works();
    });

    test("a check finds a credential that was revoked at the app, and another one repairs the same connection", async () => {
      (life.revoke ?? ((app, who) => app.revoke(who)))(sim, "eve");
      await fixture.advanceTime(sim, id, 60);
      const { health, connection } = await fixture.requestOk("POST", `/v1/connections/${id}/check`);
      assert.deepEqual([health, connection.status, connection.reason], ["dead", "needs_reconnect", "credential_rejected"]);
      const refused = await fixture.resolveRefused(id);
      assert.deepEqual([refused.status, refused.code, refused.reason], [409, "needs_reconnect", "credential_rejected"]);
      const { location, text } = await fixture.submitCredential(pathOf(refused.reconnect_url), { [field]: life.createCredential(sim, "eve") });
      assert.match(location ?? text, new RegExp(`^/connections/${id}`));
      const now = await fixture.getConnection(id);
      assert.deepEqual([now.status, now.reason, now.generation], ["connected", null, 4]);
      await works();
    });

    test("a disconnect erases the credential, because the app cannot revoke it", async () => {
      const { result, asked } = await recordRequests(sim, () => fixture.requestOk("DELETE", `/v1/connections/${id}`));
      // It was the only shared connection of its app, so it was the default.
      const { ended_defaults: ended, ...disconnected } = result;
      assert.deepEqual(ended.defaults, [{ app, user: null, environment: ended.defaults[0].environment }]);
      assert.deepEqual([disconnected, asked], [{ revoked: "unsupported", retrying: false, undo_until: null }, []]);
      assert.equal((await fixture.resolveRefused(id)).code, "connection_not_found");
      assert.deepEqual(await fixture.listConnections(app), []);
    });
  });
}

defineSecretLeakSuite(() => fixture, 200);
