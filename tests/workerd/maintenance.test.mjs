// Owns the proof, on the real runtime, that the Worker does not use the database during maintenance: every route
// answers 503, the scheduled run and the Durable Object do nothing, and everything works again afterwards. The database
// has no tables during the test, so any use of it would fail.

import assert from "node:assert/strict";
import { after, before, suite, test } from "node:test";
import { PUBLIC_URL, startInstallation } from "../support/installation.mjs";
import { Person } from "../support/person.mjs";

const VARS = { PUBLIC_URL, DEV_LOOPBACK: "1" };
const HIDDEN = ["connections", "api_keys", "sessions", "scheduled_runs", "encryption_key_checks"];

suite("maintenance", () => {
  let installation, id, ada;
  before(async () => {
    installation = await startInstallation();
    ada = await Person.createSignedIn(installation);
    id = await ada.connect("acme", { login: "ada" });
    await installation.restart({ vars: { ...VARS, MAINTENANCE: "1" } });
    for (const table of HIDDEN) await installation.run(`ALTER TABLE ${table} RENAME TO hidden_${table}`);
  });
  after(() => installation.close());

  test("every route answers 503 with Retry-After, in the form of its other answers", async () => {
    for (const [method, path] of [
      ["GET", "/v1/connections"],
      ["POST", `/v1/connections/${id}/resolve`],
      ["DELETE", `/v1/connections/${id}`],
      ["GET", "/v1/status"],
      ["POST", "/v1/workspaces"],
      ["GET", "/v1/nothing"],
    ]) {
      const { status, headers, body } = await installation.requestApi(method, path, method === "GET" ? undefined : {});
      assert.deepEqual([status, body.code, body.status, headers.get("retry-after")], [503, "maintenance", 503, "60"], path);
      assert.equal(headers.get("content-type"), "application/problem+json", path);
    }
    for (const path of ["/", "/connect/some-token", "/sign-in/some-token", "/oauth/start/acme"]) {
      const { status, headers, text } = await ada.get(path);
      assert.deepEqual([status, headers.get("retry-after")], [503, "60"], path);
      assert.doesNotMatch(text, /misconfigured|internal/, path);
    }
    assert.match((await ada.get("/")).text, /An update is being installed.*Wait a minute/s);
  });

  test("/healthz answers maintenance", async () => {
    const { status, headers, text } = await installation.request("/healthz");
    assert.deepEqual([status, JSON.parse(text), headers.get("retry-after")], [503, { status: "maintenance" }, "60"]);
  });

  test("the scheduled run does nothing", async () => {
    installation.server.clearLogs();
    await installation.runScheduled();
    assert.doesNotMatch(JSON.stringify(installation.server.getLogs()), /scheduled_run_failed|D1_ERROR/);
  });

  test("the Durable Object does nothing, and returns when to retry", async () => {
    const { REFRESHER } = await installation.worker.getEnv();
    const object = REFRESHER.get(REFRESHER.idFromName(id));
    const body = JSON.stringify({ connection: id, errand: { reason: "force" } });
    const answer = await object.fetch("https://refresher/", { method: "POST", body });
    assert.deepEqual(await answer.json(), { outcome: "unavailable", retry_after: 60 });
  });

  test("an invalid variable is answered misconfigured, and nothing is done", async () => {
    await installation.restart({ vars: { ...VARS, MAINTENANCE: "yes" } });
    const { status, body } = await installation.requestApi("GET", "/v1/connections");
    assert.deepEqual([status, body.code], [503, "misconfigured"]);
    assert.match(body.detail, /MAINTENANCE/);
  });

  test("everything works again afterwards", async () => {
    for (const table of HIDDEN) await installation.run(`ALTER TABLE hidden_${table} RENAME TO ${table}`);
    await installation.restart({ vars: { ...VARS, MAINTENANCE: "0" } });
    assert.equal((await installation.request("/healthz")).status, 200);
    assert.equal((await installation.resolve(id)).status, 200);
    assert.equal((await ada.get("/")).status, 200);
  });
});
