// Owns the proof that the other simulated apps behave as the apps' documentation says, and accept nothing that the real
// apps refuse. Each is called directly, without the Worker.

import assert from "node:assert/strict";
import { createHash, randomUUID } from "node:crypto";
import { after, before, suite, test } from "node:test";
import { createAppClient, CALLBACK_URL, BASIC, CLIENT, exchangeBody, signJwt, unixNow, refreshBody } from "../support/apps/requests.mjs";
import { relocateDefinition, startApps } from "../support/apps/index.mjs";
import { createKeyPair } from "../support/apps/signed-assertions.mjs";

const VERIFIER = "v".repeat(43);
const CHALLENGE = { code_challenge: createHash("sha256").update(VERIFIER).digest("base64url"), code_challenge_method: "S256" };

let apps, request, get, visit;
before(async () => {
  apps = await startApps();
  ({ request, get, visit } = createAppClient(apps.origin));
  for (const app of [apps.microsoft, apps.dropbox]) app.register(CLIENT.id, { secret: CLIENT.secret, redirect_uris: [CALLBACK_URL] });
});
after(() => apps.close());

suite("Stripe", () => {
  const account = (bearer, more) => get("api.stripe.com/v1/account", { bearer, ...more });
  before(() => apps.stripe.register("ca_1", { secret: "sk_test_platform", redirect_uris: [CALLBACK_URL] }));

  test("distinguishes keys by mode, permission and expiry", async () => {
    const { stripe } = apps;
    const key = stripe.createKey("ada", { live: true });
    assert.match((await account(key)).body.id, /^acct_/);
    assert.equal((await account(undefined, { basic: [key, ""] })).status, 200);
    assert.equal((await get("api.stripe.com/v1/balance", { bearer: key })).body.livemode, true);
    assert.equal((await account(stripe.createKey("ada", { permissions: ["customers"] }))).status, 403);
    assert.equal((await account(stripe.createKey("ada", { kind: "pk" }))).status, 401);
    assert.match((await account("rk_live_secret")).body.error.message, /provided: rk_live_\*\*\*\*$/);
    const platform = stripe.createKey("platform", { connected: ["ada"] });
    const on = async (name) => (await account(platform, { headers: { "stripe-account": stripe.account(name).id } })).body;
    assert.equal((await on("ada")).id, stripe.account("ada").id);
    assert.equal((await on("eve")).error.code, "account_invalid");
    stripe.revoke("ada");
    assert.equal((await account(key)).body.error.code, "api_key_expired");
  });

  test("Connect: an exchange needs the secret key, and a second one ends the connection", async () => {
    const visitConnect = () => visit("connect.stripe.com/oauth/authorize", { client_id: "ca_1", scope: "read_write" });
    const token = (form) => request("connect.stripe.com/oauth/token", { form });
    const { code, scope } = await visitConnect();
    assert.equal(scope, "read_write");
    assert.equal((await token(exchangeBody(code, { client_secret: "sk_test_other" }))).status, 401);
    const { body } = await token(exchangeBody(code, { client_secret: "sk_test_platform" }));
    assert.deepEqual([body.livemode, body.expires_in, body.scope], [false, undefined, "read_write"]);
    assert.equal((await account("sk_test_platform", { headers: { "stripe-account": body.stripe_user_id } })).body.id, body.stripe_user_id);
    const again = (await token(refreshBody(body.refresh_token, { client_secret: "sk_test_platform" }))).body;
    assert.equal((await account(body.access_token)).status, 401, "a refresh ends the access token before");
    assert.equal((await account(again.access_token)).status, 200);
    assert.equal((await token(exchangeBody(code, { client_secret: "sk_test_platform" }))).body.error, "invalid_grant");
    assert.equal((await account(again.access_token)).status, 401);
    const deauthorize = () =>
      request("connect.stripe.com/oauth/deauthorize", { basic: ["sk_test_platform", ""], form: { client_id: "ca_1", stripe_user_id: body.stripe_user_id } });
    assert.equal((await deauthorize()).body.error, "invalid_client");
    await request("connect.stripe.com/oauth/token", { basic: ["sk_test_platform", ""], form: exchangeBody((await visitConnect()).code) });
    assert.equal((await deauthorize()).body.stripe_user_id, body.stripe_user_id);
  });

  test("Apps: access expires after an hour, and every exchange replaces the refresh token", async () => {
    const token = (form) => request("api.stripe.com/v1/oauth/token", { form, basic: ["sk_test_platform", ""] });
    const { code } = await visit("marketplace.stripe.com/oauth/v2/authorize", { client_id: "ca_1" });
    assert.equal((await request("api.stripe.com/v1/oauth/token", { form: exchangeBody(code, { client_secret: "sk_test_platform" }) })).status, 401);
    const { body } = await token(exchangeBody(code));
    assert.equal(body.scope, "stripe_apps");
    apps.stripe.clock.advance(3601);
    assert.equal((await account(body.access_token)).status, 401);
    const next = (await token(refreshBody(body.refresh_token))).body;
    assert.equal((await account(next.access_token)).status, 200);
    assert.equal((await token(refreshBody(body.refresh_token))).body.error, "invalid_grant");
  });
});

suite("Microsoft", () => {
  const at = (tenant, endpoint) => `login.microsoftonline.com/${tenant}/oauth2/v2.0/${endpoint}`;
  const scope = "User.Read Mail.Read offline_access";
  const token = (form, tenant = "common") => request(at(tenant, "token"), { form: { client_id: CLIENT.id, client_secret: CLIENT.secret, ...form } });
  const code = async (more) => (await visit(at("common", "authorize"), { scope, ...more })).code;

  test("replaces refresh tokens while the old ones keep working, and admits accounts by tenant", async () => {
    const { microsoft } = apps;
    const { body } = await token(exchangeBody(await code(CHALLENGE), { code_verifier: VERIFIER }));
    assert.deepEqual([body.scope, body.token_type], ["User.Read Mail.Read", "Bearer"]);
    const me = await get("graph.microsoft.com/v1.0/me", { bearer: body.access_token });
    assert.equal(me.body.userPrincipalName, "ada@acme.example");
    const next = (await token(refreshBody(body.refresh_token))).body;
    assert.notEqual(next.refresh_token, body.refresh_token);
    assert.equal((await token(refreshBody(body.refresh_token, { scope: "User.Read" }))).body.refresh_token, undefined);
    assert.equal((await token(refreshBody(body.refresh_token), "consumers")).body.error_codes[0], 50020);
    assert.equal(await visit(at("consumers", "authorize"), { scope }), 400);
    microsoft.withdrawConsent("ada", ["Mail.Read"]);
    assert.equal((await token(refreshBody(next.refresh_token))).body.error, "consent_required");
    microsoft.revoke("ada");
    const dead = (await token(refreshBody(next.refresh_token))).body;
    assert.deepEqual([dead.error, dead.error_codes], ["invalid_grant", [50173]]);
    assert.match(dead.error_description, /^AADSTS50173: /);
    assert.equal((await get("graph.microsoft.com/v1.0/me", { bearer: next.access_token })).status, 200, "to its end");
    microsoft.expireAccess();
    assert.equal((await get("graph.microsoft.com/v1.0/me", { bearer: next.access_token })).body.error.code, "InvalidAuthenticationToken");
    microsoft.adminOnly.add("Mail.Send");
    assert.equal((await visit(at("common", "authorize"), { scope: "Mail.Send" })).error, "consent_required");
  });

  test("says what is wrong with a client, and verifies its assertion", async () => {
    const { microsoft } = apps;
    const { publicKey, privateKey } = createKeyPair();
    microsoft.register("dated", { secret: "old", secretExpired: true, redirect_uris: [CALLBACK_URL], certificates: [{ publicKey, id: "thumb" }] });
    assert.equal((await token(exchangeBody("x", { client_secret: "x" }))).body.error_codes[0], 7000215);
    assert.equal((await token(exchangeBody("x", { client_id: "dated", client_secret: "old" }))).body.error_codes[0], 7000222);
    const claims = { iss: "dated", sub: "dated", aud: `${apps.origin}/${at("common", "token")}`, iat: unixNow(), nbf: unixNow(), exp: unixNow() + 300 };
    const asserted = async (change = {}, kid = "thumb") => {
      const client_assertion = signJwt({ alg: "RS256", typ: "JWT", kid }, { ...claims, jti: randomUUID(), ...change }, privateKey);
      const client_assertion_type = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
      return request(at("common", "token"), { form: exchangeBody(await code({ client_id: "dated" }), { client_id: "dated", client_assertion, client_assertion_type }) });
    };
    assert.equal((await asserted({ jti: "once" })).status, 200);
    const wrong = [[{ jti: "once" }], [{ aud: "x" }], [{ exp: unixNow() - 1 }], [{ sub: "x" }], [{}, "other"]];
    const codes = await Promise.all(wrong.map(async (one) => (await asserted(...one)).body.error_codes[0]));
    assert.deepEqual(codes, [9002313, 700023, 700024, 700021, 700027]);
  });
});

suite("Dropbox", () => {
  const AUTHORIZE = "www.dropbox.com/oauth2/authorize";
  const token = (form) => request("api.dropboxapi.com/oauth2/token", { form, basic: BASIC });
  const call = (route, bearer, text = "null") => request(`api.dropboxapi.com/2/${route}`, { bearer, text, headers: { "content-type": "application/json" } });

  test("issues refresh tokens only on request, accepts a literal null, tags errors, and revokes all tokens of an account", async () => {
    const { dropbox } = apps;
    assert.equal((await token(exchangeBody((await visit(AUTHORIZE)).code))).body.refresh_token, undefined);
    const scoped = { token_access_type: "offline", scope: "account_info.read" };
    const { code } = await visit(AUTHORIZE, scoped);
    assert.equal((await request("api.dropboxapi.com/oauth2/token", { json: exchangeBody(code), basic: BASIC })).status, 400);
    const { body } = await token(exchangeBody(code));
    assert.equal((await call("users/get_current_account", body.access_token)).body.account_id, body.account_id);
    assert.equal((await call("users/get_current_account", body.access_token, "{}")).status, 400);
    const missing = await call("files/list_folder", body.access_token, '{"path":""}');
    assert.deepEqual([missing.status, missing.body.error.required_scope], [401, "files.metadata.read"]);
    dropbox.expireAccess();
    assert.equal((await call("users/get_current_account", body.access_token)).body.error[".tag"], "expired_access_token");
    const next = (await token(refreshBody(body.refresh_token))).body;
    assert.equal(next.refresh_token, undefined);
    const sibling = (await token(exchangeBody((await visit(AUTHORIZE, scoped)).code))).body;
    assert.equal((await call("auth/token/revoke", next.access_token)).text, "null");
    assert.equal((await call("users/get_current_account", sibling.access_token)).body.error[".tag"], "invalid_access_token");
    assert.equal((await token(refreshBody(body.refresh_token))).body.error, "invalid_grant");
    const all = (await token(exchangeBody((await visit(AUTHORIZE)).code))).body;
    assert.equal((await call("files/list_folder", all.access_token, '{"path":"/x"}')).status, 409);
  });
});

suite("Telegram", () => {
  test("has the token in the path, and removes it from the log", async () => {
    const { telegram } = apps;
    const token = telegram.createBot("ada");
    const me = await get(`api.telegram.org/bot${token}/getMe`);
    assert.equal(String(me.body.result.id), token.split(":")[0]);
    assert.equal((await get("api.telegram.org/bot123:ABC/getMe")).body.error_code, 401);
    assert.equal((await get("api.telegram.org/botabc:ABC/getMe")).body.error_code, 404);
    assert.equal((await get(`api.telegram.org/bot${token}/noSuch`)).body.error_code, 404);
    await request(`api.telegram.org/bot${token}/setWebhook`, { form: { url: "https://a.example/" } });
    assert.equal((await get(`api.telegram.org/bot${token}/getUpdates`)).status, 409);
    telegram.revoke("ada");
    assert.equal((await get(`api.telegram.org/bot${token}/getMe`)).status, 401);
    assert.doesNotMatch(JSON.stringify(telegram.requests), new RegExp(token));
    assert.deepEqual(telegram.secrets(), [token]);
  });
});

suite("all", () => {
  test("a request can be made to fail before or after it is carried out, or to break", async () => {
    const { dropbox } = apps;
    const failing = (failure) => (dropbox.failNext(failure), request("api.dropboxapi.com/oauth2/token", { form: exchangeBody("x"), basic: BASIC }));
    const before = dropbox.tokenRequests.authorization_code;
    const { status, body, headers } = await failing({ status: 503, body: { error: "busy" }, headers: { "retry-after": "7" }, at: "/oauth2/token" });
    assert.deepEqual([status, body.error, headers.get("retry-after"), dropbox.tokenRequests.authorization_code], [503, "busy", "7", before]);
    assert.equal((await failing({ status: 500, afterwards: true })).status, 500);
    assert.equal(dropbox.tokenRequests.authorization_code, before + 1);
    await assert.rejects(failing({}));
    assert.deepEqual(dropbox.requests.at(-2), { method: "POST", path: "api.dropboxapi.com/oauth2/token", status: 500 });
  });

  test("every address of a definition that is called is moved to the simulators, and no other", () => {
    const moved = relocateDefinition(
      {
        id: "x",
        name: "Acme",
        client_family: "y",
        docs: "https://docs.example/",
        auth: [
          { authorize_url: "https://a.example/{tenant}/auth", issuer: "https://a.example", client_help: { url: "https://help.example/" } },
          { fields: [{ id: "key", url: "https://find.example/" }] },
        ],
        identity: { url: "https://api.telegram.org/bot{token}/getMe" },
        request: { base_url: "https://{shop}.example/" },
      },
      "http://localhost:1",
    );
    assert.deepEqual(moved, {
      id: "sim-x",
      name: "Acme simulated",
      docs: "https://docs.example/",
      auth: [
        { authorize_url: "http://localhost:1/a.example/{tenant}/auth", issuer: "http://localhost:1/a.example", client_help: { url: "https://help.example/" } },
        { fields: [{ id: "key", url: "https://find.example/" }] },
      ],
      identity: { url: "http://localhost:1/api.telegram.org/bot{token}/getMe" },
      request: { base_url: "http://localhost:1/{shop}.example/" },
    });
  });
});
