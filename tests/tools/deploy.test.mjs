// Owns the proof that `npm run deploy` passes every flag to the right steps or refuses it by name, that a dry run
// changes nothing, and that a Worker has one address. A fake wrangler records its calls. No network is used.

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { beforeEach, suite, test } from "node:test";
import { repoPath } from "../../tools/bootstrap.mjs";
import { readAddress, CONFIG, deploy, readConfig, readDatabases, readFlags, replaceMigrationsFolder, disableWorkersDev } from "../../tools/deployment.mjs";

const TOML = readFileSync(repoPath("wrangler.toml"), "utf8");
const OWN = "https://connections.example.com";
const WORKERS_DEV = "https://connections.acme.workers.dev";

/** The calls of the fake wrangler, the written files, and the output. */
let calls, files, written, said, answers, builds, during;

beforeEach(() => {
  [calls, written, said, builds] = [[], [], [], 0];
  files = new Map([["wrangler.toml", TOML]]);
  during = () => undefined;
  answers = { whoami: [0, "You are logged in"], "secret list": [0, '"ENCRYPTION_KEYS" "ADMIN_KEY"'], "d1 info": [0, "{}"], "d1 migrations list": [0, "✅ No migrations to apply!"] };
});

const tools = (publicUrl) => ({
  run: async (...step) => {
    calls.push(step);
    during(step);
  },
  capture: async (...step) => {
    calls.push(step);
    const [code, output] = answers[Object.keys(answers).find((known) => step.join(" ").startsWith(known))];
    return { code, output };
  },
  read: (name) => files.get(name) ?? readFileSync(repoPath(name), "utf8"),
  list: (folder) => readdirSync(repoPath(folder)),
  write: (name, text) => {
    written.push([name, text]);
    files.set(name, text);
  },
  remove: (name) => files.delete(name),
  build: async () => (builds += 1),
  say: (text) => said.push(text),
  publicUrl,
});

const steps = () => calls.map((step) => step.join(" "));
const deployed = () => calls.find(([command]) => command === "deploy");

suite("npm run deploy", () => {
  test("checks, migrates, then deploys the Worker", async () => {
    await deploy([], tools(WORKERS_DEV));
    assert.deepEqual(steps(), [
      "whoami",
      "secret list",
      "d1 info connections --json",
      "d1 migrations list DB --remote",
      "d1 migrations apply DB --remote",
      `deploy --var PUBLIC_URL:${WORKERS_DEV} --var MAINTENANCE:0`,
    ]);
    assert.deepEqual([builds, written], [1, []]);
    assert.match(said.at(-1), /Deployed/);
  });

  test("a dry run changes nothing and does not report a deployment", async () => {
    for (const url of [WORKERS_DEV, OWN]) {
      for (const flag of ["--dry-run", "--dry-run=true"]) {
        calls = [];
        said = [];
        await deploy([flag], tools(url));
        assert.equal(calls.length, 1, steps().join("; "));
        assert.ok(deployed().includes("--dry-run"));
        assert.ok(said.every((text) => !text.includes("Deployed")), said.join());
        assert.match(said.at(-1), /nothing was changed/);
        assert.deepEqual([...files.keys()], ["wrangler.toml"]);
      }
    }
  });

  test("--dry-run=false is not a dry run", async () => {
    await deploy(["--dry-run=false"], tools(WORKERS_DEV));
    assert.ok(steps().includes("d1 migrations apply DB --remote"));
    assert.ok(!deployed().includes("--dry-run=false"));
  });

  test("the database is created with the name in wrangler.toml", async () => {
    answers["d1 info"] = [1, "Couldn't find DB with name"];
    files.set("wrangler.toml", TOML.replace('database_name = "connections"', 'database_name = "other"'));
    await deploy([], tools(WORKERS_DEV));
    assert.ok(steps().includes("d1 create other"), steps().join("; "));
  });

  test("a failed look-up creates no database", async () => {
    answers["d1 info"] = [1, "Authentication error"];
    await assert.rejects(deploy([], tools(WORKERS_DEV)), /cannot be looked up/);
    assert.ok(steps().every((step) => !step.startsWith("d1 create") && !step.startsWith("deploy")));
  });
});

suite("several databases", () => {
  const table = (binding, name, more = "") => `\n[[d1_databases]]\nbinding = "${binding}"\ndatabase_name = "${name}"\n${more}`;
  const toml = `${TOML}${table("DB_2", "second")}${table("ANALYTICS", "somebody-elses")}${table("DB_1", "first", 'migrations_dir = "migrations"\n')}`;

  test("are created and migrated in the order of their numbers, before the Worker is deployed", async () => {
    files.set("wrangler.toml", toml);
    answers["d1 info second"] = [1, "Couldn't find DB with name"];
    answers = { "d1 info second": answers["d1 info second"], ...answers };
    await deploy([], tools(WORKERS_DEV));
    assert.deepEqual(steps(), [
      "whoami",
      "secret list",
      "d1 info connections --json",
      "d1 migrations list DB --remote",
      "d1 info first --json",
      "d1 migrations list DB_1 --remote",
      "d1 info second --json",
      "d1 create second",
      "d1 migrations list DB_2 --remote",
      "d1 migrations apply DB --remote",
      "d1 migrations apply DB_1 --remote",
      "d1 migrations apply DB_2 --remote",
      `deploy --var PUBLIC_URL:${WORKERS_DEV} --var MAINTENANCE:0`,
    ]);
  });

  test("a database that cannot be migrated stops the deployment", async () => {
    files.set("wrangler.toml", toml);
    during = (step) => {
      if (step.includes("DB_1")) throw new Error("no");
    };
    await assert.rejects(deploy([], tools(WORKERS_DEV)), /no/);
    assert.ok(!deployed());
  });

  test("a gap, a twin or a wrong name is refused by name before anything is done", async () => {
    for (const [more, named] of [
      [table("DB_2", "second"), /DB_1 is missing, although DB_2/],
      [table("DB_1", "connections"), /DB and DB_1 are the same database/],
      [table("DB_1", "a", 'database_id = "x"\n') + table("DB_2", "b", 'database_id = "x"\n'), /DB_1 and DB_2 are the same database/],
      [table("DB_1", "a") + table("DB_1", "b"), /DB_1 is there twice/],
      [table("DB_0", "a"), /DB_0 is the name of no database/],
      [table("DB_01", "a"), /DB_01 is the name of no database/],
      [table("DB_1000", "a"), /DB_1000 is the name of no database|DB_1 is missing/],
      ['\n[[d1_databases]]\nbinding = "DB_1"\n', /DB_1 has no database_name/],
    ]) {
      files.set("wrangler.toml", TOML + more);
      await assert.rejects(deploy([], tools(WORKERS_DEV)), named);
      assert.deepEqual([calls, builds], [[], 0]);
    }
    files.set("wrangler.toml", `d1_databases = [{ binding = "DB", database_name = "a" }]\n${TOML}`);
    await assert.rejects(deploy([], tools(WORKERS_DEV)), /\[\[d1_databases\]\]/);
    assert.throws(() => readDatabases(table("DB_1", "a")), /DB is missing/);
    assert.throws(() => readDatabases(""), /DB is missing/);
  });

  test("a table ends where the next one begins, in whatever order and form", () => {
    const text = `[vars]\nA = "x"\n  [[d1_databases]] # first\ndatabase_name = 'one'\nbinding = 'DB'\n[[kv_namespaces]]\nbinding = "DB_1"\n`;
    assert.deepEqual(readDatabases(text), [{ binding: "DB", name: "one" }]);
    const changed = replaceMigrationsFolder(toml, "DB_1", ".dev/m");
    const lines = (one) => one.split("\n").filter((line) => !line.startsWith("migrations_dir"));
    assert.deepEqual(lines(changed), lines(toml));
    assert.equal(changed.match(/migrations_dir = "\.dev\/m"/g).length, 1);
    assert.match(changed, /binding = "DB"\ndatabase_name = "connections"\nmigrations_dir = "migrations"/);
    assert.match(replaceMigrationsFolder(toml, "DB_2", "x"), /\[\[d1_databases\]\]\nmigrations_dir = "x"\nbinding = "DB_2"/);
  });
});

suite("flags", () => {
  test("are passed to every step that needs them", async () => {
    await deploy(["--env-file", ".env", "--profile=work", "--message", "a b", "--var", "A:1", "B:2", "--strict"], tools(WORKERS_DEV));
    const all = ["--env-file", ".env"];
    const rest = ["--profile", "work"];
    assert.deepEqual(calls, [
      ["whoami", ...all],
      ["secret", "list", ...all, ...rest],
      ["d1", "info", "connections", "--json", ...all, ...rest],
      ["d1", "migrations", "list", "DB", "--remote", ...all, ...rest],
      ["d1", "migrations", "apply", "DB", "--remote", ...all, ...rest],
      ["deploy", "--var", `PUBLIC_URL:${WORKERS_DEV}`, "--var", "MAINTENANCE:0", ...all, ...rest, "--message", "a b", "--var", "A:1", "B:2", "--strict"],
    ]);
  });

  test("with a secrets file the existing secrets are not checked", async () => {
    for (const args of [["--secrets-file", ".prod.vars"], ["--secrets-file=.prod.vars"]]) {
      calls = [];
      await deploy(args, tools(WORKERS_DEV));
      assert.ok(!steps().includes("secret list"));
      assert.ok(deployed().join(" ").includes("--secrets-file .prod.vars"));
    }
  });

  test("unknown and conflicting flags are refused by name before anything is done", async () => {
    for (const [args, named] of [
      [["--dryrun"], "--dryrun"],
      [["--dryRun"], "--dryRun"],
      [["-n"], "-n"],
      [["staging"], "staging"],
      [["--env", "staging"], "--env"],
      [["--env=staging"], "--env"],
      [["-e", "staging"], "-e"],
      [["--name", "other"], "--name"],
      [["--config", "x.toml"], "--config"],
      [["-c", "x.toml"], "-c"],
      [["--cwd", "/"], "--cwd"],
      [["--message"], "--message"],
      [["--message", "--strict"], "--message"],
      [["--secrets-file="], "--secrets-file"],
      [["--strict=yes"], "--strict"],
      [["--var", "PUBLIC_URL:https://evil.example"], "--var PUBLIC_URL"],
      [["--var", "MAINTENANCE:1"], "--var MAINTENANCE"],
    ]) {
      calls = [];
      await assert.rejects(deploy(args, tools(WORKERS_DEV)), (error) => error.message.startsWith(named) && !/undefined/.test(error.message), args.join(" "));
      assert.deepEqual([calls, builds], [[], 0], args.join(" "));
    }
  });

  test("the command itself refuses them", () => {
    const { status, stderr } = spawnSync(process.execPath, [repoPath("tools/deploy.mjs"), "--dryrun"], { encoding: "utf8" });
    assert.equal(status, 1);
    assert.match(stderr, /--dryrun is unknown/);
  });

  test("nothing is left of none", () => assert.deepEqual(readFlags([]).deploy, []));
});

suite("one address", () => {
  test("another host turns workers.dev and preview URLs off, and prints that", async () => {
    let seen;
    during = ([command]) => {
      if (command === "deploy") seen = files.get(CONFIG);
    };
    await deploy([], tools(OWN));
    assert.deepEqual(deployed().slice(-2), ["--config", CONFIG]);
    const top = seen.split(/^\[/m)[0];
    assert.match(top, /^workers_dev = false$/m);
    assert.match(top, /^preview_urls = false$/m);
    assert.doesNotMatch(seen, /workers_dev = true/);
    assert.equal(seen.match(/workers_dev\s*=/g).length, 1);
    assert.ok(said.some((text) => text.includes("workers.dev and preview URLs are turned off")), said.join());
    assert.deepEqual([...files.keys()], ["wrangler.toml"], "the file is gone afterwards");
  });

  test("the file is removed also if wrangler fails", async () => {
    during = ([command]) => {
      if (command === "deploy") throw new Error("no");
    };
    await assert.rejects(deploy([], tools(OWN)), /no/);
    assert.deepEqual([...files.keys()], ["wrangler.toml"]);
  });

  test("the rest of wrangler.toml stays", () => {
    const toml = 'name = "c"\nworkers_dev=true\n  preview_urls = true\n[env.a]\nworkers_dev = true\n[vars]\nA = "workers_dev = true"\n';
    const changed = disableWorkersDev(toml);
    assert.equal(changed.split("preview_urls = false\n\n")[1], 'name = "c"\n[env.a]\n[vars]\nA = "workers_dev = true"\n');
  });

  test("an address on workers.dev must be this Worker's", async () => {
    for (const wrong of ["https://other.acme.workers.dev", "https://workers.dev", "https://connections.workers.dev", "https://a.connections.acme.workers.dev", "https://OTHER.acme.Workers.Dev", "https://other.acme.workers.dev."]) {
      await assert.rejects(deploy([], tools(wrong)), /this Worker's address on workers\.dev/, wrong);
    }
    assert.deepEqual(calls, []);
    assert.ok(readAddress(readConfig(TOML), "https://notworkers.dev").isWorkersDev === false);
  });

  test("a domain in addition to an address on workers.dev is refused", async () => {
    await assert.rejects(deploy(["--domain", "c.example.com"], tools(WORKERS_DEV)), /its own route or domain/);
    files.set("wrangler.toml", `${TOML}\n[[routes]]\npattern = "c.example.com"\n`);
    await assert.rejects(deploy([], tools(WORKERS_DEV)), /its own route or domain/);
    files.set("wrangler.toml", TOML.replace("workers_dev = true", "workers_dev = false"));
    await assert.rejects(deploy([], tools(WORKERS_DEV)), /turns that off/);
    assert.deepEqual(calls, []);
  });

  test("an invalid address is refused", async () => {
    for (const wrong of ["", "http://c.example.com", "https://c.example.com/", "https://c.example.com/x", "https://u@c.example.com", "https://c example.com"]) {
      await assert.rejects(deploy([], tools(wrong)), /PUBLIC_URL/, wrong);
    }
  });
});
