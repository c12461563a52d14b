// Owns the proof that simulated Slack, Google and Notion behave as the apps' documentation says, and accept nothing
// that the real apps refuse. Each is called directly, without the Worker.

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { after, before, suite, test } from "node:test";
import { createAppClient, CALLBACK_URL, BASIC, CLIENT, exchangeBody, signJwt, unixNow, refreshBody } from "../support/apps/requests.mjs";
import { startApps } from "../support/apps/index.mjs";
import { createKeyPair } from "../support/apps/signed-assertions.mjs";

const VERIFIER = "v".repeat(43);
const CHALLENGE = { code_challenge: createHash("sha256").update(VERIFIER).digest("base64url"), code_challenge_method: "S256" };

let apps, request, get, visit;
before(async () => {
  apps = await startApps();
  ({ request, get, visit } = createAppClient(apps.origin));
  for (const app of [apps.slack, apps.google, apps.notion]) app.register(CLIENT.id, { secret: CLIENT.secret, redirect_uris: [CALLBACK_URL] });
});
after(() => apps.close());

suite("Slack", () => {
  const AUTHORIZE = "slack.com/oauth/v2/authorize";
  const access = (form, basic = BASIC) => request("slack.com/api/oauth.v2.access", { form, basic }).then(({ status, body }) => (assert.equal(status, 200), body));
  const call = (method, bearer, form) => request(`slack.com/api/${method}`, { bearer, form });

  test("returns bot and user token in one answer, with accumulated scopes", async () => {
    assert.equal(await visit(AUTHORIZE, { scope: "chat:write channels:read" }), 400, "commas separate");
    const { code } = await visit(AUTHORIZE, { scope: "chat:write", user_scope: "search:read" });
    const got = await access(exchangeBody(code));
    assert.equal(got.ok && got.scope, "chat:write");
    assert.match(got.access_token, /^xoxb-/);
    assert.match(got.authed_user.access_token, /^xoxp-/);
    assert.equal(got.expires_in, undefined);
    assert.equal((await access(exchangeBody(code))).error, "invalid_code", "a code works once");
    const more = await access(exchangeBody((await visit(AUTHORIZE, { scope: "users:read" })).code));
    assert.equal(more.scope, "chat:write,users:read");
    const missing = await call("conversations.list", got.access_token);
    assert.deepEqual(missing.body, { ok: false, error: "missing_scope", needed: "channels:read", provided: "chat:write,users:read" });
    assert.equal(missing.headers.get("x-oauth-scopes"), "chat:write,users:read");
    const [bot, user] = await Promise.all([got, got.authed_user].map(({ access_token }) => call("auth.test", access_token)));
    assert.equal(bot.body.user_id, got.bot_user_id);
    assert.equal(user.body.user_id, got.authed_user.id);
    const pasted = apps.slack.createToken("ada", { type: "user" });
    assert.equal((await call("auth.test", pasted)).body.user_id, got.authed_user.id);
    assert.equal((await call("auth.revoke", got.access_token)).body.revoked, true);
    assert.equal((await call("auth.test", got.authed_user.access_token)).body.ok, false, "without rotation everything ends");
  });

  test("refuses a wrong client, redirect URI or verifier with HTTP 200", async () => {
    const code = async (more) => (await visit(AUTHORIZE, { scope: "chat:write", ...more })).code;
    assert.equal((await access(exchangeBody(await code()), ["nobody", "x"])).error, "invalid_client_id");
    assert.equal((await access(exchangeBody(await code()), [CLIENT.id, "x"])).error, "bad_client_secret");
    assert.equal((await access(exchangeBody(await code(), { redirect_uri: `${CALLBACK_URL}/x` }))).error, "bad_redirect_uri");
    assert.equal((await access(exchangeBody(await code(CHALLENGE), { code_verifier: "x".repeat(43) }))).error, "invalid_code");
    assert.equal((await access(exchangeBody(await code(CHALLENGE), { code_verifier: VERIFIER }))).ok, true);
    assert.equal(await visit(AUTHORIZE, { scope: "chat:write", redirect_uri: "https://other.example/" }), 400);
  });

  test("rotates both tokens separately, and accepts a used refresh token for a short time", async () => {
    const { slack } = apps;
    slack.register("rotating", { secret: CLIENT.secret, redirect_uris: [CALLBACK_URL], rotation: true });
    slack.person.account = "grid";
    slack.accounts.set("grid", { team: null, enterprise: { id: "E1", name: "Acme Group" } });
    const basic = ["rotating", CLIENT.secret];
    const { code } = await visit(AUTHORIZE, { client_id: "rotating", scope: "chat:write", user_scope: "search:read" });
    const got = await access(exchangeBody(code), basic);
    assert.deepEqual([got.team, got.is_enterprise_install, got.expires_in], [null, true, 43_200]);
    const user = await access(refreshBody(got.authed_user.refresh_token), basic);
    assert.deepEqual([user.token_type, user.scope], ["user", "search:read"]);
    assert.match(user.access_token, /^xoxe\.xoxp-1-/);
    const second = await access(refreshBody(got.refresh_token), basic);
    const third = await access(refreshBody(got.refresh_token), basic);
    assert.deepEqual([second.token_type, third.ok], ["bot", true]);
    assert.equal((await call("auth.test", got.access_token)).body.error, "token_revoked", "two may live");
    slack.clock.advance(60);
    assert.equal((await access(refreshBody(got.refresh_token), basic)).error, "invalid_refresh_token");
    slack.expireAccess();
    assert.equal((await call("auth.test", third.access_token)).body.error, "token_expired");
    slack.revoke("grid");
    assert.equal((await access(refreshBody(third.refresh_token), basic)).error, "invalid_refresh_token");
    slack.person.account = "ada";
  });
});

suite("Google", () => {
  const AUTHORIZE = "accounts.google.com/o/oauth2/v2/auth";
  const [SEND, READ, SHEETS] = ["gmail.send", "gmail.readonly", "spreadsheets"].map((name) => `https://www.googleapis.com/auth/${name}`);
  const offline = { access_type: "offline" };
  const token = (form) => request("oauth2.googleapis.com/token", { form: { client_id: CLIENT.id, client_secret: CLIENT.secret, ...form } });
  const connect = async (params) => (await token(exchangeBody((await visit(AUTHORIZE, { ...offline, ...params })).code))).body;

  test("issues a refresh token once or on a new consent, and names the granted scopes", async () => {
    const { google } = apps;
    google.person.untick = [READ];
    const first = await connect({ scope: `openid email ${SEND} ${READ}` });
    assert.equal(first.scope, `openid https://www.googleapis.com/auth/userinfo.email ${SEND}`);
    assert.match(first.refresh_token, /^1\/\//);
    google.person.untick = [];
    assert.equal((await connect({ scope: `openid email ${SEND}` })).refresh_token, undefined);
    const merged = await connect({ scope: SHEETS, include_granted_scopes: "true", prompt: "select_account consent" });
    assert.deepEqual(merged.scope.split(" ").sort(), [SHEETS, ...first.scope.split(" ")].sort());
    assert.ok(merged.refresh_token);
    const refreshed = (await token(refreshBody(first.refresh_token))).body;
    assert.deepEqual([refreshed.scope, refreshed.refresh_token], [first.scope, undefined]);
    const who = await get("openidconnect.googleapis.com/v1/userinfo", { bearer: refreshed.access_token });
    assert.equal(who.body.email, "ada@example.test");
    const profile = (bearer) => get("gmail.googleapis.com/gmail/v1/users/me/profile", { bearer });
    assert.equal((await profile(first.access_token)).status, 403, "sending is not reading");
    assert.equal((await get("sheets.googleapis.com/v4/spreadsheets/budget", { bearer: merged.access_token })).body.spreadsheetId, "budget");
    assert.equal((await request("oauth2.googleapis.com/revoke", { form: { token: merged.access_token } })).status, 200);
    assert.equal((await token(refreshBody(first.refresh_token))).body.error, "invalid_grant", "all that the account gave the project");
    assert.equal((await profile(first.access_token)).status, 401);
  });

  test("ends the oldest of too many grants without a message, and grants of testing clients after seven days", async () => {
    const { google } = apps;
    google.grantsLimit = 2;
    const three = [];
    for (let index = 0; index < 3; index += 1) three.push(await connect({ scope: `openid ${SEND}`, prompt: "consent" }));
    const answers = await Promise.all(three.map(({ refresh_token }) => token(refreshBody(refresh_token))));
    assert.deepEqual(answers.map(({ status }) => status), [400, 200, 200]);
    google.register("testing", { ...CLIENT, redirect_uris: [CALLBACK_URL], testing: true });
    const testing = { client_id: "testing" };
    const { code } = await visit(AUTHORIZE, { ...testing, ...offline, prompt: "consent", scope: SEND });
    const got = (await token(exchangeBody(code, testing))).body;
    assert.equal(got.refresh_token_expires_in, 604_799);
    google.clock.advance(700_000);
    assert.equal((await token(refreshBody(got.refresh_token, testing))).body.error, "invalid_grant");
    assert.equal((await token(exchangeBody("x", { client_secret: "x" }))).status, 401);
  });

  test("accepts an assertion only with a valid signature, issuer, audience and time", async () => {
    const { private_key, client_email, private_key_id } = JSON.parse(apps.google.createServiceAccount("robot", { delegated: { "boss@example.test": [READ] } }));
    const claims = { iss: client_email, aud: `${apps.origin}/oauth2.googleapis.com/token`, scope: SHEETS, iat: unixNow(), exp: unixNow() + 3600 };
    const grant = (change = {}, key = private_key) =>
      request("oauth2.googleapis.com/token", {
        form: { grant_type: "urn:ietf:params:oauth:grant-type:jwt-bearer", assertion: signJwt({ alg: "RS256", typ: "JWT", kid: private_key_id }, { ...claims, ...change }, key) },
      });
    const { body } = await grant();
    assert.equal(body.expires_in, 3599);
    assert.equal((await get("sheets.googleapis.com/v4/spreadsheets/missing", { bearer: body.access_token })).status, 404);
    for (const wrong of [{ iss: "x@example.test" }, { aud: "https://oauth2.googleapis.com/token" }, { exp: unixNow() - 1 }, { exp: unixNow() + 7200 }])
      assert.equal((await grant(wrong)).body.error, "invalid_grant", JSON.stringify(wrong));
    assert.equal((await grant({}, createKeyPair().privateKey)).body.error_description, "Invalid JWT Signature.");
    assert.equal((await grant({ sub: "other@example.test" })).body.error, "unauthorized_client");
    assert.equal((await grant({ sub: "boss@example.test", scope: READ })).status, 200);
  });
});

suite("Notion", () => {
  const AUTHORIZE = "api.notion.com/v1/oauth/authorize";
  const headers = { "notion-version": "2026-03-11" };
  const token = (json, basic = BASIC) => request("api.notion.com/v1/oauth/token", { json, basic, headers });

  test("accepts only Basic and JSON, requires its version header, rotates, and identifies a connection by its bot", async () => {
    const { notion } = apps;
    const { code } = await visit(AUTHORIZE, { owner: "user" });
    assert.equal((await request("api.notion.com/v1/oauth/token", { form: exchangeBody(code), basic: BASIC, headers })).body.code, "invalid_json");
    assert.equal((await request("api.notion.com/v1/oauth/token", { json: exchangeBody(code), basic: BASIC })).body.code, "missing_version");
    assert.equal((await token(exchangeBody(code), [CLIENT.id, "x"])).body.error, "invalid_client");
    const { body } = await token(exchangeBody(code));
    const me = await get("api.notion.com/v1/users/me", { bearer: body.access_token, headers });
    assert.equal(me.body.id, body.bot_id);
    const next = await token(refreshBody(body.refresh_token));
    assert.equal(next.body.bot_id, body.bot_id);
    assert.equal((await token(refreshBody(body.refresh_token))).body.error, "invalid_grant");
    notion.accounts.set("ada", { pages: [] });
    const search = await request("api.notion.com/v1/search", { bearer: next.body.access_token, headers, json: {} });
    assert.deepEqual(search.body.results, [], "connected, and sees nothing");
    notion.refreshTokens = false;
    assert.equal((await token(exchangeBody((await visit(AUTHORIZE, { owner: "user" })).code))).body.refresh_token, null);
    assert.equal((await request("api.notion.com/v1/oauth/revoke", { json: { token: next.body.access_token }, basic: BASIC, headers })).status, 200);
    assert.equal((await get("api.notion.com/v1/users/me", { bearer: next.body.access_token, headers })).body.code, "unauthorized");
    notion.person.deny = true;
    assert.equal((await visit(AUTHORIZE, { owner: "user" })).error, "access_denied");
    notion.person.deny = false;
  });
});
