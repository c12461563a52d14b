// Owns the whole life of a connection to each app of the first set, against an app that behaves as its documentation says: the
// catalogue's own file, the page, the API and the app, from a client that is tried before anybody connects to the
// disconnect and what it ended at the app. How each app differs stands in the two tables; the life is the same for all.

import assert from "node:assert/strict";
import { generateKeyPairSync } from "node:crypto";
import { after, before, suite, test } from "node:test";
import { atRest } from "../support/installation.mjs";
import { askedDuring, call, living, openStage, pathOf, tokensDuring } from "../support/lives.mjs";
import { asker, BACK } from "../support/apps/asking.mjs";
import { newKeyPair } from "../support/apps/jwt.mjs";
import { Person, textOf } from "../support/person.mjs";

let stage;
before(async () => {
  stage = await openStage();
  const { slack } = stage.apps;
  for (const name of ["eve", "grace"]) slack.accounts.set(name, { team: { id: `T0${name.toUpperCase()}`, name: `${name}'s team` } });
});
after(() => stage.close());

const google = (name) => `https://www.googleapis.com/auth/${name}`;
const HOUR = 3600;
const slackBot = (client) => (sim, name) => {
  const { team } = sim.account(name);
  return { id: `${team.id}:${sim.botOf({ where: `${client} ${team.id}` })}`, label: `${team.name} / connections` };
};

/**
 * Connections by consent.
 *
 * - `client`: as it is entered; `wrong`: a secret that the app does not take; `registered`: what the app knows besides.
 * - `tick`: what the person asks for beside the usual; `unticked`: what they then withhold at the app; `added`: what a workflow asks for later;
 *   `more`: how the app is told that this is beside what it granted before.
 * - `api`: a call of the app's API. `life`: of an access token, in seconds; without it, a refresh is asked for.
 * - `dies`: why a connection is said to be dead when the person took the access back; `lingers`: an access token works on after that.
 * - `revoked`: what a disconnect tells, `asked`: what the app was asked for it, and `left`: which tokens live on all the same.
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
    account: (sim, name) => ({ id: sim.account(name).id, label: sim.account(name).id }),
    api: { path: "account" },
    asked: ["POST connect.stripe.com/oauth/deauthorize"],
  },
  "Stripe Apps": {
    file: "stripe",
    way: "apps",
    app: "stripe",
    client: { client_id: "ca_apps", client_secret: "sk_test_developerdeveloper" },
    wrong: "sk_test_nobodynobody",
    account: (sim, name) => ({ id: sim.account(name).id, label: sim.account(name).id }),
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
    const query = way ? `?way=${way}` : "";
    const start = () => `/oauth/start/${app}${query}`;
    const reconnect = () => `/connections/${id}/reconnect`;
    const note = () => stage.ask("GET", `/v1/apps/${app}`).then(({ auth }) => auth.find((one) => one.id === (way ?? "oauth2")).limits?.one_per_account);
    const works = async (body) => {
      const answer = await stage.resolved(id, body);
      const told = await call(answer.request, life.api);
      assert.ok(told.works, `${told.status} ${JSON.stringify(told.body)}`);
      return answer;
    };

    before(async () => {
      sim = stage.apps[life.app];
      app = await stage.register(life.file);
    });

    test("its client is tried before anybody connects: a wrong secret is refused, the right one accepted", async () => {
      const path = `/v1/apps/${app}/client`;
      const { client_id, client_secret } = life.client;
      const entered = await stage.ask("PUT", path + query, { ...life.client, client_secret: life.wrong ?? "not-the-secret" });
      sim.register(client_id, { secret: client_secret, redirect_uris: [entered.redirect_uri], ...life.registered });
      const trial = async () => (await stage.ask("POST", `${path}/test${query}`)).verdict;
      assert.equal(await trial(), "refused");
      client = await stage.ask("PUT", path + query, life.client);
      assert.deepEqual([client.id, client.redirect_uri], [entered.id, entered.redirect_uri]);
      assert.equal(await trial(), "accepted");
    });

    test("a person connects it, sees whose account it is, and at once what they did not allow", async () => {
      id = await stage.connect(sim, start(), { untick: unticked ? [unticked] : [], boxes: { tick: life.tick } });
      const { status, account, scopes, credential } = await stage.connection(id);
      const missing = unticked ? [unticked] : [];
      assert.equal(sim.visits.at(-1).include_granted_scopes, undefined);
      assert.deepEqual(
        { status, account, missing: scopes.missing, type: credential.type, refreshable: credential.refreshable },
        { status: "connected", account: life.account(sim, "ada"), missing, type: "oauth2", refreshable: refreshes },
      );
      const page = await stage.person.get(`/connections/${id}?connected=1`);
      assert.ok(page.text.includes(`Connected as ${account.label}.`), page.text);
      assert.equal(page.text.includes("Permissions that were not granted"), missing.length > 0);
      if (!unticked) return;
      const again = /href="([^"]*)"[^>]*>Ask for them again/.exec(page.html)?.[1];
      assert.equal(await stage.connect(sim, textOf(again)), id);
      assert.deepEqual((await stage.connection(id)).scopes.missing, []);
    });

    test("a workflow calls the app's API with what a resolve says, and learns nothing else", async () => {
      const answer = await works({ workflow: "nightly", step: "fetch" });
      const copy = await stage.copied(id);
      assert.deepEqual([copy.credential, copy.request], [answer.credential, answer.request]);
      assert.equal(answer.credential.type, "oauth2");
      assert.ok(sim.secrets("access").includes(answer.credential.access_token));
      const text = JSON.stringify(answer);
      for (const kind of ["refresh", "client", "code"]) assert.ok(!sim.secrets(kind).some((one) => text.includes(one)), `a ${kind} secret`);
    });

    const ends = async () => {
      const old = await works();
      if (life.life) await stage.pass(sim, id, life.life + 1);
      else await (sim.expireAccess(), stage.pass(sim, id, 60));
      assert.equal((await call(old.request, life.api)).works, false, "the old access has ended");
      const ask = life.life ? {} : { force_refresh: true };
      const count = await tokensDuring(sim, "refresh_token", () => Promise.all([works(ask), works(ask), works(ask)]));
      assert.equal(count, 1);
    };
    if (refreshes) test("when the access has ended, callers cost one refresh", ends);

    const addsScope = async () => {
      const refused = await stage.refused(id, { scopes: [added] });
      assert.deepEqual([refused.status, refused.code, refused.missing_scopes], [409, "missing_scopes", [added]]);
      const path = pathOf(refused.reconnect_url);
      assert.equal(await stage.connect(sim, path), id);
      assert.deepEqual(Object.entries(sim.visits.at(-1)).filter(([name]) => name === "include_granted_scopes"), Object.entries(life.more ?? {}));
      if (life.hint) assert.equal(sim.visits.at(-1).login_hint, life.account(sim, "ada").label);
      await works({ scopes: [added] });
      assert.deepEqual((await stage.connection(id)).scopes.missing, []);
    };
    if (added) test("a scope that is missing leads to a reconnect that adds it", addsScope);

    test("when the person takes the access back at the app, a check finds out, and a reconnect repairs the same connection", async () => {
      sim.revoke("ada");
      await stage.pass(sim, id, life.lingers ? life.life + 1 : 60);
      const { health, connection } = await stage.ask("POST", `/v1/connections/${id}/check`);
      assert.deepEqual([health, connection.status, connection.reason], ["dead", "needs_reconnect", dies]);
      const refused = await stage.refused(id);
      assert.deepEqual([refused.status, refused.code, refused.reason], [409, "needs_reconnect", dies]);
      const { generation } = connection;
      assert.equal(await stage.connect(sim, pathOf(refused.reconnect_url)), id);
      const now = await stage.connection(id);
      assert.deepEqual([now.status, now.reason, now.generation], ["connected", null, generation + 1]);
      await works(added && { scopes: [added] });
    });

    test("another account at the app is a question: keep leaves everything as it was, switch takes the other", async () => {
      const asked = life.file === "notion" ? /another account.*Both have the same name there/ : /another account/;
      const flow = await stage.goThrough(sim, reconnect(), { account: "eve" });
      await stage.choose(flow, "keep", asked);
      const { account, generation } = await stage.connection(id);
      assert.equal(account.id, life.account(sim, "ada").id);
      await works();
      if (revoked === "confirmed") assert.deepEqual(living(sim, "eve").filter((kind) => !left.includes(kind)), [], "the grant that nobody chose");

      const switched = await stage.goThrough(sim, reconnect(), { account: "eve" });
      assert.match(await stage.choose(switched, "switch", asked), new RegExp(`^/connections/${id}`));
      const now = await stage.connection(id);
      assert.deepEqual([now.account, now.generation], [life.account(sim, "eve"), generation + 1]);
      assert.ok(sim.look("access", (await works()).credential.access_token).grant.account === "eve");
      if (revoked === "confirmed" && left.length === 0) assert.deepEqual(living(sim, "ada"), [], "the grant that was given up");
    });

    test("a second connection to an account is a question, with the app's note", async () => {
      const flow = await stage.goThrough(sim, start(), { account: "eve", boxes: { tick: life.tick } });
      const told = await note();
      if (told) assert.ok((await stage.person.get(flow)).text.includes(told), told);
      assert.match(await stage.choose(flow, "reuse", /already connected/), new RegExp(`^/connections/${id}`));
      await works();
      const another = await stage.goThrough(sim, start(), { account: "eve", boxes: { tick: life.tick } });
      const second = /con_[\w-]+/.exec(await stage.choose(another, "both", /already connected/))[0];
      assert.notEqual(second, id);
      const first = await stage.ask("DELETE", `/v1/connections/${second}`);
      assert.deepEqual(first, { revoked: revoked === "confirmed" ? "kept_shared" : revoked, retrying: false });
      if (life.way !== "connect") await works();
    });

    test("a disconnect asks the app to end it, and leaves nothing to resolve", async () => {
      const last = await stage.resolved(id);
      const { result, asked } = await askedDuring(sim, () => stage.ask("DELETE", `/v1/connections/${id}`));
      assert.deepEqual([result, asked], [{ revoked, retrying: false }, life.asked]);
      if (revoked === "confirmed") assert.equal((await call(last.request, life.api)).works, false);
      assert.deepEqual(living(sim, "eve").filter((kind) => !left.includes(kind)), [], "what lives on at the app");
      assert.equal((await stage.refused(id)).code, "connection_not_found");
      assert.deepEqual(await stage.connectionsOf(app), []);
    });
  });
}

/** A well-shaped key file of an account that Google does not know. */
const strangersKeyFile = () => {
  const { privateKey } = generateKeyPairSync("rsa", { modulusLength: 2048, publicKeyEncoding: { type: "spki", format: "pem" }, privateKeyEncoding: { type: "pkcs8", format: "pem" } });
  return JSON.stringify({ type: "service_account", client_email: "ghost@project.iam.gserviceaccount.com", private_key: privateKey, private_key_id: "ghost" });
};

/**
 * Connections by what a person enters.
 *
 * - `field`: what is entered, `newKey`: the app makes one, `unknown`: one that looks right and that the app does not know.
 * - `malformed`: what is refused unasked, and why. `carried`: what of the key a request shows.
 */
const ENTERED = {
  "a Stripe restricted key": {
    file: "stripe",
    way: "api_key",
    app: "stripe",
    type: "api_key",
    field: "api_key",
    newKey: (sim, name) => sim.newKey(name),
    unknown: () => `rk_test_${"x".repeat(24)}`,
    malformed: [`sk_live_${"x".repeat(24)}`, /A live secret key may do everything/],
    account: (sim, name) => ({ id: sim.account(name).id, label: `${name} (test mode)` }),
    request: (sim, key) => ({ base_url: "api.stripe.com/v1/", headers: { Authorization: `Bearer ${key}` } }),
    api: { path: "balance" },
  },
  "a Telegram bot token": {
    file: "telegram",
    way: "bot_token",
    app: "telegram",
    type: "bot_token",
    field: "token",
    newKey: (sim, name) => sim.newBot(name),
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
    newKey: (sim, name) => sim.newInternalToken(name),
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
    newKey: (sim, name) => sim.newToken(name),
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
    newKey: (sim, name) => sim.newToken(name, { type: "user", scopes: ["search:read"] }),
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
    newKey: (sim, name) => sim.newServiceAccount(name),
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
    const create = (value, more) => stage.api("POST", "/v1/connections", { app, way, credential: credential(value), ...more });
    const replace = (value, more) => stage.api("PUT", `/v1/connections/${id}/credential`, { way, credential: credential(value), ...more });
    const works = async (of = id) => {
      const answer = await stage.resolved(of);
      const told = await call(answer.request, life.api);
      assert.ok(told.works, `${told.status} ${JSON.stringify(told.body)}`);
      return answer;
    };

    before(async () => {
      sim = stage.apps[life.app];
      app = await stage.register(life.file);
    });

    test("what the app refuses, or what can't be one, is not stored", async () => {
      const refused = await create(life.unknown());
      assert.deepEqual([refused.status, refused.body.code], [422, "credential_rejected"], JSON.stringify(refused.body));
      const [text, why] = life.malformed;
      const before = sim.requests.length;
      const malformed = await create(text);
      assert.deepEqual([malformed.status, malformed.body.code], [422, "invalid_request"]);
      assert.match(malformed.body.errors[0].field, new RegExp(`${field}$`));
      assert.match(malformed.body.errors[0].problem, why);
      assert.equal(sim.requests.length, before, "the app is not asked about what can't be a credential");
      assert.deepEqual(await stage.connectionsOf(app), []);
    });

    test("a program enters one: the app says whose it is", async () => {
      key = life.newKey(sim, "ada");
      const { status, body } = await create(key, { metadata: { tier: "gold" } });
      assert.equal(status, 201, JSON.stringify(body));
      id = body.id;
      assert.deepEqual(
        { way: body.way, status: body.status, account: body.account, type: body.credential.type, metadata: body.metadata },
        { way, status: "connected", account: life.account(sim, "ada"), type, metadata: { tier: "gold" } },
      );
      assert.ok(!JSON.stringify(body).includes(key));
    });

    test("a resolve shows the fields and how a request is sent, and that works", async () => {
      const answer = await works();
      const copy = await stage.copied(id);
      assert.deepEqual([copy.credential, copy.request], [answer.credential, answer.request]);
      if (life.request) {
        const { base_url, headers } = life.request(sim, key);
        assert.deepEqual(answer.credential, { type, [field]: key });
        assert.deepEqual(answer.request, { base_url: `${stage.apps.origin}/${base_url}`, headers, query: {} });
      } else {
        assert.deepEqual(Object.keys(answer.credential).sort(), ["access_token", "expires_at", "scopes", "token_type", "type"]);
        assert.doesNotMatch(JSON.stringify(answer), /PRIVATE KEY|private_key/);
      }
      assert.equal((await stage.ask("POST", `/v1/connections/${id}/check`)).health, "healthy");
    });

    const ends = async () => {
      const old = await works();
      await stage.pass(sim, id, life.life + 1);
      assert.equal((await call(old.request, life.api)).works, false);
      assert.equal(await tokensDuring(sim, "urn:ietf:params:oauth:grant-type:jwt-bearer", () => Promise.all([works(), works(), works()])), 1);
    };
    if (life.life) test("when the access made of it has ended, callers cost one more", ends);

    test("a person enters one in the form: a refused one is told there and not shown again", async () => {
      const path = `/oauth/start/${app}?way=${way}`;
      const unknown = life.unknown();
      const refused = await stage.enter(path, { [field]: unknown });
      assert.equal(refused.status, 422);
      assert.match(refused.text, /did not accept this/);
      assert.ok(!refused.html.includes(unknown) && !refused.html.includes("PRIVATE KEY"));
      const malformed = await stage.enter(path, { [field]: life.malformed[0] });
      assert.equal(malformed.status, 422);
      assert.match(malformed.text, life.malformed[1]);

      const { status, location } = await stage.enter(path, { [field]: life.newKey(sim, "grace") });
      assert.equal(status, 303);
      const second = /^\/connections\/(con_[\w-]+)/.exec(location)[1];
      const page = await stage.person.get(location);
      assert.ok(page.text.includes(`Connected as ${life.account(sim, "grace").label}.`), page.text);
      await works(second);
      const again = await stage.enter(path, { [field]: life.newKey(sim, "grace") });
      assert.match(await stage.choose(again.location, "reuse", /already connected/), new RegExp(`^/connections/${second}`));
      await works(second);
      assert.deepEqual(await stage.ask("DELETE", `/v1/connections/${second}`), { revoked: "unsupported", retrying: false });
    });

    test("a new key of the same account takes its place; one of another account only when that is meant", async () => {
      key = life.newKey(sim, "ada");
      const same = await replace(key);
      assert.deepEqual([same.status, same.body.id, same.body.generation], [200, id, 2], JSON.stringify(same.body));
      await works();
      const other = life.newKey(sim, "eve");
      const refused = await replace(other);
      assert.deepEqual([refused.status, refused.body.code], [409, "conflict"]);
      assert.equal((await stage.connection(id)).account.id, life.account(sim, "ada").id);
      await works();
      const { location } = await stage.enter(`/connections/${id}/reconnect`, { [field]: other });
      await stage.choose(location, "keep", /What you entered is of another account/);
      const { account, generation } = await stage.connection(id);
      assert.deepEqual([account.id, generation], [life.account(sim, "ada").id, 2]);
      await works();
      const switched = await replace(other, { switch_account: true });
      assert.deepEqual([switched.status, switched.body.account, switched.body.generation], [200, life.account(sim, "eve"), 3]);
      await works();
    });

    test("one that is revoked at the app is found out by a check, and another one repairs the same connection", async () => {
      (life.revoke ?? ((app, who) => app.revoke(who)))(sim, "eve");
      await stage.pass(sim, id, 60);
      const { health, connection } = await stage.ask("POST", `/v1/connections/${id}/check`);
      assert.deepEqual([health, connection.status, connection.reason], ["dead", "needs_reconnect", "credential_rejected"]);
      const refused = await stage.refused(id);
      assert.deepEqual([refused.status, refused.code, refused.reason], [409, "needs_reconnect", "credential_rejected"]);
      const { location, text } = await stage.enter(pathOf(refused.reconnect_url), { [field]: life.newKey(sim, "eve") });
      assert.match(location ?? text, new RegExp(`^/connections/${id}`));
      const now = await stage.connection(id);
      assert.deepEqual([now.status, now.reason, now.generation], ["connected", null, 4]);
      await works();
    });

    test("a disconnect erases it here: the app has no way to revoke it", async () => {
      const { result, asked } = await askedDuring(sim, () => stage.ask("DELETE", `/v1/connections/${id}`));
      assert.deepEqual([result, asked], [{ revoked: "unsupported", retrying: false }, []]);
      assert.equal((await stage.refused(id)).code, "connection_not_found");
      assert.deepEqual(await stage.connectionsOf(app), []);
    });
  });
}

suite("Slack with a bot and a user token", () => {
  const SEARCH = "user:search:read";
  const USER = { method: "POST", path: "search.messages" };
  let slack, id;
  const tokens = (answer) => ({ bot: answer.request.headers.Authorization, user: `Bearer ${answer.credential.tokens.user.access_token}` });
  const both = async () => {
    const answer = await stage.resolved(id);
    const { bot, user } = tokens(answer);
    assert.ok((await call(answer.request, { method: "POST", path: "conversations.list" })).works);
    assert.ok((await call({ ...answer.request, headers: { Authorization: user } }, USER)).works);
    assert.equal((await call(answer.request, USER)).body.error, "missing_scope", "the bot may not search");
    return { bot, user };
  };

  before(async () => {
    ({ slack } = stage.apps);
    const app = await stage.register("slack");
    const client = { client_id: "slack-two", client_secret: "slack-two-secret-0123456789" };
    const { redirect_uri } = await stage.ask("PUT", `/v1/apps/${app}/client`, client);
    slack.register(client.client_id, { secret: client.client_secret, redirect_uris: [redirect_uri], rotation: true });
  });

  /** The ends of several tokens are sealed with them, where no test can move them: the Worker is told that they come sooner than they do. */
  const endingSoon = async (consent) => {
    stage.installation.outbound.answer = async ({ url, method, headers, body }) => {
      if (!body.includes("authorization_code")) return undefined;
      const answer = await fetch(url, { method, headers, body, redirect: "manual" });
      return new Response((await answer.text()).replaceAll('"expires_in":43200', '"expires_in":300'), { headers: { "content-type": "application/json" } });
    };
    const result = await consent();
    stage.installation.outbound.answer = undefined;
    return result;
  };

  test("come from one consent, each with its own scopes", async () => {
    id = await endingSoon(() => stage.connect(slack, "/oauth/start/sim-slack", { boxes: { tick: [SEARCH] } }));
    assert.ok((await stage.connection(id)).scopes.granted.includes(SEARCH));
    const { credential } = await stage.resolved(id, { scopes: [SEARCH] });
    assert.deepEqual(credential.tokens.user.scopes, ["search:read"]);
    assert.ok(credential.scopes.includes("chat:write") && !credential.scopes.includes("search:read"));
    await both();
    assert.deepEqual((await stage.copied(id)).credential, credential);
  });

  test("are refreshed each on its own when they have ended", async () => {
    const old = await both();
    await stage.pass(slack, id, 12 * HOUR + 1);
    const count = await tokensDuring(slack, "refresh_token", () => Promise.all([both(), both(), both()]));
    assert.equal(count, 2);
    const now = await both();
    assert.ok(now.bot !== old.bot && now.user !== old.user);
  });

  test("when the person takes the user token back, the bot goes on, and what is missing is said", async () => {
    assert.equal(await endingSoon(() => stage.connect(slack, `/connections/${id}/reconnect`)), id);
    for (const grant of slack.grants.values()) if (grant.type === "user" && grant.account === "ada") slack.end(grant);
    await stage.pass(slack, id, 12 * HOUR + 1);
    await stage.resolved(id);
    const { credential, request } = await stage.resolved(id);
    assert.deepEqual(credential.tokens ?? {}, {});
    assert.ok((await call(request, { method: "POST", path: "auth.test" })).works);
    const { status, scopes, attention } = await stage.connection(id);
    assert.equal(status, "connected");
    assert.deepEqual(scopes.missing, [SEARCH]);
    assert.ok(attention.some(({ code }) => code === "missing_scopes"));
  });

  test("end with a disconnect, both", async () => {
    const answer = await stage.resolved(id);
    assert.deepEqual(await stage.ask("DELETE", `/v1/connections/${id}`), { revoked: "confirmed", retrying: false });
    assert.equal((await call(answer.request, { method: "POST", path: "auth.test" })).works, false);
  });
});

suite("an answer that Slack gave and nobody got", () => {
  let slack, id;
  const lost = async () => {
    await stage.pass(slack, id, 12 * HOUR + 1);
    slack.failNext({ at: "oauth.v2.access", afterwards: true });
    const refused = await stage.refused(id);
    assert.deepEqual([refused.status, refused.code], [503, "app_unavailable"]);
    const again = await tokensDuring(slack, "refresh_token", async () => assert.equal((await stage.refused(id)).status, 503));
    assert.equal(again, 0, "whoever asks meanwhile waits");
  };

  before(async () => {
    ({ slack } = stage.apps);
    id = await stage.connect(slack, "/oauth/start/sim-slack");
  });
  after(() => stage.ask("DELETE", `/v1/connections/${id}`));

  test("is had once more within the grace", async () => {
    await lost();
    await stage.pass(slack, id, 15);
    const { request } = await stage.resolved(id);
    assert.ok((await call(request, { method: "POST", path: "auth.test" })).works);
  });

  test("is lost after it, and called so; a reconnect repairs it", async () => {
    await lost();
    await stage.pass(slack, id, 120);
    const refused = await stage.refused(id);
    assert.deepEqual([refused.code, refused.reason], ["needs_reconnect", "lost_rotation"]);
    assert.equal(await stage.connect(slack, pathOf(refused.reconnect_url)), id);
    const { request } = await stage.resolved(id);
    assert.ok((await call(request, { method: "POST", path: "auth.test" })).works);
  });
});

suite("tokens that Dropbox gave elsewhere", () => {
  let dropbox, ask, visit;
  const client = { client_id: "dropbox-import", client_secret: "dropbox-import-secret-0123456789" };
  const made = [];
  const soon = (seconds) => new Date(Date.now() + seconds * 1000).toISOString().replace(/\.\d+Z/, "Z");
  const add = (credential, more) => stage.api("POST", "/v1/connections", { app: "sim-dropbox", credential: { type: "oauth2", ...credential }, ...more });
  /** What another program of the same client was given. */
  const given = async () => {
    dropbox.person = { account: "ada", untick: [], deny: false };
    const { code } = await visit("www.dropbox.com/oauth2/authorize", { client_id: client.client_id, token_access_type: "offline", scope: "account_info.read" });
    const form = { grant_type: "authorization_code", code, redirect_uri: BACK };
    const { body } = await ask("api.dropboxapi.com/oauth2/token", { form, basic: [client.client_id, client.client_secret] });
    return { access_token: body.access_token, refresh_token: body.refresh_token, scopes: body.scope.split(" ") };
  };
  const works = async ({ status, body }) => {
    assert.equal(status, 201, JSON.stringify(body));
    made.push(body.id);
    assert.deepEqual(body.account, { id: dropbox.account("ada").account_id, label: "ada@example.test" });
    const answer = await stage.resolved(body.id);
    assert.ok((await call(answer.request, CONSENTED.Dropbox.api)).works);
    return answer;
  };

  before(async () => {
    ({ dropbox } = stage.apps);
    ({ ask, visit } = asker(stage.apps.origin));
    await stage.register("dropbox");
    const { redirect_uri } = await stage.ask("PUT", "/v1/apps/sim-dropbox/client", client);
    dropbox.register(client.client_id, { secret: client.client_secret, redirect_uris: [BACK, redirect_uri] });
  });

  test("serve as they are while they live, and are refreshed when they end", async () => {
    const tokens = await given();
    const answer = await works(await add({ ...tokens, expires_at: soon(HOUR) }));
    assert.equal(answer.credential.access_token, tokens.access_token);
    assert.deepEqual(answer.credential.scopes, ["account_info.read"]);
    await stage.pass(dropbox, made[0], 4 * HOUR + 1);
    assert.equal(await tokensDuring(dropbox, "refresh_token", () => stage.resolved(made[0])), 1);
  });

  test("are renewed at once when the access has ended, whether that is said or found out", async () => {
    for (const expires_at of [soon(-60), soon(HOUR)]) {
      const tokens = await given();
      dropbox.expireAccess();
      assert.equal(await tokensDuring(dropbox, "refresh_token", async () => works(await add({ ...tokens, expires_at }))), 1);
    }
  });

  test("take the place of a connection to the same account when that is meant", async () => {
    const tokens = await given();
    const { status, body } = await add({ ...tokens, expires_at: soon(HOUR) }, { on_duplicate: "reuse" });
    assert.deepEqual([status, made.includes(body.id), body.generation], [201, true, 2]);
  });

  test("are refused when they are dead or incomplete, and nothing is stored", async () => {
    const tokens = await given();
    const before = (await stage.connectionsOf("sim-dropbox")).length;
    dropbox.expireAccess();
    const dead = await add({ access_token: tokens.access_token, expires_at: soon(HOUR) });
    assert.deepEqual([dead.status, dead.body.code], [422, "credential_rejected"]);
    const revoked = await add({ access_token: "sl.u.unknown", refresh_token: "unknown-refresh-token", expires_at: soon(-60) });
    assert.deepEqual([revoked.status, revoked.body.code], [422, "credential_rejected"]);
    const endless = await add({ access_token: tokens.access_token, refresh_token: tokens.refresh_token });
    assert.deepEqual([endless.status, endless.body.errors[0].field], [422, "credential.expires_at"]);
    assert.equal((await stage.connectionsOf("sim-dropbox")).length, before);
  });

  after(() => Promise.all(made.map((id) => stage.api("DELETE", `/v1/connections/${id}`))));
});

suite("a client of Microsoft's with a private key", () => {
  const { publicKey, privateKey } = newKeyPair();
  const path = "/v1/apps/sim-outlook/client";
  const key = { client_id: "outlook-key", client_secret: privateKey, variables: { tenant: "common" } };
  let microsoft;
  before(async () => {
    ({ microsoft } = stage.apps);
    await stage.register("outlook");
  });

  for (const [named, header] of Object.entries({ key_id: "kid", certificate: "x5t#S256" })) {
    test(`proves itself by it, the key named by ${header}: trial, connect and refresh`, async () => {
      const { redirect_uri } = await stage.ask("PUT", path, { ...key, [named]: "thumb" });
      microsoft.register(key.client_id, { redirect_uris: [redirect_uri], certificates: [{ publicKey, id: "thumb" }] });
      assert.equal((await stage.ask("POST", `${path}/test`)).verdict, "accepted");
      const id = await stage.connect(microsoft, "/oauth/start/sim-outlook");
      await stage.pass(microsoft, id, CONSENTED.Outlook.life + 1);
      const count = await tokensDuring(microsoft, "refresh_token", async () => {
        const { request } = await stage.resolved(id);
        assert.ok((await call(request, CONSENTED.Outlook.api)).works);
      });
      assert.equal(count, 1);
      await stage.ask("DELETE", `/v1/connections/${id}`);
    });
  }

  test("is refused with another key, and one that is no key is not taken", async () => {
    await stage.ask("PUT", path, { ...key, client_secret: newKeyPair().privateKey, key_id: "thumb" });
    const { verdict } = await stage.ask("POST", `${path}/test`);
    assert.equal(verdict, "refused");
    const broken = await stage.api("PUT", path, { ...key, client_secret: privateKey.slice(0, 300) });
    assert.deepEqual([broken.status, broken.body.errors[0].field], [422, "client_secret"]);
  });
});

suite("a connection that changes its way", () => {
  const oauth = CONSENTED.Notion;
  let notion, id;
  const works = async () => {
    const answer = await stage.resolved(id);
    assert.ok((await call(answer.request, oauth.api)).works);
    return answer.credential;
  };

  test("from consent to a token that is entered: what the consent gave is revoked", async () => {
    ({ notion } = stage.apps);
    id = await stage.connect(notion, "/oauth/start/sim-notion?way=oauth2");
    const { access_token } = await works();
    const { location } = await stage.enter(`/connections/${id}/reconnect?way=api_key`, { api_key: notion.newInternalToken("ada") });
    assert.match(await stage.choose(location, "switch", /another account/), new RegExp(`^/connections/${id}`));
    const { way, credential, scopes, generation } = await stage.connection(id);
    assert.deepEqual([way, credential.type, credential.refreshable, scopes.requested, generation], ["api_key", "api_key", false, [], 2]);
    assert.equal((await works()).type, "api_key");
    assert.equal(notion.look("access", access_token).state, "ended");
  });

  test("and back to consent", async () => {
    const flow = await stage.goThrough(notion, `/connections/${id}/reconnect?way=oauth2`);
    await stage.choose(flow, "switch", /another account/);
    const { way, credential, generation } = await stage.connection(id);
    assert.deepEqual([way, credential.type, credential.refreshable, generation], ["oauth2", "oauth2", true, 3]);
    assert.equal((await works()).type, "oauth2");
    assert.deepEqual(await stage.ask("DELETE", `/v1/connections/${id}`), { revoked: "confirmed", retrying: false });
  });
});

suite("a link to an app whose token is entered", () => {
  test("lets somebody enter it, once, and what is refused leaves the link open", async () => {
    const { telegram } = stage.apps;
    const { id: link, url } = await stage.ask("POST", "/v1/links", { app: "sim-telegram", user: { id: "guest" } });
    const guest = new Person(stage.installation);
    const path = pathOf(url);
    const refused = await guest.submit(path, { "input.token": ENTERED["a Telegram bot token"].unknown() });
    assert.equal(refused.status, 422);
    assert.equal((await stage.ask("GET", `/v1/links/${link}`)).status, "open");
    const token = telegram.newBot("guest");
    const { location } = await guest.submit(path, { "input.token": token });
    assert.match((await guest.get(location)).text, /Telegram is connected/);
    const { status, connection } = await stage.ask("GET", `/v1/links/${link}`);
    assert.equal(status, "used");
    const { user, account } = await stage.connection(connection);
    assert.deepEqual([user.id, account.label], ["guest", "@guest_bot"]);
    assert.equal((await stage.resolved(connection)).credential.token, token);
    assert.equal((await guest.get(path)).status, 410);
    await stage.ask("DELETE", `/v1/connections/${connection}`);
  });
});

suite("an end that only the app knows of", () => {
  test("Slack: access that has expired can't ask for its own end, so a fresh one does", async () => {
    const { slack } = stage.apps;
    const id = await stage.connect(slack, "/oauth/start/sim-slack");
    await stage.pass(slack, id, 12 * HOUR + 1);
    const { result, asked } = await askedDuring(slack, () => stage.ask("DELETE", `/v1/connections/${id}`));
    assert.deepEqual(asked, ["POST slack.com/api/auth.revoke", "POST slack.com/api/oauth.v2.access", "POST slack.com/api/auth.revoke"]);
    assert.deepEqual(result, { revoked: "confirmed", retrying: false });
    const fresh = slack.secrets("access").at(-1);
    assert.equal(slack.look("access", fresh).state, "ended");
  });

  test("Microsoft: a client secret that has expired is the client's fault; a new one mends every connection", async () => {
    const { microsoft } = stage.apps;
    const path = "/v1/apps/sim-outlook/client";
    const dated = { client_id: "outlook-dated", client_secret: "the-first-secret-0123456789", variables: { tenant: "common" } };
    const { redirect_uri } = await stage.ask("PUT", path, dated);
    microsoft.register(dated.client_id, { secret: dated.client_secret, redirect_uris: [redirect_uri] });
    const id = await stage.connect(microsoft, "/oauth/start/sim-outlook");
    microsoft.register(dated.client_id, { secretExpired: true });
    await stage.pass(microsoft, id, CONSENTED.Outlook.life + 1);
    const refused = await stage.refused(id);
    assert.deepEqual([refused.status, refused.code], [409, "client_misconfigured"]);
    const { status, attention } = await stage.connection(id);
    assert.equal(status, "connected");
    assert.ok(attention.some(({ code }) => code === "client_misconfigured"));
    microsoft.register(dated.client_id, { secret: "the-second-secret-0123456789", secretExpired: false });
    await stage.ask("PUT", path, { ...dated, client_secret: "the-second-secret-0123456789" });
    await stage.pass(microsoft, id, 120);
    assert.ok((await call((await stage.resolved(id)).request, CONSENTED.Outlook.api)).works);

    microsoft.withdrawConsent("ada", ["User.Read"]);
    await stage.pass(microsoft, id, CONSENTED.Outlook.life + 1);
    const withdrawn = await stage.refused(id);
    assert.deepEqual([withdrawn.code, withdrawn.reason], ["needs_reconnect", "revoked"]);
    await stage.ask("DELETE", `/v1/connections/${id}`);
  });

  test("Microsoft: an answer without scopes has granted what was asked for", async () => {
    const { microsoft } = stage.apps;
    microsoft.omitScope = true;
    const id = await stage.connect(microsoft, "/oauth/start/sim-outlook");
    const { scopes } = await stage.connection(id);
    assert.deepEqual([scopes.missing, scopes.granted.includes("Mail.Send")], [[], true]);
    await stage.ask("DELETE", `/v1/connections/${id}`);
    microsoft.omitScope = false;
  });

  test("Google: a client in testing has grants of seven days, which is said beforehand and when they end", async () => {
    const { google: sim } = stage.apps;
    sim.register(CONSENTED.Gmail.client.client_id, { testing: true });
    const id = await stage.connect(sim, "/oauth/start/sim-gmail");
    const { credential, attention } = await stage.connection(id);
    const days = (new Date(credential.ends_at) - Date.now()) / 86_400_000;
    assert.ok(days > 6.9 && days < 7.1, credential.ends_at);
    assert.ok(attention.some(({ code }) => code === "expires_soon"), JSON.stringify(attention));
    await stage.pass(sim, id, 8 * 86_400);
    await stage.installation.run("UPDATE connections SET refresh_expires_at = refresh_expires_at - ?2 WHERE id = ?1", id, 8 * 86_400);
    const refused = await stage.refused(id);
    assert.deepEqual([refused.code, refused.reason], ["needs_reconnect", "expired"]);
    await stage.ask("DELETE", `/v1/connections/${id}`);
    sim.register(CONSENTED.Gmail.client.client_id, { testing: false });
  });

  test("Telegram: the clock finds a token that BotFather took back", async () => {
    const { telegram } = stage.apps;
    const { id } = await stage.ask("POST", "/v1/connections", { app: "sim-telegram", credential: { type: "bot_token", token: telegram.newBot("ada") } });
    const strike = async () => {
      await stage.installation.run("UPDATE connections SET next_check_at = 1 WHERE id = ?1", id);
      await stage.installation.strike();
      const { status, reason, check_evidence } = await stage.connection(id);
      return [status, reason, check_evidence];
    };
    assert.deepEqual(await strike(), ["connected", null, "probe: accepted"]);
    telegram.failNext({ status: 429, body: { ok: false, error_code: 429, description: "Too Many Requests", parameters: { retry_after: 7 } } });
    assert.deepEqual((await strike()).slice(0, 2), ["connected", null], "an app that asks to wait says nothing of the token");
    telegram.revoke("ada");
    await stage.pass(telegram, id, 60);
    assert.deepEqual(await strike(), ["needs_reconnect", "credential_rejected", "probe: refused"]);
    await stage.ask("DELETE", `/v1/connections/${id}`);
  });

  test("Notion: without a refresh token the connection lives on its access token, and says so when that dies", async () => {
    const { notion } = stage.apps;
    notion.refreshTokens = false;
    const id = await stage.connect(notion, "/oauth/start/sim-notion");
    notion.refreshTokens = true;
    assert.equal((await stage.connection(id)).credential.refreshable, false);
    assert.ok((await call((await stage.resolved(id)).request, CONSENTED.Notion.api)).works);
    notion.expireAccess();
    const { connection } = await stage.ask("POST", `/v1/connections/${id}/check`);
    assert.deepEqual([connection.status, connection.reason], ["needs_reconnect", "credential_rejected"]);
    await stage.ask("DELETE", `/v1/connections/${id}`);
  });
});

suite("what a person or an app says no to", () => {
  const DENIED = { slack: ["slack", "sim-slack"], gmail: ["google", "sim-gmail"], notion: ["notion", "sim-notion"], outlook: ["microsoft", "sim-outlook"], dropbox: ["dropbox", "sim-dropbox"] };
  for (const [name, [simulator, app]] of Object.entries(DENIED)) {
    test(`${name}: a denial stores nothing and offers another try`, async () => {
      const flow = await stage.goThrough(stage.apps[simulator], `/oauth/start/${app}`, { deny: true });
      const { text, html } = await stage.person.get(flow);
      assert.match(text, /You did not allow access .* nothing was stored/);
      assert.ok(html.includes(`href="/oauth/start/${app}"`));
      assert.deepEqual(await stage.connectionsOf(app), []);
    });
  }

  test("Microsoft: what only an administrator may allow ends like a denial", async () => {
    const { microsoft } = stage.apps;
    microsoft.adminOnly.add("Mail.Send");
    const flow = await stage.goThrough(microsoft, "/oauth/start/sim-outlook");
    microsoft.adminOnly.clear();
    assert.match((await stage.person.get(flow)).text, /nothing was stored/);
  });

  test("a Stripe key that may not ask whose it is works, and its account is unknown", async () => {
    const { stripe } = stage.apps;
    const key = stripe.newKey("ada", { permissions: ["balance"] });
    const { status, body } = await stage.api("POST", "/v1/connections", { app: "sim-stripe", credential: { type: "api_key", api_key: key } });
    assert.equal(status, 201, JSON.stringify(body));
    assert.equal(body.account, null);
    assert.ok((await call((await stage.resolved(body.id)).request, { path: "balance" })).works);
    assert.equal((await stage.ask("POST", `/v1/connections/${body.id}/check`)).health, "healthy");
    await stage.ask("DELETE", `/v1/connections/${body.id}`);
  });

  test("a live Stripe key is labelled so, and a platform's key acts for a connected account", async () => {
    const { stripe } = stage.apps;
    const add = async (way, credential) => stage.ask("POST", "/v1/connections", { app: "sim-stripe", way, credential: { type: "api_key", ...credential } });
    const live = await add("api_key", { api_key: stripe.newKey("ada", { live: true }) });
    assert.equal(live.account.label, "ada (live mode)");
    const { id } = stripe.account("ada");
    const platform = await add("platform", { api_key: stripe.newKey("platform", { connected: ["ada"] }), account: id });
    assert.deepEqual(platform.account, { id, label: "ada (test mode)" });
    const { request } = await stage.resolved(platform.id);
    assert.equal(request.headers["Stripe-Account"], id);
    const told = await call(request, { path: "account" });
    assert.equal(told.body.id, id);
    for (const one of [live, platform]) await stage.ask("DELETE", `/v1/connections/${one.id}`);
  });

  test("a Google service account acts for a person only where an administrator has allowed it", async () => {
    const { google: sim } = stage.apps;
    const scopes = ["openid", google("userinfo.email"), google("gmail.readonly")];
    const key = sim.newServiceAccount("mailer", { delegated: { "boss@example.test": scopes } });
    const add = (subject) => stage.api("POST", "/v1/connections", { app: "sim-gmail", scopes, credential: { type: "service_account", key: JSON.parse(key), subject } });
    const refused = await add("other@example.test");
    assert.deepEqual([refused.status, refused.body.code], [422, "credential_rejected"]);
    assert.match(refused.body.detail, /unauthorized_client/);
    const { status, body } = await add("boss@example.test");
    assert.equal(status, 201, JSON.stringify(body));
    assert.equal(body.account.label, "boss@example.test");
    const told = await call((await stage.resolved(body.id)).request, CONSENTED.Gmail.api);
    assert.equal(told.body.emailAddress, "boss@example.test");
    await stage.ask("DELETE", `/v1/connections/${body.id}`);
  });
});

suite("what was never shown", () => {
  let secrets;
  before(() => {
    // The last suite: all that the apps ever gave out or were sent, keys that stand in an address included.
    const { origin, close, ...apps } = stage.apps;
    // Of a key file a line is enough: elsewhere its lines may be broken in another way.
    const telling = (value) => (value.includes("PRIVATE KEY") ? value.split("\n")[3] : value);
    secrets = Object.entries(apps).flatMap(([name, sim]) => sim.secrets().map((value) => [telling(value), name]));
    assert.ok(secrets.length > 300 && secrets.every(([value]) => value.length >= 16), `${secrets.length}`);
  });
  const foundIn = (text) => secrets.filter(([value]) => text.includes(value)).map(([value, name]) => `${name}: ${value.slice(0, 8)}…`);

  test("no secret of any app is in the log", () => {
    const logs = stage.installation.server.getLogs();
    assert.ok(logs.length > 5, "there is a log");
    assert.deepEqual(foundIn(JSON.stringify(logs)), []);
  });

  test("none is in the record or the cache in the clear, and none in an event", async () => {
    const places = await atRest(stage.installation);
    assert.ok(places["table events"].length > 1000, "there is something to look through");
    for (const [place, text] of Object.entries(places)) assert.deepEqual(foundIn(text), [], place);
  });

  test("none is on a page or in any answer but a resolve's", () => {
    const shown = stage.installation.answers.filter(({ path, status }) => status >= 400 || !path.endsWith("/resolve"));
    assert.ok(shown.length > 200);
    assert.ok(foundIn(stage.installation.answers.map(({ text }) => text).join()).length > 50, "a resolve hands some out");
    for (const { path, text, headers } of shown) assert.deepEqual(foundIn(text + (headers.get("location") ?? "")), [], path);
  });

  test("a refresh token, a client's secret or a code is in no resolve either", () => {
    const resolved = stage.installation.answers.filter(({ path, status }) => status < 400 && path.endsWith("/resolve"));
    const { origin, close, ...apps } = stage.apps;
    const kept = Object.values(apps).flatMap((sim) => ["refresh", "client", "code"].flatMap((kind) => sim.secrets(kind)));
    for (const { path, text } of resolved) assert.deepEqual(kept.filter((value) => text.includes(value)), [], path);
  });
});
