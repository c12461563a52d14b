// Owns where a resolve reads: the database or the cache. A cache entry permits nothing that the database forbids,
// contains no refresh token, and is deleted with what it was made from. Also the cost of a hot resolve.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, suite, test } from "node:test";
import { createApiKey, ROOT, startInstallation } from "../support/installation.mjs";
import { Person } from "../support/person.mjs";

let installation, ada;
before(async () => {
  installation = await startInstallation({ accessTokenTtl: 900 });
  ada = await Person.createSignedIn(installation);
});
after(() => installation.close());

let people = 0;
const connect = () => ada.connect("acme", { login: `somebody${(people += 1)}` });
const edge = (id, body, key) => installation.resolve(id, { consistency: "edge", ...body }, key);
const cached = async () => (await installation.kv.list()).keys.map(({ name }) => name);

/** Cache entries are written after the answer. */
async function until(holds, what) {
  for (let tries = 0; tries < 100; tries += 1) {
    if (await holds()) return;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  assert.fail(`in two seconds: ${what}`);
}
async function copied(id, key) {
  await edge(id, {}, key);
  await until(async () => (await edge(id, {}, key)).body.source === "cache", "an answer from the copy");
}

suite("a cache entry", () => {
  test("answers after the first resolve in edge mode, with the same credential", async () => {
    const id = await connect();
    const first = await edge(id);
    assert.equal(first.body.source, "database");
    await copied(id);
    const { body } = await edge(id);
    assert.deepEqual({ ...body, source: "database" }, first.body);
    for (const consistency of ["strong", "available"])
      assert.equal((await installation.resolve(id, { consistency })).body.source, "database", consistency);
  });

  test("is not written for a caller who reads only the database", async () => {
    const id = await connect();
    await installation.resolve(id);
    assert.ok(!(await cached()).some((name) => name.includes(id)));
  });

  test("contains no refresh token and nothing unencrypted", async () => {
    const id = await connect();
    await copied(id);
    const { credential } = (await edge(id)).body;
    for (const name of await cached()) {
      const text = await installation.kv.get(name);
      assert.ok(!text.includes(credential.access_token) && !text.includes("ada"), name);
      if (name.startsWith("connection/") || name.startsWith("key/"))
        assert.deepEqual(
          Object.keys(JSON.parse(text)).filter((field) => !["workspace", "generation", "version", "revision", "until", "sealed"].includes(field)),
          [],
          name,
        );
    }
    // The entry cannot replace the credential in the database: it is sealed for another place and has no refresh token.
    const { sealed } = JSON.parse(await installation.kv.get(`connection/${id}`));
    await installation.run("UPDATE connections SET sealed_credential = ?2 WHERE id = ?1", id, sealed);
    assert.equal((await installation.resolve(id)).body.reason, "unreadable");
  });

  const ENDS = {
    "a disconnect": { end: (id) => installation.requestOk("DELETE", `/v1/connections/${id}`), status: 404 },
    "a revoked key": { end: (id, key) => installation.requestOk("DELETE", `/v1/keys/${key.id}`), status: 401 },
    "a workspace's policy": { end: (id) => installation.requestOk("PATCH", `/v1/connections/${id}`, { allowed_workflows: ["billing"] }), status: 403 },
  };
  for (const [name, { end, status }] of Object.entries(ENDS)) {
    test(`is deleted with ${name}`, async () => {
      const id = await connect();
      const key = await installation.requestOk("POST", "/v1/keys", { name: "brief", scopes: ["resolve"] });
      await copied(id, key.key);
      await end(id, key);
      assert.equal((await edge(id, {}, key.key)).status, status);
      assert.equal((await installation.resolve(id, {}, key.key)).status, status);
    });
  }

  test("follows a reconnect and a rename", async () => {
    const login = `somebody${people + 1}`;
    const id = await connect();
    await copied(id);
    const old = (await edge(id)).body.credential.access_token;
    await ada.completeFlow(`/connections/${id}/reconnect`, { login });
    const { body } = await edge(id);
    assert.notEqual(body.credential.access_token, old);
    await copied(id);
    await installation.requestOk("PATCH", `/v1/connections/${id}`, { name: "Renamed" });
    assert.equal((await edge(id)).body.connection.name, "Renamed");
  });

  test("is replaced after a forced refresh in this mode", async () => {
    const id = await connect();
    await copied(id);
    const { body } = await edge(id, { force_refresh: true });
    assert.deepEqual([body.freshness, body.source], ["refreshed", "database"]);
    await until(async () => (await edge(id)).body.credential.access_token === body.credential.access_token, "the new token in edge mode");
  });

  test("permits an API key nothing that the database forbids", async () => {
    const id = await connect();
    const other = await connect();
    for (const one of [id, other]) await copied(one);
    const narrow = await createApiKey(installation, ["resolve"], { connections: [other] });
    const reader = await createApiKey(installation, ["connections:read"]);
    await copied(other, narrow);
    assert.equal((await edge(id, {}, narrow)).status, 404, "outside its allow-list");
    assert.equal((await edge(id, {}, reader)).status, 403, "without the scope");
    assert.equal((await edge(id, {}, null)).status, 401);
    assert.equal((await edge(id, { expect: { account: "nobody" } })).body.code, "unexpected_connection");
    assert.equal((await edge(id, { scopes: ["admin"] })).body.code, "missing_scopes");
  });

  test("that was changed or swapped is not used: the database answers", async () => {
    const other = await connect();
    await copied(other);
    const theirs = await installation.kv.get(`connection/${other}`);
    for (const text of [theirs, "{}", "not json", ""]) {
      // A connection that this isolate does not remember: what it remembers is not read for 30 seconds.
      const id = await connect();
      await installation.kv.put(`connection/${id}`, text);
      const { status, body } = await edge(id);
      assert.deepEqual([status, body.connection.id, body.source], [200, id, "database"], text.slice(0, 20));
    }
  });
});

test("a hot resolve reads the same number of rows with 10 and with 1,000 connections", async (t) => {
  const id = await connect();
  await installation.resolve(id, { workflow: "nightly", step: "fetch" });
  const key = (await installation.row("SELECT id FROM api_keys ORDER BY created_at LIMIT 1")).id;
  const text = hotStatement();
  const parameters = Math.max(...[...text.matchAll(/\?(\d+)/g)].map(([, number]) => Number(number)));
  // The others say what an isolate knows already: nothing.
  const known = Array(parameters - 4).fill(null);
  const statement = installation.db.prepare(text).bind(key, id, "nightly", "fetch", ...known);
  const read = async () => {
    const { results, meta } = await statement.all();
    assert.equal(results[0].id, id);
    return meta.rows_read;
  };
  const fill = async (count) => {
    const { results } = await installation.db.prepare("SELECT name FROM pragma_table_info('connections')").all();
    const columns = results.map(({ name }) => name);
    const copies = columns.map((name) => (name === "id" ? "'con_' || lower(hex(randomblob(16)))" : name));
    await installation.run(
      `INSERT INTO connections (${columns}) WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?2) SELECT ${copies} FROM connections, n WHERE id = ?1`,
      id,
      count,
    );
    return (await installation.row("SELECT count(*) AS rows FROM connections")).rows;
  };
  const few = [await fill(1), await read()];
  const many = [await fill(1000), await read()];
  t.diagnostic(`rows read by a hot resolve: ${few[1]} of ${few[0]} connections, ${many[1]} of ${many[0]}`);
  assert.equal(many[1], few[1]);
  assert.ok(many[0] > 1000);
  assert.equal((await installation.resolve(id, { workflow: "nightly", step: "fetch" })).body.source, "database");
});

/** The statement of a resolve, read from the source. Which columns of the key it selects changes nothing of the rows it reads. */
function hotStatement() {
  const source = readFileSync(join(ROOT, "src/store/connections.rs"), "utf8");
  const macros = readFileSync(join(ROOT, "src/store/mod.rs"), "utf8");
  const parts = /const FOR_RESOLVE: &str = concat!\((.*?)\n\);/s.exec(source)?.[1] ?? assert.fail("no statement FOR_RESOLVE");
  return textOf(parts.replace('key_columns!("k")', '"k.id AS key_id"'), macros);
}

/** The text of a `concat!`, with what the macros in it stand for. */
function textOf(parts, macros) {
  const expanded = parts.replace(/(\w+)!\((?:"(\w*)")?\)/g, (_, name, argument) => {
    const body = new RegExp(`macro_rules! ${name} \\{.*?=> \\{(.*?)\\n    \\};`, "s").exec(macros)?.[1] ?? assert.fail(`no macro ${name}`);
    return `"${textOf(body.replace(/\$\w+/g, `"${argument}"`), macros)}"`;
  });
  return expanded
    .match(/"[^"]*"/g)
    .map((text) => text.slice(1, -1))
    .join("");
}
