// Owns the proof that a migration which needs maintenance is applied safely: a Worker that does not use the database is
// deployed first, rows move in bounded steps, and a deployment that was stopped at any point continues when it is
// started again, without lost or duplicate rows. A fake wrangler keeps a real SQLite database. One test uses wrangler
// itself.

import assert from "node:assert/strict";
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { suite, test } from "node:test";
import { repoPath, capture, quietWrangler, wrangler } from "../../tools/bootstrap.mjs";
import { deploy, ROWS_PER_STEP, DRAIN_SECONDS } from "../../tools/deployment.mjs";

const TOML = readFileSync(repoPath("wrangler.toml"), "utf8");
const URL_OF_IT = "https://connections.acme.workers.dev";
const MIGRATIONS = readdirSync(repoPath("migrations")).sort();
/** The first migration that needs maintenance, and the one that moves rows. */
const [NAMES, MOVES] = ["0013_names.sql", "0014_move_rows.sql"];
const BEFORE = MIGRATIONS.filter((name) => name < NAMES);
/** The highest number of statements in one step. */
const STATEMENTS = 3;

class Killed extends Error {}

/**
 * An installation: its database, the deployed Worker, and a fake wrangler that reaches both. `more` are the migrations of
 * further databases.
 */
function installation({ applied = BEFORE, more = [] } = {}) {
  const open = () => {
    const db = new DatabaseSync(":memory:");
    db.exec("PRAGMA foreign_keys = ON; CREATE TABLE d1_migrations (id INTEGER PRIMARY KEY, name TEXT UNIQUE)");
    return db;
  };
  const all = new Map([["DB", open()], ...more.map((_, at) => [`DB_${at + 1}`, open()])]);
  const self = { db: all.get("DB"), all, worker: undefined, log: [], steps: [], waits: [], healths: [], files: new Map(), deadAfter: Infinity };
  const toml = TOML + more.map((_, at) => `\n[[d1_databases]]\nbinding = "DB_${at + 1}"\ndatabase_name = "connections-${at + 1}"\n`).join("");
  const read = (name) => self.files.get(name) ?? readFileSync(repoPath(name), "utf8");
  const names = (db) => db.prepare("SELECT name FROM d1_migrations ORDER BY id").all().map(({ name }) => name);
  const apply = (db, folder, files) => {
    for (const name of files.filter((file) => !names(db).includes(file))) {
      db.exec(`BEGIN; ${read(`${folder}/${name}`)}; INSERT INTO d1_migrations (name) VALUES ('${name}'); COMMIT;`);
    }
  };
  for (const [at, list] of [applied, ...more].entries()) apply([...all.values()][at], "migrations", list);
  /** The deployment may be stopped after any call of wrangler, or within a step's statements. */
  const countDown = () => {
    self.deadAfter -= 1;
    if (self.deadAfter < 0) throw new Killed();
  };
  const execute = (db, sql) => {
    const results = [];
    for (const statement of sql.split(";\n").filter((text) => text.trim())) {
      // Not in one transaction, because the code must not depend on one.
      countDown();
      const prepared = db.prepare(statement);
      const rows = /^\s*SELECT/.test(statement) ? prepared.all() : [];
      const changes = /^\s*SELECT/.test(statement) ? 0 : Number(prepared.run().changes);
      results.push({ results: rows, success: true, meta: { changes } });
    }
    self.steps.push(results.map(({ meta }) => meta.changes));
    return JSON.stringify(results, null, 2);
  };
  const call = (step) => {
    countDown();
    const [command, what, action, binding] = step;
    if (command === "whoami") return "You are logged in";
    if (command === "secret") return '"ENCRYPTION_KEYS" "ADMIN_KEY"';
    if (command === "deploy") self.worker = step[step.indexOf("--var") + 3];
    if (what === "execute") return execute(all.get(action), step[step.indexOf("--command") + 1]);
    const db = all.get(binding);
    if (action === "list") return MIGRATIONS.filter((name) => !names(db).includes(name)).map((name) => `│ ${name} │`).join("\n");
    if (action === "apply" && !step.includes("--config")) apply(db, "migrations", MIGRATIONS);
    if (action === "apply" && step.includes("--config")) {
      const table = read(step[step.indexOf("--config") + 1]).split("[[d1_databases]]").find((text) => text.includes(`binding = "${binding}"`));
      assert.match(table, /^migrations_dir = "\.dev\/migrations"$/m);
      assert.equal(table.match(/migrations_dir/g).length, 1);
      apply(db, ".dev/migrations", [...self.files.keys()].filter((name) => name.startsWith(".dev/migrations/")).map((name) => basename(name)).sort());
    }
    return "{}";
  };
  const record = (step) => self.log.push(step[0] === "deploy" ? self.worker : step.slice(0, 3).join(" "));
  const done = (step) => {
    const output = call(step);
    record(step);
    return output;
  };
  self.tools = {
    run: async (...step) => void done(step),
    capture: async (...step) => ({ code: 0, output: done(step) }),
    read: (name) => (name === "wrangler.toml" ? toml : read(name)),
    list: (folder) => readdirSync(repoPath(folder)),
    write: (name, text) => self.files.set(name, text),
    remove: (name) => self.files.delete(name),
    build: async () => {},
    say: () => {},
    wait: async (seconds) => self.waits.push(seconds),
    health: async () => self.healths.shift() ?? 200,
    publicUrl: URL_OF_IT,
  };
  return self;
}

const fixture = () => readFileSync(repoPath("tests/native/upgrade/before.sql"), "utf8");

/** Connections of one workspace, as the previous version stored them. */
function fill(db, count) {
  db.exec(`INSERT INTO workspaces (id, name, created_at) VALUES ('ws_1', 'W', 1);
    INSERT INTO clients (id, workspace_id, registration, client_id, redirect_id, current, created_at, updated_at) VALUES ('cli_1', 'ws_1', 'acme', 'c', 'cli_1', 1, 1, 1);
    WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ${count})
    INSERT INTO connections (id, workspace_id, app, app_revision, client, name, scopes_requested, scopes_granted, created_at, connected_at, generation, version, status, sealed_credential, refreshable)
      SELECT 'con_' || hex(randomblob(11)), 'ws_1', 'acme', 0, 'cli_1', 'n' || i, '[]', '[]', i, i, 1, 1, 'connected', hex(randomblob(40)), 1 FROM n;`);
}

const DIGEST = (table) => `SELECT count(*) AS n, count(DISTINCT id) AS ids, sum(length(sealed_credential)) AS bytes, sum(created_at) AS times FROM ${table}`;
const row = (db, sql) => ({ ...db.prepare(sql).get() });

/** All rows of a database, table by table. */
function contents(db) {
  const tables = db.prepare("SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'd1_%' ORDER BY name").all();
  return Object.fromEntries(tables.map(({ name }) => [name, db.prepare(`SELECT * FROM ${name}`).all().map((one) => JSON.stringify(one)).sort()]));
}
const schema = (db) => db.prepare("SELECT type, name, tbl_name FROM sqlite_schema WHERE name NOT LIKE 'sqlite_%' ORDER BY type, name").all().map((one) => ({ ...one }));

suite("a migration under maintenance", () => {
  test("runs after a Worker that does not use the database is deployed, and before one that does", async () => {
    const it = installation();
    it.db.exec(fixture());
    await deploy([], it.tools);
    const deployed = it.log.map((one, index) => [one, index]).filter(([one]) => one.startsWith("MAINTENANCE"));
    assert.deepEqual(deployed.map(([one]) => one), ["MAINTENANCE:1", "MAINTENANCE:0"]);
    const [[, first], [, last]] = deployed;
    const touching = it.log.flatMap((one, index) => (/execute|apply/.test(one) ? [index] : []));
    assert.ok(touching.length > 2 && touching.every((index) => first < index && index < last), it.log.join("; "));
    assert.deepEqual(it.waits, [DRAIN_SECONDS]);
    assert.deepEqual([...it.files.keys()], [], "nothing is left beside wrangler.toml");
  });

  test("leaves the schema that a new database gets", async () => {
    const [fresh, old] = [installation({ applied: [] }), installation()];
    await deploy([], fresh.tools);
    assert.ok(!fresh.log.includes("MAINTENANCE:1"), "nobody works with a new database");
    old.db.exec(fixture());
    await deploy([], old.tools);
    assert.deepEqual(schema(old.db), schema(fresh.db));
  });

  test("is for every database, and continues after a stop at any point", async () => {
    const whole = installation();
    whole.db.exec(fixture());
    await deploy([], whole.tools);
    const expected = contents(whole.db);
    const [empty] = [installation({ applied: [] })];
    await deploy([], empty.tools);
    let stops = 0;
    for (let deadAfter = 0; ; deadAfter += 3) {
      // The second database is as old as the first one, and the third is new.
      const it = installation({ more: [BEFORE, []] });
      const [first, second, third] = it.all.values();
      for (const db of [first, second]) db.exec(fixture());
      it.deadAfter = deadAfter;
      const ended = await deploy([], it.tools).then(() => "done", (error) => error);
      const has = (db, wanted) => db.prepare("SELECT name FROM d1_migrations").all().some(({ name }) => name === wanted);
      const isBetween = [first, second].some((db) => has(db, NAMES)) && ![first, second].every((db) => has(db, MOVES));
      if (isBetween) assert.equal(it.worker, "MAINTENANCE:1", `stopped after ${deadAfter}`);
      it.deadAfter = Infinity;
      if (ended !== "done") {
        assert.ok(ended instanceof Killed, ended);
        stops += 1;
        await deploy([], it.tools);
      }
      for (const db of [first, second]) assert.deepEqual(contents(db), expected, `stopped after ${deadAfter}`);
      assert.deepEqual(schema(third), schema(empty.db));
      assert.equal(it.worker, "MAINTENANCE:0");
      if (ended === "done") break;
    }
    assert.ok(stops > 10, `${stops}`);
  });

  test("is not needed for a new database beside one that has all migrations", async () => {
    const it = installation({ applied: MIGRATIONS, more: [[]] });
    await deploy([], it.tools);
    assert.ok(!it.log.includes("MAINTENANCE:1"), it.log.join("; "));
    const [first, second] = it.all.values();
    assert.deepEqual(schema(second), schema(first));
  });

  test("is not repeated by the next deployment", async () => {
    const it = installation();
    await deploy([], it.tools);
    it.log = [];
    await deploy([], it.tools);
    assert.ok(!it.log.includes("MAINTENANCE:1"), it.log.join("; "));
  });

  test("continues after a stop at any point, without lost or duplicate rows", async () => {
    const whole = installation();
    whole.db.exec(fixture());
    await deploy([], whole.tools);
    const expected = contents(whole.db);
    let stops = 0;
    for (let deadAfter = 0; ; deadAfter += 1) {
      const it = installation();
      it.db.exec(fixture());
      it.deadAfter = deadAfter;
      const ended = await deploy([], it.tools).then(() => "done", (error) => error);
      if (ended === "done") break;
      assert.ok(ended instanceof Killed, ended);
      stops += 1;
      // After the first change of the database, no deployed Worker may use it.
      const isChanged = it.db.prepare("SELECT name FROM d1_migrations").all().some(({ name }) => name === NAMES);
      const isComplete = it.db.prepare("SELECT name FROM d1_migrations").all().some(({ name }) => name === MOVES);
      if (isChanged && !isComplete) assert.equal(it.worker, "MAINTENANCE:1", `stopped after ${deadAfter}`);
      it.deadAfter = Infinity;
      await deploy([], it.tools);
      assert.deepEqual(contents(it.db), expected, `stopped after ${deadAfter}`);
      assert.equal(it.worker, "MAINTENANCE:0");
    }
    assert.ok(stops > 20, `${stops}`);
  });

  test("moves a large table in bounded steps", async () => {
    const it = installation();
    fill(it.db, 50_000);
    const before = row(it.db, DIGEST("connections"));
    await deploy([], it.tools);
    assert.deepEqual(row(it.db, DIGEST("connections")), before);
    assert.equal(before.n, 50_000);
    assert.ok(it.steps.every((changes) => changes.length <= STATEMENTS && changes.every((rows) => rows <= ROWS_PER_STEP)), JSON.stringify(it.steps));
    assert.equal(it.steps.filter(([rows]) => rows === ROWS_PER_STEP).length, 50_000 / ROWS_PER_STEP);
    assert.deepEqual(it.db.prepare("PRAGMA foreign_key_check").all(), []);
  });

  test("continues a large table where it was stopped", async () => {
    const it = installation();
    fill(it.db, 20_000);
    const before = row(it.db, DIGEST("connections"));
    // In the middle of a step: its rows are copied and not deleted yet.
    const kill = it.tools.capture;
    let steps = 0;
    it.tools.capture = async (...step) => {
      if (step[1] === "execute" && step.join(" ").includes("INTO connections_next") && (steps += 1) === 2) it.deadAfter = 2;
      return kill(...step);
    };
    await assert.rejects(deploy([], it.tools), Killed);
    const [left, moved] = ["connections_before", "connections_next"].map((table) => row(it.db, `SELECT count(*) AS n FROM ${table}`).n);
    assert.deepEqual([left, moved], [15_000, 10_000], "one step is done, and one is half done");
    it.deadAfter = Infinity;
    it.steps = [];
    await deploy([], it.tools);
    assert.deepEqual(row(it.db, DIGEST("connections")), before);
    assert.ok(it.steps.filter((changes) => changes[1] === ROWS_PER_STEP).length === 3, JSON.stringify(it.steps));
  });

  test("a step that moves nothing, fails or cannot be read stops the deployment under maintenance", async () => {
    for (const [code, output] of [
      [1, "D1_ERROR: too much"],
      [0, "⛅️ wrangler"],
      [0, '[{ "results": [{ "remaining": 1 }], "meta": { "changes": 0 } }]'],
    ]) {
      const it = installation();
      const whole = it.tools.capture;
      it.tools.capture = async (...step) => (step[1] === "execute" ? { code, output } : whole(...step));
      await assert.rejects(deploy([], it.tools), /Rows of clients_before/);
      assert.equal(it.worker, "MAINTENANCE:1");
    }
  });

  test("an unhealthy Worker at the end is reported", async () => {
    const it = installation();
    it.healths = Array(30).fill(503);
    await assert.rejects(deploy([], it.tools), /answers 503/);
    const soon = installation();
    soon.healths = [503, "fetch failed", 200];
    await deploy([], soon.tools);
    assert.deepEqual(soon.waits, [DRAIN_SECONDS, 2, 2]);
  });

  test("a dry run reads nothing and changes nothing", async () => {
    const it = installation();
    it.db.exec(fixture());
    const before = contents(it.db);
    await deploy(["--dry-run"], it.tools);
    assert.deepEqual(it.log, ["MAINTENANCE:0"]);
    assert.deepEqual(contents(it.db), before);
  });
});

suite("wrangler itself", () => {
  test("migrates each database that is bound", async () => {
    const folder = mkdtempSync(join(tmpdir(), "connections-d1-"));
    const config = repoPath(`.wrangler-two-${process.pid}.toml`);
    try {
      writeFileSync(config, `${TOML}\n[[d1_databases]]\nbinding = "DB_1"\ndatabase_name = "connections-1"\n`);
      const local = (...step) => capture(...wrangler("d1", ...step, "--local", "--persist-to", folder, "--config", config), { env: quietWrangler });
      const { code, output } = await local("migrations", "apply", "DB_1");
      assert.equal(code, 0, output);
      const lists = [await local("migrations", "list", "DB"), await local("migrations", "list", "DB_1")];
      assert.deepEqual(lists.map((list) => MIGRATIONS.filter((name) => list.output.includes(name)).length), [MIGRATIONS.length, 0]);
    } finally {
      rmSync(config, { force: true });
      rmSync(folder, { recursive: true, force: true });
    }
  });

  test("applies the migrations at once, and answers a step in the form that deploy reads", async () => {
    const folder = mkdtempSync(join(tmpdir(), "connections-d1-"));
    try {
      const local = (...step) => capture(...wrangler("d1", ...step, "--local", "--persist-to", folder), { env: quietWrangler });
      const applied = await local("migrations", "apply", "DB");
      assert.equal(applied.code, 0, applied.output);
      const listed = await local("migrations", "list", "DB");
      assert.ok(MIGRATIONS.every((name) => !listed.output.includes(name)), listed.output);
      const sql = "CREATE TABLE t (id TEXT PRIMARY KEY);\nINSERT INTO t (id) SELECT value FROM json_each('[1,2]') WHERE true ORDER BY 1 LIMIT 5\n  ON CONFLICT (id) DO NOTHING;\nSELECT EXISTS (SELECT 1 FROM t) AS remaining;\n";
      const { code, output } = await local("execute", "DB", "--yes", "--json", "--command", sql);
      assert.equal(code, 0, output);
      assert.match(output, /"remaining":\s*1/);
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  });
});
