// Owns what only the real runtime shows about the proxy: bodies pass as streams, untouched and with their length, in flat
// memory; broken ones break on both sides; and many refused callers cause one refresh. Its Worker reaches the app without
// this process in between. The native tests cover what passes and what does not.

import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { Agent, request as httpRequest } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, suite, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { gunzipSync } from "node:zlib";
import { createClient, migrate } from "../../tools/bench/installation.mjs";
import { startRuntime } from "../../tools/bench/runtime.mjs";
import { CLIENT_ID, createKeyRing } from "../support/installation.mjs";
import { hashOfBody, startPassingApp, writePieces } from "../support/passing-app.mjs";

const MB = 1024 * 1024;
const LIMIT = 100 * MB;
/** Memory that a stream may add. A body that is read into memory adds its whole size. */
const FLAT = 40 * MB;

let folder, app, runtime, client, connection;
const agent = new Agent({ keepAlive: true, maxSockets: 100 });

before(async () => {
  folder = mkdtempSync(join(tmpdir(), "proxy-"));
  app = await startPassingApp();
  const adminKey = randomBytes(32).toString("base64url");
  const variables = { ENCRYPTION_KEYS: createKeyRing(), ADMIN_KEY: adminKey };
  runtime = await startRuntime(["connections"], { folder, variables, outboundPorts: [Number(new URL(app.origin).port)] });
  client = createClient(runtime);
  await migrate(await runtime.miniflare.getD1Database("DB", "connections"));
  const workspace = await client.requestOk("POST", "/v1/workspaces", { name: "Acme Corp" }, adminKey);
  client.key = workspace.key.key;
  await client.requestOk("POST", "/v1/apps", app.definition);
  await client.requestOk("PUT", "/v1/apps/passing/client", { client_id: CLIENT_ID, client_secret: "a-small-secret" });
  const expires_at = new Date(Date.now() + 3_600_000).toISOString();
  const credential = { type: "oauth2", access_token: app.token, refresh_token: "refresh-0", expires_at, scopes: ["read"] };
  connection = (await client.requestOk("POST", "/v1/connections", { app: "passing", credential, check: false })).id;
  client.proxyKey = (await client.requestOk("POST", "/v1/keys", { name: "proxy", scopes: ["proxy"] })).key;
});

after(async () => {
  agent.destroy();
  await runtime?.close();
  app?.close();
  rmSync(folder, { recursive: true, force: true });
});

/**
 * Sends a request through the proxy: `{ status, headers, size, hash, bytes, whole }`, or `{ broken: true }` without an answer.
 * `size` bytes are sent, in chunks if `chunked`. The caller leaves after `breakAfter` bytes were sent, or `leaveAfter` received.
 */
function send(path, { method = "GET", headers = {}, body, size, chunked = false, leaveAfter, breakAfter } = {}) {
  const length = body?.length ?? size;
  return new Promise((resolve) => {
    const request = httpRequest({
      agent,
      port: runtime.ports.connections,
      path: `/v1/connections/${connection}/proxy/${path}`,
      method,
      headers: { authorization: `Bearer ${client.proxyKey}`, ...(length !== undefined && !chunked && { "content-length": length }), ...headers },
    });
    request.on("error", () => resolve({ broken: true }));
    request.on("response", (response) => {
      const [hash, kept] = [createHash("sha256"), []];
      let received = 0;
      response.on("data", (piece) => {
        received += piece.length;
        hash.update(piece);
        if (received < MB) kept.push(piece);
        if (leaveAfter && received > leaveAfter) request.destroy();
      });
      response.on("error", () => {});
      response.on("close", () => {
        const { statusCode: status, headers, complete: whole } = response;
        resolve({ status, headers, size: received, hash: hash.digest("hex"), bytes: Buffer.concat(kept), whole });
      });
    });
    if (body !== undefined) request.end(body);
    else if (breakAfter) void writePieces(request, breakAfter, false).then(() => request.destroy());
    else if (size !== undefined) void writePieces(request, size);
    else request.end();
  });
}

const outcome = ({ headers }) => headers["x-connections-outcome"];
const lastSeen = () => app.requests.at(-1);

/** How much memory the runtime has more while something runs, at most. */
async function measureMemory(run) {
  const begin = runtime.memory();
  let most = begin;
  const timer = setInterval(() => (most = Math.max(most, runtime.memory())), 20);
  const result = await run();
  clearInterval(timer);
  return { result, added: most - begin };
}

async function waitFor(condition) {
  for (let tries = 0; tries < 200 && !condition(); tries += 1) await sleep(20);
  assert.ok(condition());
}

suite("what passes", () => {
  test("bytes, length, method and status pass as they are", async () => {
    const body = randomBytes(1000);
    const headers = { "content-type": "application/x-thing", cookie: "a=b", "x-forwarded-for": "1.2.3.4" };
    const answer = await send("a%2Fb?x=%20&x=y", { method: "PATCH", body, headers });
    assert.deepEqual([answer.status, outcome(answer), answer.whole], [200, "passed", true]);
    const told = JSON.parse(answer.bytes);
    assert.deepEqual([told.method, told.url, told.size], ["PATCH", "/api/a%2Fb?x=%20&x=y", 1000]);
    assert.equal(told.hash, createHash("sha256").update(body).digest("hex"));
    const seen = lastSeen().headers;
    assert.deepEqual([seen["content-length"], seen["content-type"], seen.cookie, seen["x-forwarded-for"]], ["1000", "application/x-thing", undefined, undefined]);
    assert.equal(seen.authorization, `Bearer ${app.token}`);
    assert.deepEqual([answer.headers["set-cookie"], answer.headers["x-rate-limit"], answer.headers.etag], [undefined, "7", '"1"']);
    assert.equal(answer.headers["content-security-policy"], "sandbox; default-src 'none'; frame-ancestors 'none'");
    assert.deepEqual([answer.headers["cache-control"], answer.headers["x-content-type-options"]], ["no-store", "nosniff"]);
    assert.match(answer.headers["x-request-id"], /./);
  });

  test("answers without a body have none, and HEAD keeps the length", async () => {
    for (const status of [204, 304]) {
      const answer = await send(`x?status=${status}`);
      assert.deepEqual([answer.status, answer.size, outcome(answer)], [status, 0, "passed"]);
    }
    const head = await send("x?size=12345", { method: "HEAD" });
    assert.deepEqual([head.status, head.headers["content-length"], head.size], [200, "12345", 0]);
    const gone = await send("x?status=307&location=https%3A%2F%2Felsewhere.example%2F");
    assert.deepEqual([gone.status, gone.headers.location, app.requests.length > 0], [307, "https://elsewhere.example/", true]);
  });

  test("a compressed body is not unpacked", async () => {
    const answer = await send("x?gzip=1", { headers: { "accept-encoding": "gzip" } });
    assert.equal(answer.headers["content-encoding"], "gzip");
    assert.equal(Number(answer.headers["content-length"]), answer.size);
    assert.equal(gunzipSync(answer.bytes).length, 6000);
    await send("x");
    assert.equal(lastSeen().headers["accept-encoding"], "identity");
  });

  for (const chunked of [false, true]) {
    const how = chunked ? "without a length" : "with its length";
    test(`100 MB pass up ${how} in flat memory`, async () => {
      const { result, added } = await measureMemory(() => send("file", { method: "PUT", size: LIMIT, chunked }));
      assert.deepEqual([result.status, outcome(result)], [200, "passed"]);
      const { size, hash, whole, headers } = lastSeen();
      assert.deepEqual([size, hash, whole], [LIMIT, hashOfBody(LIMIT), true]);
      assert.equal(headers["content-length"], chunked ? undefined : `${LIMIT}`);
      assert.ok(added < FLAT, `${Math.round(added / MB)} MB`);
      console.log(`up ${how}: ${(added / MB).toFixed(1)} MB more memory`);
    });

    test(`100 MB pass down ${how} in flat memory`, async () => {
      const { result, added } = await measureMemory(() => send(`file?size=${LIMIT}${chunked ? "&chunked=1" : ""}`));
      assert.deepEqual([result.status, result.size, result.whole, result.hash], [200, LIMIT, true, hashOfBody(LIMIT)]);
      assert.equal(result.headers["content-length"], chunked ? undefined : `${LIMIT}`);
      assert.ok(added < FLAT, `${Math.round(added / MB)} MB`);
      console.log(`down ${how}: ${(added / MB).toFixed(1)} MB more memory`);
    });
  }
});

suite("what does not", () => {
  test("a body over the limit is refused before it is sent, or breaks off", async () => {
    const before = app.requests.length;
    const told = await send("file", { method: "PUT", headers: { "content-length": LIMIT + 1 }, body: "x" });
    assert.ok(told.broken || told.status === 413, JSON.stringify(told));
    assert.equal(app.requests.length, before);
    const counted = await send("file", { method: "PUT", size: LIMIT + 1, chunked: true });
    assert.ok(counted.broken || (counted.status === 413 && outcome(counted) === "body_too_large"), JSON.stringify(counted));
    await waitFor(() => lastSeen().closed);
    assert.equal(lastSeen().whole, false, "the app does not take a part for the whole");
  });

  test("an answer over the limit is refused, or breaks off", async () => {
    const told = await send(`file?size=${LIMIT + 1}`);
    assert.deepEqual([told.status, outcome(told)], [502, "app_response_refused"]);
    const counted = await send(`file?size=${LIMIT + 1}&chunked=1`);
    assert.equal(counted.whole, false);
  });

  test("a caller who leaves half-way leaves the app, too", async () => {
    for (const chunked of [false, true]) {
      const left = await send(`file?size=${50 * MB}${chunked ? "&chunked=1" : ""}`, { leaveAfter: 5 * MB });
      assert.equal(left.whole, false);
      await waitFor(() => lastSeen().closed);
      assert.equal(lastSeen().answered, false);
    }
    for (const chunked of [false, true]) {
      const count = app.requests.length;
      await send("file", { method: "PUT", size: 50 * MB, chunked, breakAfter: 5 * MB });
      await waitFor(() => app.requests.length > count && lastSeen().closed);
      assert.equal(lastSeen().whole, false, `chunked: ${chunked}`);
    }
    assert.equal((await send("x")).status, 200);
  });
});

suite("a refused token", () => {
  test("fifty callers cause one refresh, and each gets the answer to its own request", async () => {
    app.forget();
    const [requests, refreshes] = [app.requests.length, app.refreshes];
    const bodies = Array.from({ length: 50 }, (_, number) => Buffer.from(`body ${number}`));
    const answers = await Promise.all(bodies.map((body) => send("items", { method: "POST", body })));
    for (const [number, answer] of answers.entries()) {
      assert.deepEqual([answer.status, outcome(answer)], [200, "refreshed"], answer.bytes.toString());
      assert.equal(JSON.parse(answer.bytes).hash, createHash("sha256").update(bodies[number]).digest("hex"));
    }
    assert.deepEqual([app.refreshes - refreshes, app.requests.length - requests], [1, 100]);
  });

  test("a body that is not kept is not repeated, and its caller is told", async () => {
    for (const options of [{ size: MB }, { size: 1000, chunked: true }]) {
      // A refresh that has just finished would be good enough.
      const db = await runtime.miniflare.getD1Database("DB", "connections");
      await db.prepare("UPDATE connections SET refreshed_at = refreshed_at - 100").run();
      app.forget();
      const refreshes = app.refreshes;
      const answer = await send("file", { method: "PUT", ...options });
      assert.deepEqual([answer.status, outcome(answer), answer.bytes.toString()], [401, "refused_not_repeated", "refused"]);
      assert.equal(app.refreshes - refreshes, 1);
      assert.equal(outcome(await send("file", { method: "PUT", ...options })), "passed");
    }
  });
});
