// Owns the special cases of the simulated apps that are not part of the common lifecycle: several tokens of one
// consent, a lost answer, imported tokens, a client's private key, a changed auth method, expiry that only the app
// knows of, and refusals by a person or an app.

import assert from "node:assert/strict";
import { after, before, suite, test } from "node:test";
import { createAppClient, CALLBACK_URL } from "../support/apps/requests.mjs";
import { createKeyPair } from "../support/apps/signed-assertions.mjs";
import { recordRequests, callAppApi, startLifecycleFixture, defineSecretLeakSuite, countTokenRequests } from "../support/lifecycles.mjs";
import { pathOf, Person } from "../support/person.mjs";

const HOUR = 3600;
const OUTLOOK_LIFE = 4500;
const google = (name) => `https://www.googleapis.com/auth/${name}`;

/** A call of each app's API. */
const API = {
  slack: { method: "POST", path: "auth.test" },
  gmail: { path: "gmail/v1/users/me/profile" },
  notion: { method: "POST", path: "search", text: "{}" },
  outlook: { path: "me" },
  dropbox: { method: "POST", path: "users/get_current_account", text: "null" },
};

/** The apps whose clients are set up first, and the fields that their simulators need. */
const CLIENTS = { slack: ["slack", { rotation: true }], gmail: ["google"], notion: ["notion"], outlook: ["microsoft"], dropbox: ["dropbox"] };

let fixture;
before(async () => {
  fixture = await startLifecycleFixture();
  for (const file of ["telegram", "stripe", ...Object.keys(CLIENTS)]) await fixture.registerApp(file);
  for (const [file, [simulator, more]] of Object.entries(CLIENTS)) {
    const client = { client_id: `${file}-client`, client_secret: `${file}-secret-0123456789` };
    const { redirect_uri } = await fixture.requestOk("PUT", `/v1/apps/sim-${file}/client`, client);
    fixture.apps[simulator].register(client.client_id, { secret: client.client_secret, redirect_uris: [redirect_uri], ...more });
  }
});
after(() => fixture.close());

suite("Slack with a bot and a user token", () => {
  const SEARCH = "user:search:read";
  const USER = { method: "POST", path: "search.messages" };
  let slack, id;
  const tokens = (answer) => ({ bot: answer.request.headers.Authorization, user: `Bearer ${answer.credential.tokens.user.access_token}` });
  const both = async () => {
    const answer = await fixture.resolve(id);
    const { bot, user } = tokens(answer);
    assert.ok((await callAppApi(answer.request, { method: "POST", path: "conversations.list" })).works);
    assert.ok((await callAppApi({ ...answer.request, headers: { Authorization: user } }, USER)).works);
    assert.equal((await callAppApi(answer.request, USER)).body.error, "missing_scope", "the bot may not search");
    return { bot, user };
  };

  before(() => ({ slack } = fixture.apps));

  /**
   * The expiry of further tokens is sealed and cannot be changed by a test. So the Worker is told a shorter lifetime.
   */
  const endingSoon = async (consent) => {
    fixture.installation.outbound.answer = async ({ url, method, headers, body }) => {
      if (!body.includes("authorization_code")) return undefined;
      const answer = await fetch(url, { method, headers, body, redirect: "manual" });
      return new Response((await answer.text()).replaceAll('"expires_in":43200', '"expires_in":300'), { headers: { "content-type": "application/json" } });
    };
    const result = await consent();
    fixture.installation.outbound.answer = undefined;
    return result;
  };

  test("come from one consent, each with its own scopes", async () => {
    id = await endingSoon(() => fixture.connect(slack, "/oauth/start/sim-slack", { boxes: { tick: [SEARCH] } }));
    assert.ok((await fixture.getConnection(id)).scopes.granted.includes(SEARCH));
    const { credential } = await fixture.resolve(id, { scopes: [SEARCH] });
    assert.deepEqual(credential.tokens.user.scopes, ["search:read"]);
    assert.ok(credential.scopes.includes("chat:write") && !credential.scopes.includes("search:read"));
    await both();
    assert.deepEqual((await fixture.resolveFromCache(id)).credential, credential);
  });

  test("are refreshed separately when they have expired", async () => {
    const old = await both();
    await fixture.advanceTime(slack, id, 12 * HOUR + 1);
    const count = await countTokenRequests(slack, "refresh_token", () => Promise.all([both(), both(), both()]));
    assert.equal(count, 2);
    const now = await both();
    assert.ok(now.bot !== old.bot && now.user !== old.user);
  });

  test("after the user token is revoked, the bot token works and the missing scopes are named", async () => {
    assert.equal(await endingSoon(() => fixture.connect(slack, `/connections/${id}/reconnect`)), id);
    for (const grant of slack.grants.values()) if (grant.type === "user" && grant.account === "ada") slack.end(grant);
    await fixture.advanceTime(slack, id, 12 * HOUR + 1);
    await fixture.resolve(id);
    const { credential, request } = await fixture.resolve(id);
    assert.deepEqual(credential.tokens ?? {}, {});
    assert.ok((await callAppApi(request, API.slack)).works);
    const { status, scopes, attention } = await fixture.getConnection(id);
    assert.equal(status, "connected");
    assert.deepEqual(scopes.missing, [SEARCH]);
    assert.ok(attention.some(({ code }) => code === "missing_scopes"));
  });

  test("another person of the same team leads to a question, although the bot is the same", async () => {
    const with_search = { boxes: { tick: [SEARCH] } };
    assert.equal(await fixture.connect(slack, `/connections/${id}/reconnect`, with_search), id);
    const flow = await fixture.completeConsent(slack, `/connections/${id}/reconnect`, { account: "eve", ...with_search });
    await fixture.answerQuestion(flow, "keep", /another account/);
    const { headers } = (await fixture.resolve(id)).request;
    const user = (await fixture.resolve(id)).credential.tokens.user.access_token;
    assert.equal(slack.findToken("access", user).grant.account, "ada");
    assert.ok((await callAppApi({ ...(await fixture.resolve(id)).request, headers }, API.slack)).works);
  });

  test("are both revoked by a disconnect", async () => {
    const answer = await fixture.resolve(id);
    assert.deepEqual(await fixture.requestOk("DELETE", `/v1/connections/${id}`), { revoked: "confirmed", retrying: false, undo_until: null });
    assert.equal((await callAppApi(answer.request, API.slack)).works, false);
  });
});

suite("Slack installed for a whole organisation", () => {
  test("has the organisation's id as account, reconnects without a question and disconnects", async () => {
    const { slack } = fixture.apps;
    slack.accounts.set("grid", { team: null, enterprise: { id: "E0GRID", name: "Acme Group" } });
    const as = { account: "grid" };
    const id = await fixture.connect(slack, "/oauth/start/sim-slack", as);
    const { account, generation } = await fixture.getConnection(id);
    assert.match(account.id, /^E0GRID:U\w+$/);
    assert.equal(account.label, "Acme Group / connections");
    const page = await fixture.person.get(`/connections/${id}`);
    assert.ok(page.text.includes("Acme Group / connections"), page.text);

    assert.equal(await fixture.connect(slack, `/connections/${id}/reconnect`, as), id, "the same account is no question");
    const again = await fixture.getConnection(id);
    assert.deepEqual([again.account, again.generation], [account, generation + 1]);

    const { request } = await fixture.resolve(id);
    assert.equal((await callAppApi(request, API.slack)).body.is_enterprise_install, true);
    assert.deepEqual(await fixture.requestOk("DELETE", `/v1/connections/${id}`), { revoked: "confirmed", retrying: false, undo_until: null });
    assert.equal((await callAppApi(request, API.slack)).works, false);
    slack.accounts.delete("grid");
  });
});

suite("a lost answer of Slack", () => {
  let slack, id;
  const lost = async () => {
    await fixture.advanceTime(slack, id, 12 * HOUR + 1);
    slack.failNext({ at: "oauth.v2.access", afterwards: true });
    const refused = await fixture.resolveRefused(id);
    assert.deepEqual([refused.status, refused.code], [503, "app_unavailable"]);
    const again = await countTokenRequests(slack, "refresh_token", async () => assert.equal((await fixture.resolveRefused(id)).status, 503));
    assert.equal(again, 0, "whoever asks meanwhile waits");
  };

  before(async () => {
    ({ slack } = fixture.apps);
    id = await fixture.connect(slack, "/oauth/start/sim-slack");
  });
  after(() => fixture.requestOk("DELETE", `/v1/connections/${id}`));

  test("is recovered within the grace period", async () => {
    await lost();
    await fixture.advanceTime(slack, id, 15);
    const { request } = await fixture.resolve(id);
    assert.ok((await callAppApi(request, API.slack)).works);
  });

  test("is lost after the grace period, with the reason lost_rotation, and a reconnect repairs it", async () => {
    await lost();
    await fixture.advanceTime(slack, id, 120);
    const refused = await fixture.resolveRefused(id);
    assert.deepEqual([refused.code, refused.reason], ["needs_reconnect", "lost_rotation"]);
    assert.equal(await fixture.connect(slack, pathOf(refused.reconnect_url)), id);
    const { request } = await fixture.resolve(id);
    assert.ok((await callAppApi(request, API.slack)).works);
  });
});

suite("imported tokens of Dropbox", () => {
  let dropbox, request, visit;
  const client = { client_id: "dropbox-import", client_secret: "dropbox-import-secret-0123456789" };
  const made = [];
  const soon = (seconds) => new Date(Date.now() + seconds * 1000).toISOString().replace(/\.\d+Z/, "Z");
  const add = (credential, more) => fixture.requestApi("POST", "/v1/connections", { app: "sim-dropbox", credential: { type: "oauth2", ...credential }, ...more });
  /** The tokens that another program with the same client received. */
  const given = async () => {
    dropbox.person = { account: "ada", untick: [], deny: false };
    const { code } = await visit("www.dropbox.com/oauth2/authorize", { client_id: client.client_id, token_access_type: "offline", scope: "account_info.read" });
    const form = { grant_type: "authorization_code", code, redirect_uri: CALLBACK_URL };
    const { body } = await request("api.dropboxapi.com/oauth2/token", { form, basic: [client.client_id, client.client_secret] });
    return { access_token: body.access_token, refresh_token: body.refresh_token, scopes: body.scope.split(" ") };
  };
  const works = async ({ status, body }) => {
    assert.equal(status, 201, JSON.stringify(body));
    made.push(body.id);
    assert.deepEqual(body.account, { id: dropbox.account("ada").account_id, label: "ada@example.test" });
    const answer = await fixture.resolve(body.id);
    assert.ok((await callAppApi(answer.request, API.dropbox)).works);
    return answer;
  };

  before(async () => {
    ({ dropbox } = fixture.apps);
    ({ request, visit } = createAppClient(fixture.apps.origin));
    const { redirect_uri } = await fixture.requestOk("PUT", "/v1/apps/sim-dropbox/client", client);
    dropbox.register(client.client_id, { secret: client.client_secret, redirect_uris: [CALLBACK_URL, redirect_uri] });
  });

  test("are used unchanged until they expire, and then refreshed", async () => {
    const tokens = await given();
    const answer = await works(await add({ ...tokens, expires_at: soon(HOUR) }));
    assert.equal(answer.credential.access_token, tokens.access_token);
    assert.deepEqual(answer.credential.scopes, ["account_info.read"]);
    await fixture.advanceTime(dropbox, made[0], 4 * HOUR + 1);
    assert.equal(await countTokenRequests(dropbox, "refresh_token", () => fixture.resolve(made[0])), 1);
  });

  test("are refreshed at once if the access token has expired, whether the import says so or the app", async () => {
    for (const expires_at of [soon(-60), soon(HOUR)]) {
      const tokens = await given();
      dropbox.expireAccess();
      assert.equal(await countTokenRequests(dropbox, "refresh_token", async () => works(await add({ ...tokens, expires_at }))), 1);
    }
  });

  test("replace a connection to the same account on request", async () => {
    const tokens = await given();
    const { status, body } = await add({ ...tokens, expires_at: soon(HOUR) }, { on_duplicate: "reuse" });
    assert.deepEqual([status, made.includes(body.id), body.generation], [200, true, 2]);
  });

  test("are refreshed at once if their expiry is unknown", async () => {
    const { access_token, refresh_token } = await given();
    assert.equal(await countTokenRequests(dropbox, "refresh_token", async () => works(await add({ access_token, refresh_token }))), 1);
    assert.ok((await fixture.getConnection(made.at(-1))).credential.expires_at);
  });

  test("are refused if they are invalid, and nothing is stored", async () => {
    const tokens = await given();
    const before = (await fixture.listConnections("sim-dropbox")).length;
    dropbox.expireAccess();
    const dead = await add({ access_token: tokens.access_token, expires_at: soon(HOUR) });
    assert.deepEqual([dead.status, dead.body.code], [422, "credential_rejected"]);
    const revoked = await add({ access_token: "sl.u.unknown", refresh_token: "unknown-refresh-token", expires_at: soon(-60) });
    assert.deepEqual([revoked.status, revoked.body.code], [422, "credential_rejected"]);
    assert.equal((await fixture.listConnections("sim-dropbox")).length, before);
  });

  after(() => Promise.all(made.map((id) => fixture.requestApi("DELETE", `/v1/connections/${id}`))));
});

suite("a Microsoft client with a private key", () => {
  const { publicKey, privateKey } = createKeyPair();
  const path = "/v1/apps/sim-outlook/client";
  const key = { client_id: "outlook-key", client_secret: privateKey, variables: { tenant: "common" } };
  let microsoft;
  before(() => ({ microsoft } = fixture.apps));

  for (const [named, header] of Object.entries({ key_id: "kid", certificate: "x5t#S256" })) {
    test(`authenticates with it, the key named by ${header}: client test, connect and refresh`, async () => {
      const { redirect_uri } = await fixture.requestOk("PUT", path, { ...key, [named]: "thumb" });
      microsoft.register(key.client_id, { redirect_uris: [redirect_uri], certificates: [{ publicKey, id: "thumb" }] });
      assert.equal((await fixture.requestOk("POST", `${path}/test`)).verdict, "accepted");
      const id = await fixture.connect(microsoft, "/oauth/start/sim-outlook");
      await fixture.advanceTime(microsoft, id, OUTLOOK_LIFE + 1);
      const count = await countTokenRequests(microsoft, "refresh_token", async () => {
        const { request } = await fixture.resolve(id);
        assert.ok((await callAppApi(request, API.outlook)).works);
      });
      assert.equal(count, 1);
      await fixture.requestOk("DELETE", `/v1/connections/${id}`);
    });
  }

  test("is refused with another key, and an invalid key is not accepted", async () => {
    await fixture.requestOk("PUT", path, { ...key, client_secret: createKeyPair().privateKey, key_id: "thumb" });
    const { verdict } = await fixture.requestOk("POST", `${path}/test`);
    assert.equal(verdict, "refused");
    const broken = await fixture.requestApi("PUT", path, { ...key, client_secret: privateKey.slice(0, 300) });
    assert.deepEqual([broken.status, broken.body.errors[0].field], [422, "client_secret"]);
  });
});

suite("a connection that changes its auth method", () => {
  let notion, id;
  const works = async () => {
    const answer = await fixture.resolve(id);
    assert.ok((await callAppApi(answer.request, API.notion)).works);
    return answer.credential;
  };

  test("from consent to a manual token: the grant of the consent is revoked", async () => {
    ({ notion } = fixture.apps);
    id = await fixture.connect(notion, "/oauth/start/sim-notion?auth_method=oauth2");
    const { access_token } = await works();
    const { location } = await fixture.submitCredential(`/connections/${id}/reconnect?auth_method=api_key`, { api_key: notion.createInternalToken("ada") });
    assert.match(await fixture.answerQuestion(location, "switch", /another account/), new RegExp(`^/connections/${id}`));
    const { auth_method: way, credential, scopes, generation } = await fixture.getConnection(id);
    assert.deepEqual([way, credential.type, credential.refreshable, scopes.requested, generation], ["api_key", "api_key", false, [], 2]);
    assert.equal((await works()).type, "api_key");
    assert.equal(notion.findToken("access", access_token).state, "ended");
  });

  test("from a manual token back to consent", async () => {
    const flow = await fixture.completeConsent(notion, `/connections/${id}/reconnect?auth_method=oauth2`);
    await fixture.answerQuestion(flow, "switch", /another account/);
    const { auth_method: way, credential, generation } = await fixture.getConnection(id);
    assert.deepEqual([way, credential.type, credential.refreshable, generation], ["oauth2", "oauth2", true, 3]);
    assert.equal((await works()).type, "oauth2");
    assert.deepEqual(await fixture.requestOk("DELETE", `/v1/connections/${id}`), { revoked: "confirmed", retrying: false, undo_until: null });
  });
});

suite("a connect link for an app with a manual token", () => {
  test("accepts a token once, and stays open after a refused one", async () => {
    const { telegram } = fixture.apps;
    const { id: link, url } = await fixture.requestOk("POST", "/v1/links", { app: "sim-telegram", user: { id: "guest" } });
    const guest = new Person(fixture.installation);
    const path = pathOf(url);
    const refused = await guest.submit(path, { "input.token": `123456789:AA${"x".repeat(33)}` });
    assert.equal(refused.status, 422);
    assert.equal((await fixture.requestOk("GET", `/v1/links/${link}`)).status, "open");
    const token = telegram.createBot("guest");
    const { location } = await guest.submit(path, { "input.token": token });
    assert.match((await guest.get(location)).text, /Telegram simulated is connected/);
    const { status, connection } = await fixture.requestOk("GET", `/v1/links/${link}`);
    assert.equal(status, "used");
    const { user, account } = await fixture.getConnection(connection);
    assert.deepEqual([user.id, account.label], ["guest", "@guest_bot"]);
    assert.equal((await fixture.resolve(connection)).credential.token, token);
    assert.equal((await guest.get(path)).status, 410);
    await fixture.requestOk("DELETE", `/v1/connections/${connection}`);
  });
});

suite("expiry that only the app knows", () => {
  test("Slack: an expired access token cannot revoke itself, so it is refreshed first", async () => {
    const { slack } = fixture.apps;
    const id = await fixture.connect(slack, "/oauth/start/sim-slack");
    await fixture.advanceTime(slack, id, 12 * HOUR + 1);
    const { result, asked } = await recordRequests(slack, () => fixture.requestOk("DELETE", `/v1/connections/${id}`));
    assert.deepEqual(asked, ["POST slack.com/api/auth.revoke", "POST slack.com/api/oauth.v2.access", "POST slack.com/api/auth.revoke"]);
    assert.deepEqual(result, { revoked: "confirmed", retrying: false, undo_until: null });
    const fresh = slack.secrets("access").at(-1);
    assert.equal(slack.findToken("access", fresh).state, "ended");
  });

  test("Microsoft: an expired client secret marks the client, and a new one repairs every connection", async () => {
    const { microsoft } = fixture.apps;
    const path = "/v1/apps/sim-outlook/client";
    const dated = { client_id: "outlook-dated", client_secret: "the-first-secret-0123456789", variables: { tenant: "common" } };
    const { redirect_uri } = await fixture.requestOk("PUT", path, dated);
    microsoft.register(dated.client_id, { secret: dated.client_secret, redirect_uris: [redirect_uri] });
    const id = await fixture.connect(microsoft, "/oauth/start/sim-outlook");
    microsoft.register(dated.client_id, { secretExpired: true });
    await fixture.advanceTime(microsoft, id, OUTLOOK_LIFE + 1);
    const refused = await fixture.resolveRefused(id);
    assert.deepEqual([refused.status, refused.code], [409, "client_misconfigured"]);
    const { status, attention } = await fixture.getConnection(id);
    assert.equal(status, "connected");
    assert.ok(attention.some(({ code }) => code === "client_misconfigured"));
    microsoft.register(dated.client_id, { secret: "the-second-secret-0123456789", secretExpired: false });
    await fixture.requestOk("PUT", path, { ...dated, client_secret: "the-second-secret-0123456789" });
    await fixture.advanceTime(microsoft, id, 120);
    assert.ok((await callAppApi((await fixture.resolve(id)).request, API.outlook)).works);

    microsoft.withdrawConsent("ada", ["User.Read"]);
    await fixture.advanceTime(microsoft, id, OUTLOOK_LIFE + 1);
    const withdrawn = await fixture.resolveRefused(id);
    assert.deepEqual([withdrawn.code, withdrawn.reason], ["needs_reconnect", "revoked"]);
    await fixture.requestOk("DELETE", `/v1/connections/${id}`);
  });

  test("Microsoft: an answer without scopes has granted the requested ones", async () => {
    const { microsoft } = fixture.apps;
    microsoft.omitScope = true;
    const id = await fixture.connect(microsoft, "/oauth/start/sim-outlook");
    const { scopes } = await fixture.getConnection(id);
    assert.deepEqual([scopes.missing, scopes.granted.includes("Mail.Send")], [[], true]);
    await fixture.requestOk("DELETE", `/v1/connections/${id}`);
    microsoft.omitScope = false;
  });

  test("Google: grants of a testing client expire after seven days, which is shown before and after", async () => {
    const { google: sim } = fixture.apps;
    sim.register("gmail-client", { testing: true });
    const id = await fixture.connect(sim, "/oauth/start/sim-gmail");
    const { credential, attention } = await fixture.getConnection(id);
    const days = (new Date(credential.ends_at) - Date.now()) / 86_400_000;
    assert.ok(days > 6.9 && days < 7.1, credential.ends_at);
    assert.ok(attention.some(({ code }) => code === "expires_soon"), JSON.stringify(attention));
    await fixture.advanceTime(sim, id, 8 * 86_400);
    await fixture.installation.run("UPDATE connections SET refresh_expires_at = refresh_expires_at - ?2 WHERE id = ?1", id, 8 * 86_400);
    const refused = await fixture.resolveRefused(id);
    assert.deepEqual([refused.code, refused.reason], ["needs_reconnect", "expired"]);
    await fixture.requestOk("DELETE", `/v1/connections/${id}`);
    sim.register("gmail-client", { testing: false });
  });

  test("Telegram: a scheduled run finds a token that BotFather revoked", async () => {
    const { telegram } = fixture.apps;
    const credential = { type: "bot_token", token: telegram.createBot("ada") };
    const { id } = await fixture.requestOk("POST", "/v1/connections", { app: "sim-telegram", credential });
    const strike = async () => {
      await fixture.installation.run("UPDATE connections SET next_check_at = 1 WHERE id = ?1", id);
      await fixture.installation.runScheduled();
      const { status, reason, check_evidence } = await fixture.getConnection(id);
      return [status, reason, check_evidence];
    };
    assert.deepEqual(await strike(), ["connected", null, "probe: accepted"]);
    telegram.failNext({ status: 429, body: { ok: false, error_code: 429, description: "Too Many Requests", parameters: { retry_after: 7 } } });
    assert.deepEqual((await strike()).slice(0, 2), ["connected", null], "an app that asks to wait says nothing of the token");
    telegram.revoke("ada");
    await fixture.advanceTime(telegram, id, 60);
    assert.deepEqual(await strike(), ["needs_reconnect", "credential_rejected", "probe: refused"]);
    await fixture.requestOk("DELETE", `/v1/connections/${id}`);
  });

  test("Notion: a connection without pages works and says so, until a check sees a page", async () => {
    const { notion } = fixture.apps;
    notion.accounts.set("ada", { pages: [] });
    const id = await fixture.connect(notion, "/oauth/start/sim-notion");
    assert.ok((await callAppApi((await fixture.resolve(id)).request, API.notion)).works);
    const { attention } = await fixture.getConnection(id);
    assert.deepEqual(attention.map(({ code }) => code), ["nothing_shared"]);
    assert.match((await fixture.person.get(`/connections/${id}`)).text, /Notion shows it no page/);
    assert.deepEqual((await fixture.requestOk("GET", "/v1/connections?attention=nothing_shared")).data.map((one) => one.id), [id]);
    notion.accounts.delete("ada");
    const { health, connection } = await fixture.requestOk("POST", `/v1/connections/${id}/check`);
    assert.deepEqual([health, connection.attention], ["healthy", []]);
    await fixture.requestOk("DELETE", `/v1/connections/${id}`);
  });

  test("Notion: without a refresh token the connection needs a reconnect when the access token ends", async () => {
    const { notion } = fixture.apps;
    notion.refreshTokens = false;
    const id = await fixture.connect(notion, "/oauth/start/sim-notion");
    notion.refreshTokens = true;
    assert.equal((await fixture.getConnection(id)).credential.refreshable, false);
    assert.ok((await callAppApi((await fixture.resolve(id)).request, API.notion)).works);
    notion.expireAccess();
    const { connection } = await fixture.requestOk("POST", `/v1/connections/${id}/check`);
    assert.deepEqual([connection.status, connection.reason], ["needs_reconnect", "credential_rejected"]);
    await fixture.requestOk("DELETE", `/v1/connections/${id}`);
  });
});

suite("refusals by a person or an app", () => {
  for (const [file, [simulator]] of Object.entries(CLIENTS)) {
    const app = `sim-${file}`;
    test(`${file}: a denial stores nothing and offers to try again`, async () => {
      const flow = await fixture.completeConsent(fixture.apps[simulator], `/oauth/start/${app}`, { deny: true });
      const { text, html } = await fixture.person.get(flow);
      assert.match(text, /You did not allow access .* nothing was stored/);
      assert.ok(html.includes(`href="/oauth/start/${app}"`));
      assert.deepEqual(await fixture.listConnections(app), []);
    });
  }

  test("Microsoft: if an administrator must approve, the page says whom to ask for what", async () => {
    const { microsoft } = fixture.apps;
    microsoft.adminOnly.add("Mail.Send");
    const before = (await fixture.listConnections("sim-outlook")).length;
    for (const asked of [["consent_required", 90094], ["access_denied", 90094], ["access_denied", 90095], ["consent_required", 65001]]) {
      microsoft.adminError = asked;
      const flow = await fixture.completeConsent(microsoft, "/oauth/start/sim-outlook");
      const { text, html } = await fixture.person.get(flow);
      assert.match(text, /an administrator of your organisation has to approve it .* Nothing was stored/, asked.join());
      assert.doesNotMatch(text, /You did not allow/);
      const { client_id } = await fixture.requestOk("GET", "/v1/apps/sim-outlook/client");
      assert.ok(text.includes(`application with the client id ${client_id}`));
      assert.match(html, /href="https:\/\/learn\.microsoft\.com\/[^"]*grant-admin-consent"/);
      assert.ok(html.includes('href="/oauth/start/sim-outlook"'), "another try, once it is approved");
    }
    microsoft.adminOnly.clear();
    assert.equal((await fixture.listConnections("sim-outlook")).length, before);
  });

  test("Microsoft: the embedding product is told that an administrator must approve", async () => {
    const { microsoft } = fixture.apps;
    await fixture.requestOk("PATCH", "/v1/workspace", { allowed_origins: ["https://product.example"] });
    const { url } = await fixture.requestOk("POST", "/v1/links", { app: "sim-outlook", return_to: "https://product.example/done" });
    microsoft.adminOnly.add("Mail.Send");
    const { html } = await fixture.person.get(await fixture.completeConsent(microsoft, pathOf(url)));
    microsoft.adminOnly.clear();
    assert.match(html, /href="https:\/\/product\.example\/done\?status=failed&amp;error=approval_required"/);
  });

  test("a Stripe key without permission to read its account works, and the account is unknown", async () => {
    const { stripe } = fixture.apps;
    const key = stripe.createKey("ada", { permissions: ["balance"] });
    const { status, body } = await fixture.requestApi("POST", "/v1/connections", { app: "sim-stripe", credential: { type: "api_key", api_key: key } });
    assert.equal(status, 201, JSON.stringify(body));
    assert.deepEqual([body.account, body.name], [null, "Stripe simulated (test mode)"]);
    assert.ok((await callAppApi((await fixture.resolve(body.id)).request, { path: "balance" })).works);
    assert.equal((await fixture.requestOk("POST", `/v1/connections/${body.id}/check`)).health, "healthy");
    await fixture.requestOk("DELETE", `/v1/connections/${body.id}`);
  });

  test("a Stripe App without permission to read the account's name connects, and shows the account's id", async () => {
    const { stripe } = fixture.apps;
    const client = { client_id: "ca_shy", client_secret: "sk_test_shydevelopershy" };
    const { redirect_uri } = await fixture.requestOk("PUT", "/v1/apps/sim-stripe/client?auth_method=apps", client);
    stripe.register(client.client_id, { secret: client.client_secret, redirect_uris: [redirect_uri] });
    stripe.appPermissions = ["balance"];
    const id = await fixture.connect(stripe, "/oauth/start/sim-stripe?auth_method=apps");
    const { id: acct } = stripe.account("ada");
    assert.deepEqual((await fixture.getConnection(id)).account, { id: `${acct}:test`, label: `${acct} (test mode)` });
    assert.ok((await callAppApi((await fixture.resolve(id)).request, { path: "balance" })).works);
    stripe.appPermissions = undefined;
    assert.equal(await fixture.connect(stripe, `/connections/${id}/reconnect`), id, "with another label it is the same account");
    assert.deepEqual((await fixture.getConnection(id)).account, { id: `${acct}:test`, label: "ada (test mode)" });
    await fixture.requestOk("DELETE", `/v1/connections/${id}`);
  });

  test("a live Stripe key is labelled live, and a platform's key acts for a connected account", async () => {
    const { stripe } = fixture.apps;
    const add = async (way, credential) => fixture.requestOk("POST", "/v1/connections", { app: "sim-stripe", auth_method: way, credential: { type: "api_key", ...credential } });
    const live = await add("api_key", { api_key: stripe.createKey("ada", { live: true }) });
    assert.equal(live.account.label, "ada (live mode)");
    const { id } = stripe.account("ada");
    const platform = await add("platform", { api_key: stripe.createKey("platform", { connected: ["ada"] }), account: id });
    assert.deepEqual(platform.account, { id: `${id}:test`, label: "ada (test mode)" });
    const { request } = await fixture.resolve(platform.id);
    assert.equal(request.headers["Stripe-Account"], id);
    const told = await callAppApi(request, { path: "account" });
    assert.equal(told.body.id, id);
    const replaced = await fixture.requestApi("PUT", `/v1/connections/${live.id}/credential`, { credential: { type: "api_key", api_key: stripe.createKey("ada") } });
    assert.deepEqual([replaced.status, replaced.body.code], [422, "invalid_request"], "a test key does not take the place of a live one");
    for (const one of [live, platform]) await fixture.requestOk("DELETE", `/v1/connections/${one.id}`);
  });

  test("a Google service account acts for a person only if an administrator has allowed it", async () => {
    const { google: sim } = fixture.apps;
    const scopes = ["openid", google("userinfo.email"), google("gmail.readonly")];
    const key = sim.createServiceAccount("mailer", { delegated: { "boss@example.test": scopes } });
    const add = (subject) => {
      const credential = { type: "service_account", key: JSON.parse(key), subject };
      return fixture.requestApi("POST", "/v1/connections", { app: "sim-gmail", scopes, credential });
    };
    const refused = await add("other@example.test");
    assert.deepEqual([refused.status, refused.body.code], [422, "credential_rejected"]);
    assert.match(refused.body.detail, /unauthorized_client/);
    const { status, body } = await add("boss@example.test");
    assert.equal(status, 201, JSON.stringify(body));
    assert.equal(body.account.label, "boss@example.test");
    const told = await callAppApi((await fixture.resolve(body.id)).request, API.gmail);
    assert.equal(told.body.emailAddress, "boss@example.test");
    await fixture.requestOk("DELETE", `/v1/connections/${body.id}`);
  });
});

defineSecretLeakSuite(() => fixture, 60);
