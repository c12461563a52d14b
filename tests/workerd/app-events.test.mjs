// Owns what only the real runtime shows about events of apps: that the platform verifies signatures with public keys as apps
// make them, what it does with headers that come twice, and that an answer without a body has none. Node signs. The native
// tests cover the rest.

import assert from "node:assert/strict";
import { createHmac, generateKeyPairSync, randomBytes, sign } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { request as httpRequest } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { createClient, migrate } from "../../tools/bench/installation.mjs";
import { PUBLIC_URL, startRuntime } from "../../tools/bench/runtime.mjs";
import { createKeyRing } from "../support/installation.mjs";

let folder, runtime, client, db;

before(async () => {
  folder = mkdtempSync(join(tmpdir(), "app-events-"));
  const adminKey = randomBytes(32).toString("base64url");
  runtime = await startRuntime(["connections"], { folder, variables: { ENCRYPTION_KEYS: createKeyRing(), ADMIN_KEY: adminKey } });
  client = createClient(runtime);
  db = await runtime.miniflare.getD1Database("DB", "connections");
  await migrate(db);
  client.key = (await client.requestOk("POST", "/v1/workspaces", { name: "Acme Corp" }, adminKey)).key.key;
});

after(async () => {
  await runtime?.close();
  rmSync(folder, { recursive: true, force: true });
});

const putClient = (app, body) => client.requestOk("PUT", `/v1/apps/${app}/client`, body);
const pathOf = ({ events_url: url }) => url.slice(PUBLIC_URL.length);

/** Sends an event: `{ status, headers, text }`. A list of values is sent as several headers. */
function send(path, headers, body, method = "POST") {
  return new Promise((resolve, reject) => {
    const request = httpRequest({ port: runtime.ports.connections, path, method, headers }, async (response) => {
      const pieces = [];
      for await (const piece of response) pieces.push(piece);
      resolve({ status: response.statusCode, headers: response.headers, text: Buffer.concat(pieces).toString() });
    });
    request.on("error", reject);
    request.end(body);
  });
}

/** What is stored of events and their secrets. */
async function stored() {
  const tables = ["seen_app_events", "outbox", "oauth_clients", "events"];
  return JSON.stringify(await Promise.all(tables.map(async (table) => (await db.prepare(`SELECT * FROM ${table}`).all()).results)));
}

async function assertRefused(path, headers, body, why) {
  const before = await stored();
  const answer = await send(path, headers, body);
  assert.deepEqual([answer.status, answer.text], [401, "not accepted\n"], why);
  assert.equal(await stored(), before, why);
}

const now = () => Math.floor(Date.now() / 1000);

test("events that Discord signs with Ed25519 are accepted, and answered without a body", async () => {
  const { publicKey, privateKey } = generateKeyPairSync("ed25519");
  const raw = publicKey.export({ format: "der", type: "spki" }).subarray(-32).toString("hex");
  const path = pathOf(await putClient("discord", { client_id: "1", client_secret: "s", event_secret: raw }));
  const headers = (body, time = now(), key = privateKey) => ({
    "X-Signature-Ed25519": sign(null, Buffer.from(`${time}${body}`), key).toString("hex"),
    "X-Signature-Timestamp": `${time}`,
  });
  const ping = JSON.stringify({ version: 1, application_id: "1", type: 0 });
  const pong = await send(path, headers(ping), ping);
  assert.deepEqual([pong.status, pong.text], [204, ""]);
  assert.match(pong.headers["content-type"], /text\/plain/);
  const body = JSON.stringify({ version: 1, type: 1, event: { type: "APPLICATION_DEAUTHORIZED", data: { user: { id: "80351110224678912" } } } });
  assert.equal((await send(path, headers(body), body)).status, 204);
  const good = headers(body);
  await assertRefused(path, good, `${body} `, "one byte more");
  await assertRefused(path, headers(body, now() - 1000), body, "too old");
  await assertRefused(path, { ...good, "X-Signature-Ed25519": good["X-Signature-Ed25519"].slice(2) }, body, "a signature that is cut");
  await assertRefused(path, { ...good, "X-Signature-Timestamp": `${now() + 1}` }, body, "another time");
  const one = good["X-Signature-Ed25519"];
  await assertRefused(path, { ...good, "X-Signature-Ed25519": [one, one] }, body, "the signature twice");
  await assertRefused(path, headers(body, now(), generateKeyPairSync("ed25519").privateKey), body, "somebody else's");
});

test("events that SendGrid signs with ECDSA are accepted, and a key that is no point on the curve accepts nothing", async () => {
  const { publicKey, privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const spki = publicKey.export({ format: "der", type: "spki" });
  const path = pathOf(await putClient("sendgrid", { event_secret: spki.toString("base64") }));
  const headers = (body, time = now()) => ({
    "X-Twilio-Email-Event-Webhook-Signature": sign("sha256", Buffer.from(`${time}${body}`), privateKey).toString("base64"),
    "X-Twilio-Email-Event-Webhook-Timestamp": `${time}`,
  });
  // A number of a signature is often shorter than 32 bytes, or has a zero before it: many signatures meet both.
  for (let number = 0; number < 40; number += 1) {
    const body = JSON.stringify([{ event: "delivered", number }]);
    assert.equal((await send(path, headers(body), body)).status, 200, body);
  }
  const body = '[{"event":"open"}]';
  await assertRefused(path, headers(body), '[{"event":"OPEN"}]', "another body");
  await assertRefused(path, headers(body, now() - 90_000), body, "too old");
  const nowhere = Buffer.concat([spki.subarray(0, 27), Buffer.alloc(64, 1)]);
  await putClient("sendgrid", { event_secret: nowhere.toString("base64") });
  await assertRefused(path, headers(body), body, "a point that is on no curve");
});

test("a secret that an app sends is taken once, at the address that was asked for", async () => {
  const path = pathOf(await putClient("asana", { client_id: "1", client_secret: "s" }));
  const secret = randomBytes(32).toString("hex");
  await assertRefused(path, { "X-Hook-Secret": secret }, "{}", "nobody asked");
  const opened = await client.requestOk("POST", "/v1/apps/asana/client/handshake");
  const address = pathOf(opened);
  await assertRefused(`${address}x`, { "X-Hook-Secret": secret }, "{}", "another token");
  const answer = await send(address, { "X-Hook-Secret": secret }, "{}");
  assert.deepEqual([answer.status, answer.headers["x-hook-secret"]], [200, secret]);
  await assertRefused(address, { "X-Hook-Secret": randomBytes(32).toString("hex") }, "{}", "it was used");
  const body = '{"events":[{"action":"changed"}]}';
  const signature = createHmac("sha256", secret).update(body).digest("hex");
  assert.equal((await send(address, { "X-Hook-Signature": signature }, body)).status, 200);
  assert.ok(!(await stored()).includes(secret));
});
