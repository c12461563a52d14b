// Owns the proof that `npm run verify-app` goes through a connection's lifecycle, reports each step, fails if a step
// fails, and never prints a token. It calls a fake installation that has the API's shapes, without an app and a Worker.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, beforeEach, suite, test } from "node:test";
import { repoPath } from "../../tools/bootstrap.mjs";

const KEY = "made-up-workspace-key";
const SECRET = "made-up-secret";
const FIELD = { help: null, optional: false, multiline: false };
const WAYS = {
  consent: {
    id: "oauth2", type: "oauth2", ready: true, fields: [], variables: [], client: { help: { steps: ["Create an app."] } },
    scopes: [{ id: "read" }, { id: "audit", sensitive: "The app reviews whoever asks for this." }, { id: "write" }],
  },
  key: {
    id: "token", type: "basic", ready: true, variables: [{ id: "site", label: "Site", example: "acme" }],
    fields: [{ ...FIELD, id: "email", label: "Email", secret: false }, { ...FIELD, id: "api_token", label: "API token", secret: true }],
  },
};

/** A fake installation. `state` says how it behaves, `asked` has the requests it received. */
let installation, state, asked;

const problem = (status, code, detail) => [status, { status, code, detail }];

const connection = () => ({
  id: "con_1", ...(ended() ? { status: "needs_reconnect", reason: "revoked" } : { status: "connected", reason: null }),
  account: { id: state.account, label: "someone@acme.example" },
  scopes: { requested: state.scopes, granted: state.scopes.filter((scope) => !state.missing.includes(scope)), missing: state.missing },
  credential: { type: state.way.type, expires_at: null, refreshable: state.way.type === "oauth2", ends_at: null },
});

/** Somebody revokes the access before the check of this number. A reconnect brings a new one. */
const ended = () => state.checks >= state.revokedBefore;

/** What a used link, or a new key, does to the connection. */
function renew({ connection: repaired, scopes = state.scopes }) {
  if (!repaired) return;
  state.scopes = scopes;
  if (state.stingy) state.missing = scopes.slice(1);
  if (ended()) Object.assign(state, { revokedBefore: Infinity, account: state.otherAccount ?? state.account });
}

const routes = {
  "GET /v1/apps/acme": () => [200, { id: "acme", name: "Acme", auth_methods: [state.way] }],
  "POST /v1/apps/acme/client/test": () => [200, { verdict: state.verdict, code: "some_code", detail: "Some detail.", redirect_uri: "https://c.example/cb" }],
  "POST /v1/links": (body) => {
    state.link = body;
    return [201, { id: "lnk_1", url: "https://c.example/connect/link" }];
  },
  "GET /v1/links/lnk_1": () => {
    if ((state.looks -= 1) >= 0) return [200, { status: "open", connection: null }];
    renew(state.link);
    return [200, { status: "used", connection: "con_1" }];
  },
  "PUT /v1/connections/con_1/credential": () => {
    renew({ connection: "con_1" });
    return [200, connection()];
  },
  "POST /v1/connections": () => [201, connection()],
  "GET /v1/connections/con_1": () => [200, connection()],
  "POST /v1/connections/con_1/check": () => {
    state.checks += 1;
    const seen = ended() && !state.outlives;
    return [200, { health: seen ? "dead" : "healthy", evidence: "probe: accepted", connection: seen ? connection() : { ...connection(), status: "connected" } }];
  },
  "POST /v1/connections/con_1/resolve": ({ force_refresh: force }) => {
    if (force && (state.dead || ended())) return problem(409, "needs_reconnect", "The connection must be reconnected.");
    if (force) state.token += 1;
    const token = `${SECRET}-${state.token}`;
    const request = { headers: { Authorization: `Bearer ${token}` }, query: {}, base_url: `https://api.acme.example/bot${token}/` };
    return [200, { credential: { type: state.way.type, access_token: token, expires_at: null }, request, source: force ? "refreshed" : "stored" }];
  },
  "DELETE /v1/connections/con_1": () => [200, { revoked: state.revoked, retrying: state.revoked === "failed" }],
};

async function answer(request, response) {
  let text = "";
  for await (const chunk of request) text += chunk;
  const path = request.url.split("?")[0];
  const body = text ? JSON.parse(text) : undefined;
  asked.push({ route: `${request.method} ${path}`, query: request.url.split("?")[1], body });
  const route = request.headers.authorization === `Bearer ${KEY}` && routes[`${request.method} ${path}`];
  const [status, json] = route ? route(body ?? {}) : problem(404, "not_found", `No ${path}.`);
  response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(json));
}

function verify(args, input = "") {
  const env = { ...process.env, CONNECTIONS_URL: `http://127.0.0.1:${installation.address().port}`, CONNECTIONS_KEY: KEY };
  const run = spawn(process.execPath, [repoPath("tools/verify-app.mjs"), "--pause", "0", ...args], { env });
  run.stdin.end(input);
  let output = "";
  for (const stream of [run.stdout, run.stderr]) stream.setEncoding("utf8").on("data", (chunk) => (output += chunk));
  return new Promise((resolve) => run.on("close", (code) => {
    assert.ok(!output.includes(SECRET) && !output.includes(KEY), output);
    resolve({ code, output, marks: output.split("\n").filter((line) => /^[✓✗·] /.test(line)).map((line) => line.split(":")[0]) });
  }));
}

const times = (route) => asked.filter((one) => one.route === route).length;
let folder;

before(async () => {
  folder = mkdtempSync(join(tmpdir(), "verify-app-"));
  installation = createServer(answer);
  await new Promise((resolve) => installation.listen(0, "127.0.0.1", resolve));
});
after(() => {
  installation.close();
  rmSync(folder, { recursive: true });
});
beforeEach(() => {
  asked = [];
  state = { way: WAYS.consent, verdict: "accepted", looks: 1, missing: [], scopes: ["read"], account: "7", checks: 0, revokedBefore: 3, token: 0, dead: false, revoked: "confirmed" };
});

suite("verify-app", () => {
  test("goes through a consent from the client to the revocation", async () => {
    const { code, output, marks } = await verify(["acme", "--yes"]);
    assert.equal(code, 0, output);
    assert.deepEqual(marks, ["✓ client", "✓ connected", "✓ connection", "✓ resolve", "✓ check", "✓ first refresh", "✓ second refresh", "✓ check after the refreshes", "✓ further scope", "✓ revoked at the app", "✓ reconnected", "✓ resolve after the reconnect", "✓ disconnect"]);
    assert.match(output, /https:\/\/c\.example\/connect\/link/);
    assert.match(output, /someone@acme\.example \(7\)/);
    assert.match(output, /new access token/);
    assert.match(output, /sent in Authorization; to https:\/\/api\.acme\.example\n/);
    assert.equal(asked.find(({ route }) => route.endsWith("client/test")).query, "auth_method=oauth2");
    assert.equal(times("GET /v1/links/lnk_1"), 4);
    const [made, widened, repaired] = asked.filter(({ route }) => route === "POST /v1/links").map(({ body }) => body);
    assert.deepEqual([made.app, made.on_duplicate], ["acme", "create"]);
    assert.deepEqual(widened, { connection: "con_1", scopes: ["read", "write"] }, "one that needs no review");
    assert.deepEqual(repaired, widened);
    assert.match(output, /the check found needs_reconnect \(revoked\)/);
  });

  test("uses a refresh to see a revocation that the access token outlives", async () => {
    state.outlives = true;
    const { code, output } = await verify(["acme", "--yes"]);
    assert.equal(code, 0, output);
    assert.match(output, /✓ revoked at the app: the check found healthy \(probe: accepted\), and a refresh found needs_reconnect/);
  });

  test("fails if a revocation is not noticed, a scope is refused, or another account comes back", async () => {
    state.revokedBefore = Infinity;
    const unseen = await verify(["acme", "--yes"]);
    assert.match(unseen.output, /✗ revoked at the app: the check found healthy \(probe: accepted\), and a refresh works: the revocation was not noticed/);
    assert.ok(!unseen.marks.includes("✓ reconnected"));
    Object.assign(state, { scopes: ["read"], stingy: true, otherAccount: "8", checks: 0, revokedBefore: 3 });
    const { code, output } = await verify(["acme", "--yes"]);
    assert.equal(code, 1);
    assert.match(output, /✗ further scope: requested write; MISSING write/);
    assert.match(output, /✗ reconnected: connected, ANOTHER ACCOUNT/);
  });

  test("skips the steps that need a person a second time, on request", async () => {
    state.way = { ...WAYS.consent, scopes: [{ id: "read" }] };
    const { code, marks } = await verify(["acme"], "s\ny\n");
    assert.deepEqual([code, marks.slice(-3)], [0, ["· further scope", "· revoked at the app", "✓ disconnect"]]);
    state.checks = 0;
    assert.deepEqual((await verify(["acme", "--yes", "--short"])).marks.slice(-2), ["✓ check after the refreshes", "✓ disconnect"]);
  });

  test("asks for another key after the first was revoked", async () => {
    Object.assign(state, { way: WAYS.key, revokedBefore: 2 });
    const given = ["acme", "--yes", "--field", "email=someone@acme.example", "--variable", "site=acme"];
    const { code, output, marks } = await verify(given, `${SECRET}-first\n\n${SECRET}-second\n`);
    assert.equal(code, 0, output);
    assert.deepEqual(marks.slice(-4), ["✓ revoked at the app", "✓ reconnected", "✓ resolve after the reconnect", "✓ disconnect"]);
    const { body } = asked.find(({ route }) => route === "PUT /v1/connections/con_1/credential");
    assert.deepEqual(body, { auth_method: "token", credential: { type: "basic", email: "someone@acme.example", api_token: `${SECRET}-second` } });
  });

  test("stops at a client that the app refuses", async () => {
    state.verdict = "refused";
    const { code, output, marks } = await verify(["acme"]);
    assert.deepEqual([code, marks], [1, ["✗ client"]]);
    assert.match(output, /refused \(some_code\)\. Some detail\./);
    assert.equal(times("POST /v1/links"), 0);
  });

  test("explains how to set up a missing client", async () => {
    state.way = { ...WAYS.consent, ready: false };
    const { code, output } = await verify(["acme"]);
    assert.equal(code, 1);
    assert.match(output, /PUT \/v1\/apps\/acme\/client\n {4}1\. Create an app\./);
  });

  test("continues after a failed step, prints code and detail, and fails", async () => {
    Object.assign(state, { dead: true, revoked: "failed", missing: ["write"] });
    const { code, output, marks } = await verify(["acme", "--yes", "--short"]);
    assert.equal(code, 1);
    assert.match(output, /✗ first refresh: needs_reconnect: The connection must be reconnected\./);
    assert.match(output, /MISSING write/);
    assert.deepEqual(marks.slice(-2), ["✓ check after the refreshes", "✗ disconnect"]);
    assert.match(output, /tried again/);
  });

  test("disconnects only after a yes", async () => {
    assert.equal((await verify(["acme", "--keep", "--short"])).code, 0);
    assert.match((await verify(["acme", "--short"], "n\n")).output, /The connection is kept: con_1/);
    assert.equal(times("DELETE /v1/connections/con_1"), 0);
    assert.match((await verify(["acme", "--short"], "y\n")).output, /✓ disconnect: the app confirmed/);
  });

  test("stops waiting after the timeout", async () => {
    state.looks = Infinity;
    const { code, output } = await verify(["acme", "--timeout", "1"]);
    assert.equal(code, 1);
    assert.match(output, /✗ connected: nobody connected within 1 s \(the link is open\)/);
  });

  test("enters the fields of a key, and skips the refresh", async () => {
    state.way = WAYS.key;
    writeFileSync(join(folder, "token"), `${SECRET}-file\n`);
    const given = await verify(["acme", "--yes", "--short", "--field", "email=someone@acme.example", "--field", `api_token=@${join(folder, "token")}`, "--variable", "site=acme"]);
    assert.equal(given.code, 0, given.output);
    assert.deepEqual(given.marks, ["✓ connected", "✓ connection", "✓ resolve", "✓ check", "· refresh", "✓ disconnect"]);
    const typed = await verify(["acme", "--yes", "--short"], `someone@acme.example\n${SECRET}-file\nacme\n`);
    assert.equal(typed.code, 0, typed.output);
    const bodies = asked.filter(({ route }) => route === "POST /v1/connections").map(({ body }) => body);
    assert.deepEqual(bodies[0], bodies[1]);
    assert.deepEqual(bodies[0].credential, { type: "basic", email: "someone@acme.example", api_token: `${SECRET}-file` });
    assert.deepEqual([bodies[0].variables, bodies[0].on_duplicate], [{ site: "acme" }, "create"]);
  });

  test("refuses secrets in options, and unknown options", async () => {
    state.way = WAYS.key;
    for (const [args, complaint] of [
      [["acme", "--field", "api_token=x"], /is secret: use --field api_token=@FILE/],
      [["acme", "--field", "other=x"], /The auth method has no field other\. Its fields: email, api_token\./],
      [["acme", "--auth-method", "other"], /It has token \(basic\)\./],
      [["other"], /other: not_found: No \/v1\/apps\/other\./],
      [["acme", "--yes", "--keep"], /not both/],
      [["acme", "--colour"], /Unknown option/],
      [["acme", "--pause", "soon"], /--pause takes a number of seconds/],
      [[], /Usage/],
    ]) {
      const { code, output } = await verify(args);
      assert.equal(code, 1, output);
      assert.match(output, complaint);
    }
    assert.equal((await verify(["--help"])).code, 0);
  });
});
