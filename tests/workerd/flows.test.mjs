// Owns flows as a person goes through them: every result of a callback, reconnecting, another account, an account that
// is connected already, permissions that were not granted, and connect links. The tests check what the person reads,
// what is stored, and what the OAuth server received.

import assert from "node:assert/strict";
import { after, before, suite, test } from "node:test";
import { createWorkspace, PUBLIC_URL, SCOPES, startInstallation } from "../support/installation.mjs";
import { completeAuthorization, denyAuthorization } from "../support/oauth-browser.mjs";
import { parseForms, pathOf, Person } from "../support/person.mjs";

const START = "/oauth/start/acme";

let installation, ada;
before(async () => {
  installation = await startInstallation();
  ada = await Person.createSignedIn(installation);
});
after(() => installation.close());

/** What a flow may leave in the database. */
const traces = async () => ({
  ...(await installation.row(
    "SELECT (SELECT count(*) FROM connections) AS connections, (SELECT coalesce(sum(generation), 0) FROM connections) AS generations",
  )),
  token: installation.oauth.requests.token ?? 0,
});
const connection = (id) => installation.requestOk("GET", `/v1/connections/${id}`);
const tokenOf = async (id) => (await installation.resolve(id)).body.credential.access_token;
const works = async (token) => (await fetch(`${installation.oauth.issuer}/me`, { headers: { authorization: `Bearer ${token}` } })).status === 200;
/** The callback's address with other parameters. `undefined` removes one. */
function changed(callback, parameters) {
  const url = new URL(callback);
  for (const [name, value] of Object.entries(parameters)) value === undefined ? url.searchParams.delete(name) : url.searchParams.set(name, value);
  return url.href;
}
/** An account that nobody has connected yet. */
let people = 0;
const stranger = () => `stranger${(people += 1)}`;

suite("a callback without a grant", () => {
  /** A callback as the app sends it. A test changes it before it arrives. */
  const fromApp = async () => completeAuthorization(await ada.startFlow(START), { login: stranger() });

  const ENDINGS = {
    "denied at the app": {
      callback: async () => denyAuthorization(await ada.startFlow(START)),
      reads: /You did not allow access at Acme, so nothing was stored/,
    },
    "a state nobody gave out": { callback: async () => changed(await fromApp(), { state: "0".repeat(43) }), reads: /recognise this sign-in/ },
    "no state at all": { callback: async () => changed(await fromApp(), { state: undefined }), reads: /recognise this sign-in/ },
    "two states": { callback: async () => `${await fromApp()}&state=again`, reads: /recognise this sign-in/ },
    "two codes": { callback: async () => `${await fromApp()}&code=again`, reads: /recognise this sign-in/ },
    "an unknown client's address": { callback: async () => (await fromApp()).replace(/cli_[\w-]+/, "cli_nobody"), reads: /recognise this sign-in/ },
    "after the time ran out": {
      callback: async () => {
        const callback = await fromApp();
        await installation.run("UPDATE flows SET expires_at = unixepoch() - 1 WHERE used_at IS NULL");
        return callback;
      },
      reads: /That took too long/,
    },
    "another issuer's answer": {
      callback: async () => changed(await fromApp(), { iss: "https://evil.example" }),
      reads: /did not come from the app that was asked/,
    },
    "no issuer where one was promised": {
      callback: async () => changed(await fromApp(), { iss: undefined }),
      reads: /did not come from the app that was asked/,
    },
    "the address of another workspace's client": {
      callback: async () => {
        const { client } = await createWorkspace(installation, "Elsewhere");
        return (await fromApp()).replace(/cli_[\w-]+/, client.id);
      },
      reads: /did not come from the app that was asked/,
    },
    "neither code nor error": { callback: async () => changed(await fromApp(), { code: undefined }), reads: /without an answer/ },
    "an error of the app's own": {
      callback: async () => changed(await fromApp(), { code: undefined, error: "<b>server_error</b>" }),
      reads: /The app refused the request/,
    },
  };
  for (const [name, { callback, reads }] of Object.entries(ENDINGS)) {
    test(`${name}: shows a message, stores nothing, and requests no token`, async () => {
      const address = await callback();
      const before = await traces();
      const end = await ada.followCallback(address);
      assert.doesNotMatch(end, /[?&](code|state|iss)=/);
      assert.match((await ada.get(end)).text, reads);
      assert.deepEqual(await traces(), before);
      const again = await ada.get(await ada.followCallback(address));
      assert.match(again.text, reads, "a second time says the same, and changes nothing either");
      assert.deepEqual(await traces(), before);
    });
  }

  test("a code that the app did not issue ends the flow after one request", async () => {
    const callback = changed(await fromApp(), { code: "invented" });
    const before = await traces();
    assert.match((await ada.get(await ada.followCallback(callback))).text, /Please try again/);
    assert.deepEqual(await traces(), { ...before, token: before.token + 1 });
  });

  test("after a denial the person can try again from the same page", async () => {
    const page = await ada.get(await ada.followCallback(await denyAuthorization(await ada.startFlow(START))));
    const [, again] = /href="([^"]*)"[^>]*>\s*Try again/.exec(page.html);
    assert.match(await ada.completeFlow(again, { login: stranger() }), /^\/connections\/con_/);
  });

  test("a flow that waits at the app is not evicted by flows that have ended", async () => {
    const waiting = await ada.startFlow(START);
    await installation.run("UPDATE flows SET created_at = created_at - 60 WHERE used_at IS NULL");
    for (let number = 0; number < 12; number += 1) {
      const asked = new URL(await ada.startFlow(START)).searchParams;
      await ada.followCallback(
        `${asked.get("redirect_uri")}?${new URLSearchParams({ error: "access_denied", iss: installation.oauth.issuer, state: asked.get("state") })}`,
      );
    }
    assert.match(await ada.followCallback(await completeAuthorization(waiting, { login: stranger() })), /^\/connections\/con_/);
  });

  test("a repeated callback leads to the same page and stores nothing more", async () => {
    const callback = await fromApp();
    const end = await ada.followCallback(callback);
    assert.match(end, /^\/connections\/con_[\w-]+$/);
    const before = await traces();
    assert.equal(await ada.followCallback(callback), end);
    assert.deepEqual(await traces(), before);
  });

  test("concurrent arrivals of one callback redeem the code once", async () => {
    const callback = await fromApp();
    const before = await traces();
    const ends = await Promise.all(Array.from({ length: 8 }, () => ada.followCallback(callback)));
    // A callback that arrives while the first one is handled waits on the flow's page.
    assert.ok(ends.every((end) => /^\/(connections\/con_|flows\/aut_)/.test(end)), ends.join(" "));
    assert.match(await ada.followCallback(callback), /^\/connections\/con_/);
    const now = await traces();
    assert.deepEqual([now.connections - before.connections, now.token - before.token], [1, 1]);
  });

  const OTHERS = {
    "somebody who is not signed in": async () => new Person(installation),
    "somebody else who is signed in": () => Person.createSignedIn(installation, { id: "victim" }),
    "the same user in another browser": () => Person.createSignedIn(installation),
    "somebody who is in the middle of a flow of their own": async () => {
      const victim = await Person.createSignedIn(installation, { id: "victim" });
      await victim.startFlow(START);
      return victim;
    },
  };
  for (const [name, other] of Object.entries(OTHERS)) {
    test(`a flow that one browser started is not completed by ${name}`, async () => {
      const callback = await fromApp();
      const victim = await other();
      const before = await traces();
      assert.match((await victim.get(await victim.followCallback(callback))).text, /You began in another browser/);
      assert.deepEqual(await traces(), before, "the server saw no token request");
    });
  }

  test("a flow is not completed after signing out", async () => {
    const eve = await Person.createSignedIn(installation, { id: "eve" });
    const callback = await completeAuthorization(await eve.startFlow(START), { login: stranger() });
    const cookies = new Map(eve.cookies);
    const { html } = await eve.get("/");
    await eve.post("/sign-out", { csrf: /name="csrf" value="([^"]*)"/.exec(html)[1] });
    for (const kept of [new Map(), cookies]) {
      eve.cookies = kept;
      const before = await traces();
      assert.equal(await eve.followCallback(callback), "/oauth/ended/other-browser");
      assert.deepEqual(await traces(), before);
    }
  });
});

suite("the redirect to the app", () => {
  test("a GET starts no flow and no session, and sends no request to the app", async () => {
    const id = await ada.connect("acme", { login: stranger() });
    const { url } = await installation.requestOk("POST", "/v1/links", { app: "acme" });
    const visitor = new Person(installation);
    const rows = () => installation.row("SELECT (SELECT count(*) FROM flows) AS flows, (SELECT count(*) FROM sessions) AS sessions");
    const before = await rows();
    const asked = installation.oauth.requests.authorization;
    for (const [who, path] of [
      [ada, START],
      [ada, `/connections/${id}/reconnect`],
      [visitor, pathOf(url)],
      [ada, pathOf(url)],
      [ada, `/connections/${id}?disconnect=1`],
      [ada, "/"],
    ]) {
      const page = await who.get(path);
      assert.equal(page.status, 200, path);
    }
    assert.equal(visitor.cookies.size, 0);
    assert.deepEqual(await rows(), before);
    assert.equal(installation.oauth.requests.authorization, asked);
  });

  test("every request to the app has its own state and challenge, S256, and the client's own redirect URI", async () => {
    const asked = await Promise.all([1, 2, 3].map(async () => new URL(await ada.startFlow(START)).searchParams));
    for (const one of asked) {
      assert.deepEqual(
        [one.get("response_type"), one.get("code_challenge_method"), one.get("redirect_uri"), one.get("client_id")],
        ["code", "S256", installation.client.redirect_uri, "connections"],
      );
      assert.deepEqual(one.get("scope").split(" "), SCOPES);
      for (const name of ["state", "code_challenge"]) assert.ok(one.get(name).length >= 43, name);
    }
    for (const name of ["state", "code_challenge"]) assert.equal(new Set(asked.map((one) => one.get(name))).size, 3, name);
  });

  test("the consent page names workspace, app, permissions and the app's host", async () => {
    const { text } = await ada.get(START);
    for (const shown of ["Acme Corp", "Acme", new URL(installation.oauth.issuer).hostname, ...SCOPES]) assert.ok(text.includes(shown), shown);
  });

  test("a forged Host or X-Forwarded-Host changes no redirect URI and no link", async () => {
    const forged = { host: "evil.example", "x-forwarded-host": "evil.example", "x-forwarded-proto": "https", forwarded: "host=evil.example" };
    const at = (path) => `http://evil.example${path}`;
    const program = { ...forged, authorization: `Bearer ${installation.key}`, "content-type": "application/json" };
    const id = await ada.connect("acme", { login: stranger(), withhold: ["email"] });
    const [{ hidden }] = parseForms((await ada.get(START)).html);
    const start = await ada.post(at(START), hidden, forged);
    assert.equal(new URL(start.location).searchParams.get("redirect_uri"), installation.client.redirect_uri);
    assert.ok(installation.client.redirect_uri.startsWith(`${PUBLIC_URL}/oauth/callback/`));
    for (const [method, path, body, read] of [
      ["GET", "/v1/apps/acme/client", undefined, (answer) => answer.redirect_uri],
      ["POST", "/v1/links", { app: "acme" }, (answer) => answer.url],
      ["POST", "/v1/sign-in-links", { user: { id: "x" } }, (answer) => answer.url],
      ["POST", `/v1/connections/${id}/resolve`, { scopes: ["email"] }, (answer) => answer.reconnect_url],
    ]) {
      const { text } = await installation.request(at(path), { method, headers: program, body: body && JSON.stringify(body) });
      assert.ok(read(JSON.parse(text)).startsWith(`${PUBLIC_URL}/`), `${path}: ${text}`);
    }
    assert.ok(!installation.answers.some(({ text, headers }) => text.includes("evil.example") || headers.get("location")?.includes("evil.example")));
  });
});

suite("reconnecting", () => {
  test("the same account keeps id, name and uses, and starts a new generation", async () => {
    const login = stranger();
    const id = await ada.connect("acme", { login });
    await installation.requestOk("PATCH", `/v1/connections/${id}`, { name: "Payroll" });
    await installation.resolve(id, { workflow: "monthly", step: "pay" });
    const old = await tokenOf(id);
    assert.equal(await ada.completeFlow(`/connections/${id}/reconnect`, { login }), `/connections/${id}`);
    const { name, generation, uses, account } = await connection(id);
    assert.deepEqual(
      { name, generation, uses, account: account.id },
      { name: "Payroll", generation: 2, uses: { workflows: 1, steps: 1 }, account: login },
    );
    const fresh = await tokenOf(id);
    assert.notEqual(fresh, old);
    assert.ok(await works(fresh));
  });

  /** A connection, and the page with the question after a reconnect brought another account. */
  async function asked() {
    const [before, now] = [stranger(), stranger()];
    const id = await ada.connect("acme", { login: before });
    const old = await tokenOf(id);
    const flow = await ada.completeFlow(`/connections/${id}/reconnect`, { login: now });
    assert.match(flow, /^\/flows\//);
    return { id, before, now, old, flow };
  }

  test("another account changes nothing until the person chooses: both are shown, and the old one keeps working", async () => {
    const { id, before, now, old, flow } = await asked();
    const { text, status } = await ada.get(flow);
    assert.equal(status, 200);
    for (const shown of ["This is another account", `${before}@example.test`, `${now}@example.test`])
      assert.ok(text.includes(shown), `${shown}: ${text}`);
    assert.deepEqual(
      [(await connection(id)).account.id, (await connection(id)).generation, await tokenOf(id), await works(old)],
      [before, 1, old, true],
    );
  });

  test("keeping the old account changes nothing and revokes the new grant", async () => {
    const { id, before, old, flow } = await asked();
    const revoked = installation.oauth.requests.revocation ?? 0;
    const { location } = await ada.submit(flow, { choice: "keep" });
    assert.match((await ada.get(location)).text, /keeps its account/);
    assert.deepEqual([(await connection(id)).account.id, await tokenOf(id), await works(old)], [before, old, true]);
    assert.ok(installation.oauth.requests.revocation > revoked, "the new access was revoked");
  });

  test("switching keeps the id, has the new account, and revokes the old grant", async () => {
    const { id, now, old, flow } = await asked();
    assert.equal((await ada.submit(flow, { choice: "switch" })).location, `/connections/${id}`);
    assert.deepEqual([(await connection(id)).account.id, (await connection(id)).generation], [now, 2]);
    assert.ok(await works(await tokenOf(id)));
    assert.equal(await works(old), false);
    const events = await installation.requestOk("GET", `/v1/connections/${id}/events`);
    assert.ok(events.data.some(({ type }) => type === "account_switched"));
  });

  test("a step that expects the old account is refused after a switch, and the answer names the new one", async () => {
    const { id, before, now, flow } = await asked();
    await ada.submit(flow, { choice: "switch" });
    const { status, body } = await installation.resolve(id, { expect: { account: before } });
    assert.deepEqual([status, body.code], [409, "unexpected_connection"]);
    assert.match(body.detail, new RegExp(now));
  });

  test("a question can be answered once, before it expires, and only by the browser that started", async () => {
    const { id, before, flow } = await asked();
    const [{ hidden }] = parseForms((await ada.get(flow)).html);
    const mallory = await Person.createSignedIn(installation, { id: "mallory" });
    assert.equal((await mallory.get(flow)).status, 404);
    assert.equal((await mallory.post(flow, { choice: "switch" })).status, 404);
    assert.equal((await ada.post(flow, { choice: "switch" })).status, 403, "without the form's token");
    assert.equal((await ada.post(flow, { ...hidden, choice: "reuse" })).status, 409, "an answer to another question");
    assert.equal((await ada.post(flow, { ...hidden, choice: "everything" })).status, 422);
    await installation.run("UPDATE flows SET expires_at = unixepoch() - 1 WHERE id = ?1", flow.split("/").at(-1));
    assert.match((await ada.get(flow)).text, /Too late to choose/);
    assert.equal((await ada.post(flow, { ...hidden, choice: "switch" })).status, 410);
    assert.equal((await connection(id)).account.id, before);

    const second = await asked();
    assert.equal((await ada.submit(second.flow, { choice: "switch" })).status, 303);
    assert.equal((await ada.post(second.flow, { ...hidden, choice: "keep" })).status, 409);
    assert.equal((await connection(second.id)).account.id, second.now);
  });

  test("reconnecting a connection that another person owns is not offered", async () => {
    const id = await (await Person.createSignedIn(installation, { id: "owner" })).connect("acme", { login: stranger() });
    for (const path of [`/connections/${id}`, `/connections/${id}/reconnect`]) assert.equal((await ada.get(path)).status, 404, path);
  });
});

suite("an account that is connected already", () => {
  async function asked() {
    const login = stranger();
    const id = await ada.connect("acme", { login });
    const flow = await ada.completeFlow(START, { login });
    assert.match(flow, /^\/flows\//);
    const { text } = await ada.get(flow);
    assert.match(text, /This account is already connected/);
    assert.ok(text.includes(`${login}@example.test`));
    return { login, id, flow };
  }

  test("can be reused: the existing connection gets the new grant", async () => {
    const { id, flow } = await asked();
    const before = await traces();
    assert.equal((await ada.submit(flow, { choice: "reuse" })).location, `/connections/${id}`);
    assert.equal((await traces()).connections, before.connections);
    assert.equal((await connection(id)).generation, 2);
    assert.ok(await works(await tokenOf(id)));
  });

  test("can be kept twice, with different names, and marked as duplicates", async () => {
    const { id, flow } = await asked();
    const { location } = await ada.submit(flow, { choice: "both" });
    const [, other] = /^\/connections\/(con_[\w-]+)/.exec(location);
    assert.notEqual(other, id);
    const [first, second] = [await connection(id), await connection(other)];
    assert.notEqual(first.name, second.name);
    for (const one of [first, second])
      assert.ok(
        one.attention.some(({ code }) => code === "duplicate"),
        JSON.stringify(one.attention),
      );
    assert.ok((await works(await tokenOf(id))) && (await works(await tokenOf(other))));
  });

  test("is not a duplicate of another person's connection", async () => {
    const { login } = await asked();
    const eve = await Person.createSignedIn(installation, { id: "eve" });
    assert.match(await eve.completeFlow(START, { login }), /^\/connections\/con_/);
  });
});

suite("permissions that were not granted", () => {
  test("are named on the page and by a resolve that needs them, and a reconnect can add them", async () => {
    const login = stranger();
    const id = await ada.connect("acme", { login, withhold: ["email", "profile"] });
    const page = await ada.get(`/connections/${id}`);
    assert.match(page.text, /Missing permissions.*email.*profile/);
    assert.match(page.text, /Ask for the missing permissions/);
    assert.deepEqual((await connection(id)).scopes, { requested: SCOPES, granted: ["openid", "offline_access"], missing: ["email", "profile"] });
    assert.equal((await installation.resolve(id)).status, 200, "who needs none of them is served");
    const { status, body } = await installation.resolve(id, { scopes: ["openid", "email"] });
    assert.deepEqual([status, body.code, body.missing_scopes], [409, "missing_scopes", ["email"]]);
    assert.ok(body.reconnect_url.startsWith(`${PUBLIC_URL}/connections/${id}/reconnect`));

    assert.equal(await ada.completeFlow(pathOf(body.reconnect_url), { login }), `/connections/${id}`);
    assert.deepEqual((await connection(id)).scopes.missing, []);
    assert.equal((await installation.resolve(id, { scopes: ["openid", "email"] })).status, 200);
  });
});

suite("a connect link", () => {
  const link = (more = {}) => installation.requestOk("POST", "/v1/links", { app: "acme", ...more });
  const stateOf = ({ id }) => installation.requestOk("GET", `/v1/links/${id}`);

  test("names workspace, app and permissions, connects once, and opens nothing else", async () => {
    const made = await link({ user: { id: "guest", name: "Grace" } });
    const guest = new Person(installation);
    const { text } = await guest.get(pathOf(made.url));
    for (const shown of ["Acme Corp", "Acme", "Grace", ...SCOPES]) assert.ok(text.includes(shown), shown);
    assert.equal((await stateOf(made)).status, "open");

    const end = await guest.completeFlow(pathOf(made.url), { login: stranger() });
    assert.match((await guest.get(end)).text, /Acme is connected/);
    const { status, connection: id } = await stateOf(made);
    assert.equal(status, "used");
    assert.equal((await connection(id)).user.id, "guest");
    assert.ok(await works(await tokenOf(id)));
    for (const path of ["/", START, `/connections/${id}`, `/connections/${id}/reconnect`]) assert.equal((await guest.get(path)).status, 401, path);
    assert.equal((await guest.post(`/connections/${id}/disconnect`)).status, 401);
    for (const who of [guest, new Person(installation)]) {
      assert.equal((await who.get(pathOf(made.url))).status, 410);
      assert.equal((await who.post(pathOf(made.url))).status, 410);
    }
  });

  test("can be used again after a denial, in the same browser and in another", async () => {
    const made = await link();
    const guest = new Person(installation);
    const end = await guest.followCallback(await denyAuthorization(await guest.startFlow(pathOf(made.url))));
    assert.match((await guest.get(end)).text, /did not allow access/);
    assert.equal((await stateOf(made)).status, "open");
    const other = new Person(installation);
    const callback = await completeAuthorization(await other.startFlow(pathOf(made.url)), { login: stranger() });
    await guest.completeFlow(pathOf(made.url), { login: stranger() });
    assert.equal((await stateOf(made)).status, "used");
    assert.equal(await other.followCallback(callback), "/oauth/ended/begun-anew", "what the other browser began has ended");
  });

  test("is completed only in the browser that started it", async () => {
    const made = await link();
    const guest = new Person(installation);
    const callback = await completeAuthorization(await guest.startFlow(pathOf(made.url)), { login: stranger() });
    const before = await traces();
    for (const victim of [new Person(installation), ada]) assert.equal(await victim.followCallback(callback), "/oauth/ended/other-browser");
    assert.deepEqual(await traces(), before);
    assert.equal((await stateOf(made)).status, "open");
  });

  test("expires", async () => {
    const made = await link({ expires_in: 60 });
    await installation.run("UPDATE connect_links SET expires_at = unixepoch() - 1 WHERE id = ?1", made.id);
    assert.equal((await new Person(installation).get(pathOf(made.url))).status, 410);
    assert.equal((await stateOf(made)).status, "expired");
  });

  test("for one user is refused to another signed-in user, and accepted from the right one", async () => {
    const made = await link({ user: { id: "guest" } });
    for (const press of [() => ada.get(pathOf(made.url)), () => ada.post(pathOf(made.url))]) {
      const { status, text } = await press();
      assert.equal(status, 409);
      assert.match(text, /for guest, but you are signed in as Ada Lovelace/);
    }
    const guest = await Person.createSignedIn(installation, { id: "guest" });
    await guest.completeFlow(pathOf(made.url), { login: stranger() });
    assert.equal((await stateOf(made)).status, "used");
  });

  for (const [on_duplicate, connections] of [
    ["reuse", 0],
    ["create", 1],
  ]) {
    test(`with on_duplicate ${on_duplicate} shows no question about an account that is connected already`, async () => {
      const login = stranger();
      const id = await (await Person.createSignedIn(installation, { id: "guest" })).connect("acme", { login });
      const before = await traces();
      const made = await link({ user: { id: "guest" }, on_duplicate });
      await new Person(installation).completeFlow(pathOf(made.url), { login });
      assert.equal((await traces()).connections - before.connections, connections);
      assert.equal((await stateOf(made)).connection === id, on_duplicate === "reuse");
    });
  }

  test("can repair one connection, and shows a question about another account", async () => {
    const login = stranger();
    const id = await ada.connect("acme", { login });
    const repair = async (as) => {
      const made = await installation.requestOk("POST", "/v1/links", { connection: id });
      const guest = new Person(installation);
      return { made, guest, end: await guest.completeFlow(pathOf(made.url), { login: as }) };
    };
    const { made, guest, end } = await repair(login);
    assert.match((await guest.get(end)).text, /Acme is connected/);
    assert.deepEqual([(await stateOf(made)).connection, (await connection(id)).generation], [id, 2]);

    const other = await repair(stranger());
    assert.match((await other.guest.get(other.end)).text, /This is another account/);
    await other.guest.submit(other.end, { choice: "keep" });
    assert.deepEqual([(await connection(id)).account.id, (await connection(id)).generation], [login, 2]);
  });

  before(() => installation.requestOk("PATCH", "/v1/workspace", { allowed_origins: ["https://product.example", "https://other.example:8443"] }));

  suite("with return_to", () => {
    test("redirects there with the outcome and no secret", async () => {
      const made = await link({ return_to: "https://product.example/done?tab=2" });
      const url = new URL(await new Person(installation).completeFlow(pathOf(made.url), { login: stranger() }));
      assert.equal(url.origin + url.pathname, "https://product.example/done");
      assert.deepEqual(Object.fromEntries(url.searchParams), { tab: "2", connection: (await stateOf(made)).connection, status: "connected" });
    });

    test("offers a link back after a denial", async () => {
      const made = await link({ return_to: "https://other.example:8443/" });
      const guest = new Person(installation);
      const { html } = await guest.get(await guest.followCallback(await denyAuthorization(await guest.startFlow(pathOf(made.url)))));
      assert.match(html, /href="https:\/\/other\.example:8443\/\?status=denied"/);
    });

    test("to anywhere else is refused", async () => {
      assert.ok(HOSTILE_RETURNS.length >= 60);
      for (const return_to of HOSTILE_RETURNS) {
        const { status, body } = await installation.requestApi("POST", "/v1/links", { app: "acme", return_to });
        assert.deepEqual([status, body.code, body.errors?.[0]?.field], [422, "invalid_request", "return_to"], JSON.stringify(return_to));
      }
    });
  });

  suite("with confirm", () => {
    const confirm = ({ id }, user) => installation.requestApi("POST", `/v1/links/${id}/confirm`, { user: { id: user } });

    test("creates a connection that cannot be used before the embedding product has confirmed the person", async () => {
      const made = await link({ user: { id: "guest" }, confirm: true });
      assert.equal((await confirm(made, "guest")).status, 409, "nothing to confirm yet");
      const guest = new Person(installation);
      assert.match((await guest.get(await guest.completeFlow(pathOf(made.url), { login: stranger() }))).text, /Go back to where you came from/);
      const { status, connection: id } = await stateOf(made);
      assert.equal(status, "awaiting_confirmation");
      assert.equal((await connection(id)).status, "awaiting_confirmation");
      const refused = await installation.resolve(id);
      assert.deepEqual([refused.status, refused.body.code], [409, "awaiting_confirmation"]);

      assert.equal((await confirm(made, "somebody-else")).status, 422);
      assert.equal((await installation.resolve(id)).status, 409);
      assert.equal((await confirm(made, "guest")).body.status, "used");
      assert.ok(await works(await tokenOf(id)));
      assert.equal((await confirm(made, "guest")).status, 409);
    });

    test("redirects to return_to with the status awaiting_confirmation", async () => {
      const made = await link({ user: { id: "guest" }, confirm: true, return_to: "https://product.example/" });
      const url = new URL(await new Person(installation).completeFlow(pathOf(made.url), { login: stranger() }));
      assert.equal(url.searchParams.get("status"), "awaiting_confirmation");
    });

    test("repairs only after confirmation: the old credential works until then", async () => {
      const login = stranger();
      const guest = await Person.createSignedIn(installation, { id: "guest" });
      const id = await guest.connect("acme", { login });
      const old = await tokenOf(id);
      const made = await installation.requestOk("POST", "/v1/links", { connection: id, confirm: true });
      await new Person(installation).completeFlow(pathOf(made.url), { login });
      assert.equal((await stateOf(made)).status, "awaiting_confirmation");
      assert.deepEqual([await tokenOf(id), (await connection(id)).generation, (await connection(id)).status], [old, 1, "connected"]);
      assert.equal((await confirm(made, "guest")).status, 200);
      assert.equal((await connection(id)).generation, 2);
      assert.notEqual(await tokenOf(id), old);
      assert.ok(await works(await tokenOf(id)));
    });
  });
});

/** Addresses that must not pass for https://product.example or https://other.example:8443. */
const HOSTILE_RETURNS = [
  ...["", " ", "/", "//", "///", "\\", "/\\", "\\\\", ".", "..", "?", "#", "about:blank"],
  ...[
    "https://evil.example",
    "https://evil.example/product.example",
    "https://evil.example?https://product.example",
    "https://evil.example#https://product.example",
  ],
  ...[
    "https://product.example.evil.example",
    "https://evilproduct.example",
    "https://evil-product.example",
    "https://product.example-evil.example",
    "https://sub.product.example",
    "https://product.exampl",
    "https://product.example.",
    "https://product%2eexample.evil.example",
  ],
  ...[
    "https://product.example@evil.example",
    "https://product.example:x@evil.example",
    "https://user@product.example",
    "https://user:pass@product.example",
    "https://:pass@product.example",
    "https://product.example%40evil.example",
  ],
  ...[
    "https://product.example:444",
    "https://product.example:80",
    "https://product.example:8443",
    "https://other.example",
    "https://other.example:8444",
    "https://product.example:99999",
    "https://product.example:port",
  ],
  ...[
    "http://product.example",
    "http://product.example:443",
    "ftp://product.example",
    "ws://product.example",
    "wss://product.example",
    "file:///etc/passwd",
    "blob:https://product.example/x",
    "filesystem:https://product.example/x",
    "view-source:https://product.example",
  ],
  ...[
    "javascript:alert(1)",
    "JaVaScRiPt:alert(1)",
    "javascript://product.example/%0aalert(1)",
    "java\tscript:alert(1)",
    "data:text/html,<script>1</script>",
    "vbscript:msgbox(1)",
    "mailto:a@product.example",
    "intent://product.example",
  ],
  ...[
    "//product.example",
    "//evil.example",
    "\\\\evil.example",
    "/\\evil.example",
    "///evil.example",
    "/done",
    "done",
    "product.example",
    "www.product.example",
  ],
  ...[
    "https:evil.example",
    "https:/evil.example",
    "https:///evil.example",
    "https:\\\\evil.example",
    "https://evil.example\\@product.example",
    "https://evil.example\\.product.example",
    "https://evil.example/\\product.example",
  ],
  ...[
    "https://evil.example%00.product.example",
    "https://product.example%00.evil.example",
    "https://evil.example%0d%0aproduct.example",
    "https://product.example\u0000@evil.example",
    "https://evil.example\t@x",
    "https://xn--prduct-9za.example",
    "https://prοduct.example",
    "https://product。evil.example",
    "https://[::1]",
    "https://127.0.0.1",
    "https://localhost",
    "https://169.254.169.254/latest/meta-data",
    "*",
    "null",
    "https://*",
    "https://*.example",
  ],
  `https://product.example/${"a".repeat(2100)}`,
];
