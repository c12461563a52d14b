// Owns the proof, on the real runtime, that an installation with two D1 databases works: each workspace is in one of them
// and asks no other, also through the Durable Object and in the scheduled run; and a Worker whose bindings have a gap, or
// lack a database, says so or answers like for unknown keys.

import assert from "node:assert/strict";
import { after, before, suite, test } from "node:test";
import { createWorkspace, startInstallation, writeConfigFile } from "../support/installation.mjs";
import { Person } from "../support/person.mjs";

const FURTHER = ["DB_1"];

suite("two databases", () => {
  let installation, first, second, ids;
  const count = async (binding, table, where = "true") => (await (await installation.worker.getEnv())[binding].prepare(`SELECT count(*) AS n FROM ${table} WHERE ${where}`).first()).n;
  const connect = async (workspace) => {
    const person = new Person(installation);
    const { url } = await installation.requestOk("POST", "/v1/sign-in-links", { user: person.user }, workspace.key);
    await person.signIn(url);
    return person.connect("acme", { login: "ada" });
  };

  before(async () => {
    installation = await startInstallation({ configs: [writeConfigFile({ further: FURTHER })], databases: ["DB", ...FURTHER] });
    first = { key: installation.key, workspace: installation.workspace };
    second = await createWorkspace(installation, "Second");
    ids = [await connect(first), await connect(second)];
  });
  after(() => installation.close());

  test("take workspaces in turn, and each has the rows of its own", async () => {
    const { data } = await installation.requestOk("GET", "/v1/workspaces?limit=1", undefined, installation.adminKey);
    const { body } = await installation.requestApi("GET", `/v1/workspaces?cursor=${data[0].id}`, undefined, installation.adminKey);
    assert.deepEqual([...data, ...body.data].map(({ id, database }) => [id, database]), [[first.workspace, 0], [second.workspace, 1]]);
    for (const table of ["workspaces", "connections", "oauth_clients", "sessions"]) {
      assert.deepEqual([await count("DB", table), await count("DB_1", table)], [1, 1], table);
    }
    assert.match(ids[1], /^con_01/);
  });

  test("keep workspaces apart", async () => {
    for (const [key, own, other] of [[first.key, ids[0], ids[1]], [second.key, ids[1], ids[0]]]) {
      assert.equal((await installation.resolve(own, {}, key)).status, 200);
      const { status, body } = await installation.resolve(other, {}, key);
      assert.deepEqual([status, body.code], [404, "connection_not_found"]);
      assert.equal((await installation.requestApi("GET", `/v1/connections/${other}`, undefined, key)).status, 404);
    }
  });

  test("the Durable Object refreshes in the database of the connection", async () => {
    for (const [at, key] of [first.key, second.key].entries()) {
      const { body } = await installation.resolve(ids[at], { force_refresh: true }, key);
      assert.equal(body.freshness, "refreshed");
    }
    for (const binding of ["DB", "DB_1"]) assert.equal(await count(binding, "connections", "version = 2"), 1, binding);
  });

  test("one cron event runs both", async () => {
    const env = await installation.worker.getEnv();
    for (const binding of ["DB", "DB_1"]) await env[binding].prepare("UPDATE connections SET next_check_at = 1").run();
    await installation.runScheduled();
    for (const binding of ["DB", "DB_1"]) assert.equal(await count(binding, "connections", "next_check_at > 1"), 1, binding);
    const status = await installation.requestOk("GET", "/v1/status", undefined, installation.adminKey);
    const seen = status.databases.map(({ binding, reachable, workspaces, connections, last_cron_run: run }) => [binding, reachable, workspaces, connections, run?.summary.checked]);
    assert.deepEqual(seen, [["DB", true, 1, 1, 1], ["DB_1", true, 1, 1, 1]]);
    assert.deepEqual(status.databases.map(({ migrations }) => migrations), [status.migrations, status.migrations]);
    assert.ok(status.migrations.length > 10);
    assert.equal((await installation.request("/healthz")).status, 200);
  });

  test("a database without migrations is named, and the other one works", async () => {
    await installation.restart({ configPath: writeConfigFile({ further: [...FURTHER, "DB_2"] }) });
    assert.equal((await installation.request("/healthz")).status, 503);
    const { databases } = await installation.requestOk("GET", "/v1/status", undefined, installation.adminKey);
    assert.deepEqual(databases.map(({ reachable }) => reachable), [true, true, false]);
    assert.match(databases[2].problem, /migration/);
    assert.equal((await installation.resolve(ids[1], {}, second.key)).status, 200);
    const { status, body } = await installation.requestApi("POST", "/v1/workspaces", { name: "Third", database: 2 }, installation.adminKey);
    assert.deepEqual([status, body.code], [503, "misconfigured"]);
  });

  test("a gap in the bindings is named, and nothing is answered", async () => {
    await installation.restart({ configPath: writeConfigFile({ further: ["DB_2"] }) });
    const { status, body } = await installation.requestApi("GET", "/v1/connections", undefined, first.key);
    assert.deepEqual([status, body.code], [503, "misconfigured"]);
    assert.match(body.detail, /DB_1 is missing from wrangler\.toml, although DB_2/);
    assert.equal((await installation.request("/healthz")).status, 503);
  });

  test("what is in a database that is not bound is unknown, also to the cache, and is there again afterwards", async () => {
    await installation.restart({ configPath: writeConfigFile({ further: FURTHER }) });
    await installation.resolve(ids[1], { consistency: "edge" }, second.key);
    await new Promise((resolve) => setTimeout(resolve, 300));
    assert.ok((await installation.kv.list()).keys.some(({ name }) => name.includes(ids[1])));
    await installation.restart({ configPath: writeConfigFile({}) });
    for (const consistency of ["strong", "available", "edge"]) {
      assert.equal((await installation.resolve(ids[1], { consistency }, second.key)).status, 401, consistency);
    }
    assert.equal((await installation.resolve(ids[0], {}, first.key)).status, 200);
    await installation.restart({ configPath: writeConfigFile({ further: FURTHER }) });
    assert.equal((await installation.resolve(ids[1], {}, second.key)).status, 200);
  });
});
