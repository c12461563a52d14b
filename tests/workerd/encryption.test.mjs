// Owns what is stored and shown: no secret in the database, the cache, the log, a page or a problem, whatever failed;
// nothing that can be decrypted in another place; and no work at all with keys that do not fit the data.

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { after, before, suite, test } from "node:test";
import { dumpStoredData, CLIENT_ID, createApiKey, createKeyRing, createWorkspace, startInstallation } from "../support/installation.mjs";
import { completeAuthorization, denyAuthorization } from "../support/oauth-browser.mjs";
import { connectionIdFrom, pathOf, Person } from "../support/person.mjs";

suite("known secrets", () => {
  let installation;
  /** Secret → what it is. Short secrets would be found by accident. */
  const canaries = new Map();
  const secret = (what, text) => text && text.length >= 12 && canaries.set(text, what);

  before(async () => {
    const real = globalThis.fetch;
    installation = await startInstallation();
    // What the OAuth server issues and receives: tokens, codes, verifiers, secrets.
    installation.outbound.answer = async ({ url, method, headers, body }) => {
      const response = await real(url, { method, headers, redirect: "manual", body: method === "GET" ? undefined : body });
      const text = await response.clone().text();
      if (new URL(url).pathname === "/token") {
        const answer = JSON.parse(text);
        for (const name of ["access_token", "refresh_token", "id_token"]) secret(name, answer[name]);
        const sent = new URLSearchParams(body);
        for (const name of ["code", "code_verifier", "refresh_token"]) secret(name, sent.get(name));
        secret("basic authorization", headers.authorization?.slice(6));
      }
      return response;
    };
    await life();
  });
  after(() => installation.close());

  /** Goes through everything that can happen to a connection, with the possible failures. */
  async function life() {
    secret("client secret", installation.clientSecret);
    secret("admin key", installation.adminKey);
    secret("ring", installation.secrets.ENCRYPTION_KEYS.split(":")[1]);
    secret("API key", installation.key);
    secret("API key", await createApiKey(installation, ["resolve"]));

    const ada = new Person(installation);
    const { url } = await installation.requestOk("POST", "/v1/sign-in-links", { user: { id: "ada", name: "Ada" } });
    secret("sign-in token", url.split("/").at(-1));
    await ada.signIn(url);

    const leave = async (who, path) => {
      const away = await who.startFlow(path);
      secret("state", new URL(away).searchParams.get("state"));
      return away;
    };
    const through = async (who, path, at) => {
      const callback = await completeAuthorization(await leave(who, path), at);
      secret("code", new URL(callback).searchParams.get("code"));
      return who.followCallback(callback);
    };
    const id = connectionIdFrom(await through(ada, "/oauth/start/acme"));
    const other = connectionIdFrom(await through(ada, "/oauth/start/acme", { login: "bob", withhold: ["email"] }));

    for (const end of [
      await ada.followCallback(await denyAuthorization(await leave(ada, "/oauth/start/acme"))),
      await through(ada, `/connections/${id}/reconnect`, { login: "eve" }),
      await through(ada, "/oauth/start/acme", { login: "bob" }),
    ])
      await ada.get(end);
    const link = await installation.requestOk("POST", "/v1/links", { app: "acme", user: { id: "guest" }, confirm: true });
    secret("link token", link.url.split("/").at(-1));
    const guest = new Person(installation);
    await guest.get(await through(guest, pathOf(link.url), { login: "guest" }));

    const expire = () =>
      installation.run("UPDATE connections SET expires_at = unixepoch() - 1, refreshed_at = NULL, next_attempt_at = 0, lease_attempt_id = NULL");
    for (const consistency of ["strong", "available", "edge", "edge"]) await installation.resolve(id, { workflow: "w", step: "s", consistency });
    await expire();
    await installation.resolve(id);
    await installation.resolve(other, { scopes: ["email"] });
    const answering = installation.outbound.answer;
    for (const response of [
      () => new Response("upstream says canary-in-a-body", { status: 500 }),
      () => Response.json({ error: "server_error", error_description: "canary-in-a-body" }, { status: 400 }),
      () => new Response('{"access_token": "canary-in-a-body", "refresh_', { status: 200 }),
      () => Response.json({ error: "invalid_client", error_description: "canary-in-a-body" }, { status: 401 }),
      () => {
        throw new TypeError("canary-in-a-body");
      },
    ]) {
      await expire();
      installation.outbound.answer = (request) => (request.url.endsWith("/token") ? response() : answering(request));
      await installation.resolve(other);
      await installation.requestApi("POST", `/v1/connections/${other}/check`);
      await ada.get(await through(ada, "/oauth/start/acme", { login: "carl" }));
    }
    secret("a body of the app's", "canary-in-a-body");
    installation.outbound.answer = answering;
    await installation.requestOk("PUT", "/v1/apps/acme/client", { client_id: CLIENT_ID, client_secret: installation.clientSecret });
    await expire();
    await installation.runScheduled();
    for (const consistency of ["strong", "edge", "edge"]) await installation.resolve(other, { consistency });
    await installation.requestApi("POST", `/v1/connections/${id}/resolve`, `{"min_ttl": "${installation.clientSecret}"}`);
    await installation.requestApi("GET", `/v1/connections/${installation.key}`);
    for (const path of ["/", `/connections/${id}`, `/connections/${other}`]) await ada.get(path);
    for (const path of ["/v1/connections", "/v1/keys", "/v1/apps/acme/client", `/v1/connections/${id}/events`, `/v1/connections/${id}/uses`])
      await installation.requestOk("GET", path);
    await installation.requestOk("GET", "/v1/status", undefined, installation.adminKey);
    await installation.requestOk("DELETE", `/v1/connections/${id}`);
  }

  const foundIn = (places) =>
    Object.entries(places).flatMap(([place, text]) =>
      [...canaries].filter(([canary]) => text.includes(canary)).map(([, what]) => `${what} in ${place}`),
    );

  test("there are enough of every kind to look for", () => {
    const kinds = new Set(canaries.values());
    for (const kind of [
      "access_token",
      "refresh_token",
      "id_token",
      "code",
      "code_verifier",
      "state",
      "client secret",
      "API key",
      "sign-in token",
      "link token",
      "basic authorization",
    ])
      assert.ok(kinds.has(kind), kind);
    assert.ok(canaries.size > 30, `${canaries.size}`);
  });

  test("no secret is stored unencrypted in the database or the cache", async () => {
    const places = await dumpStoredData(installation);
    assert.ok(
      places["table connections"].length > 1000 && Object.keys(places).some((place) => place.startsWith("cache connection/")),
      "there is something to look through",
    );
    assert.deepEqual(foundIn(places), []);
  });

  test("no secret is in the log", () => {
    const logs = installation.server.getLogs();
    assert.ok(logs.length > 5, "there is a log");
    assert.deepEqual(foundIn({ log: JSON.stringify(logs) }), []);
  });

  test("no secret is on a page, in a problem, or in an answer that does not exist to return it", () => {
    const HANDS_OUT = /\/resolve$|^\/v1\/(workspaces|keys|links|sign-in-links)$/;
    const answers = installation.answers.filter(({ path, status }) => status >= 400 || !HANDS_OUT.test(new URL(path, "http://x").pathname));
    assert.ok(answers.length > 50);
    // The pages of a link and of a sign-in contain their own address. The redirect to the app contains its state.
    const own = ({ path, text, headers }) =>
      (text + (/^https?:/.test(headers.get("location") ?? "") ? "" : (headers.get("location") ?? ""))).replaceAll(path, "");
    assert.deepEqual(foundIn(Object.fromEntries(answers.map((answer, index) => [`${index} ${answer.path.slice(0, 30)}`, own(answer)]))), []);
    const resolved = installation.answers.filter(({ path, status }) => path.endsWith("/resolve") && status < 400).map(({ text }) => text);
    for (const [canary, what] of canaries)
      if (what !== "access_token") assert.ok(!resolved.some((text) => text.includes(canary)), `${what} in a resolve's answer`);
  });

  test("the cache never contains a refresh token, not even sealed", async () => {
    const places = await dumpStoredData(installation);
    const sealed = JSON.parse(places["table connections"]).map(({ sealed_credential }) => sealed_credential);
    for (const [place, text] of Object.entries(places))
      if (place.startsWith("cache ")) assert.ok(!sealed.some((one) => one && text.includes(one)), place);
  });
});

suite("a ciphertext in another place", () => {
  let installation, ada, mine, also, theirs, other;
  before(async () => {
    installation = await startInstallation();
    ada = await Person.createSignedIn(installation);
    [mine, also] = [await ada.connect("acme", { login: "one" }), await ada.connect("acme", { login: "two" })];
    other = await createWorkspace(installation, "Elsewhere");
    const eve = new Person(installation);
    await eve.signIn((await installation.requestOk("POST", "/v1/sign-in-links", { user: { id: "eve" } }, other.key)).url);
    theirs = await eve.connect("acme", { login: "three" });
  });
  after(() => installation.close());

  const sealedOf = async (id) => (await installation.row("SELECT sealed_credential AS sealed FROM connections WHERE id = ?1", id)).sealed;
  const flipped = (envelope) => envelope.slice(0, -4) + (envelope.at(-4) === "A" ? "B" : "A") + envelope.slice(-3);
  const OTHERS = {
    "another connection's": () => sealedOf(also),
    "another workspace's": () => sealedOf(theirs),
    "a client's secret": async () => (await installation.row("SELECT sealed_secret AS sealed FROM oauth_clients LIMIT 1")).sealed,
    "its own with one bit changed": async () => flipped(await sealedOf(mine)),
    "its own under an unknown key's name": async () => (await sealedOf(mine)).replace(".k1.", ".k9."),
    "no envelope at all": () => "ya29.plain-token",
    nothing: () => "",
  };
  for (const [name, put] of Object.entries(OTHERS)) {
    test(`${name}: that connection needs a reconnect, and the others work`, async () => {
      const own = await sealedOf(mine);
      await installation.run("UPDATE connections SET sealed_credential = ?2 WHERE id = ?1", mine, await put());
      const { status, body } = await installation.resolve(mine);
      assert.deepEqual([status, body.code, body.reason], [409, "needs_reconnect", "unreadable"]);
      assert.ok(body.reconnect_url.endsWith(`/connections/${mine}/reconnect`));
      const { data } = await installation.requestOk("GET", "/v1/connections");
      assert.equal(data.length, 2, "the list still tells all");
      assert.equal((await ada.get("/")).status, 200);
      assert.equal((await ada.get(`/connections/${mine}`)).status, 200);
      assert.equal((await installation.requestOk("POST", `/v1/connections/${mine}/check`)).health, "dead");
      assert.equal((await installation.resolve(also)).status, 200);
      assert.equal((await installation.resolve(theirs, {}, other.key)).status, 200);
      await installation.run("UPDATE connections SET sealed_credential = ?2 WHERE id = ?1", mine, own);
      assert.equal((await installation.resolve(mine)).status, 200, "nothing was written: put back, it works again");
    });
  }

  test("an older generation's credential does not open after a reconnect", async () => {
    const old = await sealedOf(mine);
    await ada.completeFlow(`/connections/${mine}/reconnect`, { login: "one" });
    await installation.run("UPDATE connections SET sealed_credential = ?2 WHERE id = ?1", mine, old);
    assert.equal((await installation.resolve(mine)).body.reason, "unreadable");
    await ada.completeFlow(`/connections/${mine}/reconnect`, { login: "one" });
    assert.equal((await installation.resolve(mine)).status, 200, "a person can always repair it");
  });
});

suite("keys that do not fit the data", () => {
  let installation, id, ring;
  before(async () => {
    installation = await startInstallation();
    id = await (await Person.createSignedIn(installation)).connect();
    await installation.run("UPDATE connections SET next_check_at = 1");
    ring = installation.secrets.ENCRYPTION_KEYS;
  });
  after(() => installation.close());

  const fingerprint = async () => {
    const places = await dumpStoredData(installation);
    return createHash("sha256").update(JSON.stringify(places)).digest("hex");
  };
  const RINGS = {
    missing: "",
    short: `k1:${Buffer.alloc(16, 7).toString("base64")}`,
    "all zeros": `k1:${Buffer.alloc(32).toString("base64")}`,
    "typed by a person": `k1:${Buffer.from("change-me change-me change-me ch").toString("base64")}`,
    "not base64": "k1:!!!!",
    "without an id": Buffer.alloc(32, 9).toString("base64"),
    "other bytes under the known id": createKeyRing("k1"),
  };
  for (const [name, ENCRYPTION_KEYS] of Object.entries(RINGS)) {
    test(`${name}: every route except the health check answers misconfigured, and nothing is changed`, async () => {
      await installation.restart({ secrets: { ...installation.secrets, ENCRYPTION_KEYS } });
      const before = await fingerprint();
      const asked = installation.outbound.requests.length;
      for (const [method, path, key] of [
        ["POST", `/v1/connections/${id}/resolve`],
        ["GET", "/v1/connections"],
        ["POST", "/v1/keys"],
        ["GET", "/v1/status", installation.adminKey],
        ["DELETE", `/v1/connections/${id}`],
        ["GET", "/v1/nothing"],
      ]) {
        const { status, body, text } = await installation.requestApi(method, path, method === "POST" ? {} : undefined, key);
        assert.deepEqual([status, body.code], [503, "misconfigured"], `${method} ${path}: ${text}`);
        if (ENCRYPTION_KEYS) assert.ok(!text.includes(ENCRYPTION_KEYS.split(":").at(-1)), "the value is not shown");
      }
      for (const path of ["/", "/oauth/start/acme", "/sign-in/x", "/connect/x"]) {
        const { status, headers } = await installation.request(path);
        assert.deepEqual([status, headers.get("content-type")], [503, "text/html; charset=utf-8"], path);
      }
      const health = await installation.request("/healthz");
      assert.deepEqual([health.status, health.text], [503, '{"status":"unavailable"}']);
      await installation.runScheduled();
      assert.equal(await fingerprint(), before, "database and cache are unchanged");
      assert.equal(installation.outbound.requests.length, asked, "nobody was asked anything");
    });
  }

  test("a missing or weak operator's key is refused in the same way", async () => {
    for (const ADMIN_KEY of ["", "short", "a".repeat(40)]) {
      await installation.restart({ secrets: { ...installation.secrets, ADMIN_KEY } });
      assert.deepEqual(
        [(await installation.resolve(id)).body.code, (await installation.request("/healthz")).status],
        ["misconfigured", 503],
        ADMIN_KEY,
      );
    }
  });

  test("with the right keys everything works again, and a new first key seals while the old one still opens", async () => {
    await installation.restart({ secrets: installation.secrets });
    assert.equal((await installation.resolve(id)).status, 200);
    await installation.restart({ secrets: { ...installation.secrets, ENCRYPTION_KEYS: `${createKeyRing("k2")},${ring}` } });
    assert.equal((await installation.resolve(id)).status, 200);
    await installation.run("UPDATE connections SET expires_at = unixepoch() - 1");
    assert.equal((await installation.resolve(id)).body.freshness, "refreshed");
    assert.match((await installation.row("SELECT sealed_credential AS sealed FROM connections")).sealed, /^cx1\.k2\./);
    const { keys } = await installation.requestOk("GET", "/v1/status", undefined, installation.adminKey);
    assert.deepEqual(
      keys.map(({ id, seals }) => [id, seals]),
      [
        ["k2", true],
        ["k1", false],
      ],
    );
  });
});
