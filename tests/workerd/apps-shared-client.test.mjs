// Owns what apps of one client family share: the client, its redirect URI and its test, with the unchanged files of the
// catalogue. The simulated Google answers what the Worker sends to Google's hosts.

import assert from "node:assert/strict";
import { after, before, suite, test } from "node:test";
import { callAppApi, startLifecycleFixture } from "../support/lifecycles.mjs";
import { connectionIdFrom } from "../support/person.mjs";

const CLIENT = { client_id: "family-client", client_secret: "family-secret-0123456789" };
const google = (name) => `https://www.googleapis.com/auth/${name}`;

suite("Gmail and Google Sheets", () => {
  let fixture, redirect_uri;
  const simulated = (url) => url.replace(/^https:\/\//, `${fixture.apps.origin}/`);

  before(async () => {
    fixture = await startLifecycleFixture();
    fixture.installation.outbound.answer = async ({ url, method, headers, body }) => {
      if (!/^https:\/\/([\w-]+\.)*(google|googleapis)\.com\//.test(url)) return undefined;
      return fetch(simulated(url), { method, headers, body: body || undefined, redirect: "manual" });
    };
  });
  after(() => fixture.close());

  const connect = async (app, boxes) => {
    fixture.apps.google.person = { account: "ada", untick: [], deny: false };
    const away = await fixture.person.startFlow(`/oauth/start/${app}`, boxes);
    assert.match(away, /^https:\/\/accounts\.google\.com\//);
    const answer = await fetch(simulated(away), { redirect: "manual" });
    return connectionIdFrom(await fixture.person.followCallback(answer.headers.get("location")));
  };

  test("are set up with one client and one redirect URI, which is known before the client", async () => {
    const told = async (app) => {
      const { auth_methods: auth, client_is_set_up, client_family } = await fixture.requestOk("GET", `/v1/apps/${app}`);
      return { redirect_uri: auth.find(({ type }) => type === "oauth2").client.redirect_uri, client_is_set_up, client_family };
    };
    const before = await Promise.all(["gmail", "google-sheets", "google-drive", "google-calendar"].map(told));
    assert.deepEqual(new Set(before.map(({ redirect_uri }) => redirect_uri)).size, 1);
    ({ redirect_uri } = await fixture.requestOk("PUT", "/v1/apps/gmail/client", CLIENT));
    assert.deepEqual(await told("google-sheets"), { redirect_uri, client_is_set_up: true, client_family: "google" });
    assert.equal(before[0].redirect_uri, redirect_uri);
    fixture.apps.google.register(CLIENT.client_id, { secret: CLIENT.client_secret, redirect_uris: [redirect_uri], project: "family" });
    assert.equal((await fixture.requestOk("POST", "/v1/apps/google-sheets/client/test")).verdict, "accepted");
  });

  test("are connected separately, each with its own scopes, and each works when the other is disconnected", async () => {
    const gmail = await connect("gmail");
    const sheets = await connect("google-sheets");
    assert.notEqual(gmail, sheets);
    const [mail, table] = [await fixture.getConnection(gmail), await fixture.getConnection(sheets)];
    assert.deepEqual([mail.account, mail.app, table.app], [table.account, "gmail", "google-sheets"]);
    assert.ok(table.scopes.granted.includes(google("spreadsheets")) && !mail.scopes.requested.includes(google("spreadsheets")));

    assert.deepEqual(await fixture.requestOk("DELETE", `/v1/connections/${gmail}`), { revoked: "kept_shared", retrying: false, undo_until: null });
    const { request } = await fixture.resolve(sheets);
    assert.match(request.base_url, /^https:\/\/sheets\.googleapis\.com\//);
    const there = { ...request, base_url: simulated(request.base_url) };
    assert.ok((await callAppApi(there, { path: "spreadsheets/budget" })).works);
    assert.deepEqual(await fixture.requestOk("DELETE", `/v1/connections/${sheets}`), { revoked: "confirmed", retrying: false, undo_until: null });
  });

  test("lose the client together", async () => {
    await fixture.requestOk("DELETE", "/v1/apps/google-calendar/client");
    for (const app of ["gmail", "google-sheets"]) assert.equal((await fixture.requestOk("GET", `/v1/apps/${app}`)).client_is_set_up, false);
  });
});
