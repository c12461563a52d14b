// Owns the steps of a deployment and their order: checks, then the databases, their migrations, and the new Worker last.
// Some migrations need maintenance: the new Worker is deployed first and does not use the database, rows move in steps
// within D1's limits, and a deployment that was stopped continues when it is started again. A dry run changes nothing.
// Every flag is known: it is passed to the right steps or refused by name. Refuses a second address: if people use
// another host than *.workers.dev, that one and the preview URLs are turned off.

import { Failure } from "./bootstrap.mjs";

const REQUIRED = ["ENCRYPTION_KEYS", "ADMIN_KEY"];
/** Next to wrangler.toml, because paths in it are relative to its folder. */
export const CONFIG = "wrangler.deploy.toml";

/** Also next to wrangler.toml: the migrations before one that moves rows. */
const PARTIAL_MIGRATIONS = { config: "wrangler.migrations.toml", folder: ".dev/migrations" };

/** The first line of a migration that needs maintenance. */
const MAINTENANCE = /^-- maintenance:/;
/** The part of a migration that moves rows, and the text in it that limits their number. */
const REPEATED = /^-- repeat: (\S+)\n([^]*?)^-- end$/gm;
const ALL_ROWS = "LIMIT -1";
/**
 * Rows that one step moves. With index entries this makes tens of thousands of writes, which is far from D1's 30
 * seconds.
 */
export const ROWS_PER_STEP = 5_000;
/**
 * Seconds until everything has ended that an earlier Worker began: a refresh may take 60, and its lease ends 5 later.
 */
export const DRAIN_SECONDS = 70;
/** How often, and how many seconds apart, the health of the new Worker is checked. */
const HEALTH = { times: 30, apart: 2 };

/** What a flag takes: nothing (`switch`), a value, or several (`list`); and the steps that get it. */
const DEPLOY = ["deploy"];
const EVERY = ["whoami", "secret", "d1", "deploy"];
const FLAGS = {
  "--secrets-file": { takes: "value", steps: DEPLOY },
  "--message": { takes: "value", steps: DEPLOY },
  "--tag": { takes: "value", steps: DEPLOY },
  "--outdir": { takes: "value", steps: DEPLOY },
  "--metafile": { takes: "value", steps: DEPLOY },
  "--var": { takes: "list", steps: DEPLOY },
  "--route": { takes: "list", steps: DEPLOY },
  "--routes": { takes: "list", steps: DEPLOY },
  "--domain": { takes: "list", steps: DEPLOY },
  "--domains": { takes: "list", steps: DEPLOY },
  "--triggers": { takes: "list", steps: DEPLOY },
  "--schedule": { takes: "list", steps: DEPLOY },
  "--schedules": { takes: "list", steps: DEPLOY },
  "--keep-vars": { takes: "switch", steps: DEPLOY },
  "--strict": { takes: "switch", steps: DEPLOY },
  "--logpush": { takes: "switch", steps: DEPLOY },
  "--minify": { takes: "switch", steps: DEPLOY },
  "--upload-source-maps": { takes: "switch", steps: DEPLOY },
  "--dry-run": { takes: "switch", steps: DEPLOY },
  "--env-file": { takes: "value", steps: EVERY },
  "--profile": { takes: "value", steps: ["secret", "d1", "deploy"] },
};

/** Flags of wrangler that would make the steps disagree, and what to do instead. */
const REFUSED = {
  "--env": "one folder deploys one installation. For a second one, copy the folder and change `name` and `database_name` in wrangler.toml.",
  "--name": "change `name` in wrangler.toml, and `database_name` with it: two Workers must not share a database.",
  "--config": "the configuration is wrangler.toml. deploy writes another file next to it if needed.",
  "--cwd": "run the command in the folder that you deploy.",
};
const SHORT = { "-e": "--env", "-c": "--config" };

/** Reads the command line: the arguments of each step, and the settings that matter here. */
export function readFlags(args) {
  const flags = { whoami: [], secret: [], d1: [], deploy: [], dryRun: false, secretsFile: false, ownAddresses: [] };
  const rest = [...args];
  while (rest.length > 0) {
    const [written, equals, ...after] = rest.shift().split(/(=)/);
    const name = SHORT[written] ?? written;
    const refused = REFUSED[name];
    if (refused) throw new Failure(`${written} is not accepted: ${refused}`);
    const flag = FLAGS[name];
    if (!flag) throw new Failure(`${written} is unknown. npm run deploy accepts ${Object.keys(FLAGS).join(", ")}.`);
    const values = readValues(name, flag, equals ? after.join("") : undefined, rest);
    recordFlag(flags, name, values);
    // A switch with the value false is left out.
    if (flag.takes === "switch" && values[0] === "false") continue;
    const sent = flag.takes === "switch" ? [name] : [name, ...values];
    for (const step of flag.steps) flags[step].push(...sent);
  }
  return flags;
}

function readValues(name, { takes }, given, rest) {
  if (takes === "switch") {
    if (given !== undefined && given !== "true" && given !== "false") throw new Failure(`${name} takes no value.`);
    return given === undefined ? [] : [given];
  }
  if (given !== undefined) return given === "" ? failWithoutValue(name) : [given];
  const values = [];
  while (rest.length > 0 && !rest[0].startsWith("-") && (takes === "list" || values.length === 0)) values.push(rest.shift());
  return values.length > 0 ? values : failWithoutValue(name);
}

function failWithoutValue(name) {
  throw new Failure(`${name} needs a value.`);
}

function recordFlag(flags, name, values) {
  if (name === "--dry-run") flags.dryRun = values[0] !== "false";
  if (name === "--secrets-file") flags.secretsFile = true;
  if (/^--(route|domain)s?$/.test(name)) flags.ownAddresses.push(...values);
  if (name === "--var" && values.some((value) => /^PUBLIC_URL:/.test(value))) {
    throw new Failure("--var PUBLIC_URL is not accepted: write PUBLIC_URL into wrangler.toml, or set it in the environment.");
  }
  if (name === "--var" && values.some((value) => /^MAINTENANCE:/.test(value))) {
    throw new Failure("--var MAINTENANCE is not accepted: deploy sets it if a migration needs it.");
  }
}

// ---- the address

const text = (name, where) => new RegExp(`^\\s*${name}\\s*=\\s*["']([^"']*)["']`, "m").exec(where)?.[1];

/** The settings of wrangler.toml that matter here. */
export function readConfig(toml) {
  const top = toml.split(/^\s*\[/m)[0];
  return {
    name: text("name", top),
    databases: readDatabases(toml),
    publicUrl: text("PUBLIC_URL", toml),
    workersDev: !/^\s*workers_dev\s*=\s*false/m.test(top),
    routes: /^\s*routes?\s*=/m.test(top) || /^\s*\[\[routes\]\]/m.test(toml),
  };
}

/** A table of wrangler.toml that binds a D1 database, up to the next table. */
const DATABASE_TABLE = /^[ \t]*\[\[d1_databases\]\][^]*?(?=^[ \t]*\[|$(?![^]))/gm;
/** The databases that an installation can have, as the Worker counts them (src/ids.rs). */
const MOST_DATABASES = 1_000;

const bindingOf = (number) => (number === 0 ? "DB" : `DB_${number}`);

/**
 * The databases of an installation, in the order of their numbers: `{ binding, name }`. Bindings with other names belong
 * to somebody else. The Worker refuses a gap too: what is in a database that is not bound cannot be reached.
 */
export function readDatabases(toml) {
  if (/^\s*d1_databases\s*=/m.test(toml)) throw new Failure("wrangler.toml: write each database as a table of its own, [[d1_databases]].");
  const tables = [...toml.matchAll(DATABASE_TABLE)].map(([table]) => ({ binding: text("binding", table), name: text("database_name", table), id: text("database_id", table) }));
  const databases = tables.filter(({ binding }) => /^DB(_\d+)?$/.test(binding ?? ""));
  const numberOf = ({ binding }) => Number(binding.slice(3));
  databases.sort((one, other) => numberOf(one) - numberOf(other));
  for (const [at, database] of databases.entries()) {
    const { binding, name } = database;
    const number = numberOf(database);
    if (binding !== bindingOf(number) || number >= MOST_DATABASES) throw new Failure(`wrangler.toml: the binding ${binding} is the name of no database. They are DB, DB_1, DB_2, … up to ${bindingOf(MOST_DATABASES - 1)}.`);
    if (number < at) throw new Failure(`wrangler.toml: the binding ${binding} is there twice.`);
    if (number > at) throw new Failure(`wrangler.toml: the binding ${bindingOf(at)} is missing, although ${binding} is there. Bind the database again that it named: nobody would reach what is in it.`);
    if (!name) throw new Failure(`wrangler.toml: the database with the binding ${binding} has no database_name.`);
    const twin = databases.slice(0, at).find((other) => other.name === name || (other.id && other.id === database.id));
    if (twin) throw new Failure(`wrangler.toml: ${twin.binding} and ${binding} are the same database. Each needs its own database_name${database.id ? " and database_id" : ""}.`);
  }
  if (databases.length === 0) throw new Failure("wrangler.toml: the binding DB is missing from [[d1_databases]].");
  return databases.map(({ binding, name }) => ({ binding, name }));
}

/** wrangler.toml with another folder of migrations for one database. */
export function replaceMigrationsFolder(toml, binding, folder) {
  return toml.replace(DATABASE_TABLE, (table) => {
    if (text("binding", table) !== binding) return table;
    const [head, ...rest] = table.replace(/^\s*migrations_dir\s*=.*\n/m, "").split("\n");
    return [head, `migrations_dir = "${folder}"`, ...rest].join("\n");
  });
}

/** The address that people use, from the environment or from wrangler.toml. */
export function readAddress(config, environment) {
  const value = environment || config.publicUrl;
  if (!value) throw new Failure('PUBLIC_URL is not set. Write the address that people will use into wrangler.toml: PUBLIC_URL = "https://connections.example.com"');
  if (!/^https:\/\/[^/?#@\s]+$/.test(value) || !URL.canParse(value)) throw new Failure(`PUBLIC_URL must be https:// and a host, without a path or a slash at the end. It is: ${value}`);
  const host = new URL(value).hostname.replace(/\.$/, "");
  return { publicUrl: value, host, isWorkersDev: host === "workers.dev" || host.endsWith(".workers.dev") };
}

/** Refuses an address that the Worker will not have, or that is not its only one. */
function checkAddress(address, config, flags) {
  if (!address.isWorkersDev) return;
  const labels = address.host.split(".");
  if (labels.length !== 4 || labels[0] !== config.name) {
    throw new Failure(`PUBLIC_URL is ${address.publicUrl}, but this Worker's address on workers.dev is https://${config.name}.<your-subdomain>.workers.dev: change PUBLIC_URL, or \`name\` in wrangler.toml.`);
  }
  if (!config.workersDev) throw new Failure("PUBLIC_URL is on workers.dev, but wrangler.toml turns that off (workers_dev = false). Change one of them.");
  if (config.routes || flags.ownAddresses.length > 0) {
    throw new Failure("PUBLIC_URL is on workers.dev, but the Worker also has its own route or domain. Set PUBLIC_URL to that one. deploy then turns workers.dev off.");
  }
}

/** wrangler.toml with one address only. The settings must come before the first table. */
export function disableWorkersDev(toml) {
  const kept = toml.split("\n").filter((line) => !/^\s*(workers_dev|preview_urls)\s*=/.test(line)).join("\n");
  return `# Written by npm run deploy: wrangler.toml without workers.dev and preview URLs.\nworkers_dev = false\npreview_urls = false\n\n${kept}`;
}

// ---- the steps

/**
 * Deploys. `tools` reach the outside: `run` and `capture` call wrangler with arguments; `read`, `write` and `remove`
 * handle files next to wrangler.toml; `list` names the files of a folder; `build` builds the Worker; `say` prints;
 * `wait` waits for seconds; `health` returns the status of an address; `publicUrl` comes from the environment.
 */
export async function deploy(args, tools) {
  const flags = readFlags(args);
  const toml = tools.read("wrangler.toml");
  const config = readConfig(toml);
  const address = readAddress(config, tools.publicUrl);
  checkAddress(address, config, flags);
  if (!flags.dryRun) {
    await requireLogin(flags, tools);
    if (!flags.secretsFile) await requireSecrets(flags, tools);
  }
  await tools.build();
  if (flags.dryRun) {
    await deployWorker(toml, address, flags, tools);
    return tools.say("\nThis was a dry run: nothing was changed. No migration ran and no Worker was deployed.");
  }
  const databases = [];
  for (const database of config.databases) {
    await ensureDatabase(database, flags, tools);
    databases.push({ ...database, pending: await pendingMigrations(database, flags, tools) });
  }
  if (databases.some((database) => needsMaintenance(database, tools))) {
    await migrateUnderMaintenance(databases, toml, address, flags, tools);
    return tools.say(`\nDeployed. ${address.publicUrl}/healthz answers 200.`);
  }
  for (const database of databases) await migrate(database, flags, tools);
  await deployWorker(toml, address, flags, tools);
  tools.say(`\nDeployed. To check it: curl ${address.publicUrl}/healthz`);
}

// ---- migrations

/** The migrations that were not applied to a database yet, in order. */
async function pendingMigrations({ binding }, flags, tools) {
  const { code, output } = await tools.capture("d1", "migrations", "list", binding, "--remote", ...flags.d1);
  if (code !== 0) throw new Failure(`The list of migrations of ${binding} cannot be read:\n${output.trim()}`);
  return tools.list("migrations").filter((name) => output.includes(name)).sort();
}

/** A database without any migration is new, so no Worker uses it. */
const isNew = ({ pending }, tools) => pending.length === tools.list("migrations").length;

function needsMaintenance(database, tools) {
  return !isNew(database, tools) && database.pending.some((name) => MAINTENANCE.test(tools.read(`migrations/${name}`)));
}

const migrate = ({ binding }, flags, tools, ...config) => tools.run("d1", "migrations", "apply", binding, "--remote", ...flags.d1, ...config);

/** The deployment may be stopped after any step. The next one sees what is pending and continues. */
async function migrateUnderMaintenance(databases, toml, address, flags, tools) {
  const pending = [...new Set(databases.filter((database) => !isNew(database, tools)).flatMap((database) => database.pending))].sort();
  tools.say(`Under maintenance: ${pending.join(", ")}. Until they are applied, every request is answered 503 with Retry-After. If this command is stopped, run it again: it continues.`);
  await deployWorker(toml, address, flags, tools, { maintenance: true });
  tools.say(`Waiting ${DRAIN_SECONDS} seconds until running requests have ended…`);
  await tools.wait(DRAIN_SECONDS);
  for (const database of databases) {
    if (!isNew(database, tools)) await moveRows(database, toml, flags, tools);
    await migrate(database, flags, tools);
  }
  await deployWorker(toml, address, flags, tools);
  await requireHealth(address, tools);
}

/** Moves the rows of pending migrations, in steps. Earlier migrations are applied first. */
async function moveRows(database, toml, flags, tools) {
  for (const name of database.pending) {
    const parts = [...tools.read(`migrations/${name}`).matchAll(REPEATED)];
    if (parts.length === 0) continue;
    if (database.pending[0] !== name) await migrateBefore(name, database, toml, flags, tools);
    for (const [, what, sql] of parts) await moveAll(what, sql, database, flags, tools);
  }
}

/** wrangler applies all migrations of a folder, so it gets a folder with those before `name`. */
async function migrateBefore(name, database, toml, flags, tools) {
  const { config, folder } = PARTIAL_MIGRATIONS;
  const before = tools.list("migrations").filter((other) => other < name);
  const files = before.map((other) => [`${folder}/${other}`, tools.read(`migrations/${other}`)]);
  files.push([config, replaceMigrationsFolder(toml, database.binding, folder)]);
  await withFiles(files, tools, () => migrate(database, flags, tools, "--config", config));
}

/** Writes files, and removes them at the end, also after an error. */
async function withFiles(files, tools, done) {
  for (const [file, text] of files) tools.write(file, text);
  try {
    await done();
  } finally {
    for (const [file] of files) tools.remove(file);
  }
}

/**
 * Moves rows until none remain. Stops with an error if an answer cannot be read, or if a step moves none of the
 * remaining rows.
 */
async function moveAll(what, statements, { binding }, flags, tools) {
  const sql = statements.replaceAll(/^--.*\n/gm, "").replaceAll(ALL_ROWS, `LIMIT ${ROWS_PER_STEP}`);
  for (let step = 1; ; step += 1) {
    const { code, output } = await tools.capture("d1", "execute", binding, "--remote", "--yes", "--json", "--command", sql, ...flags.d1);
    const remaining = /"remaining":\s*(\d+)/.exec(output)?.[1];
    if (code !== 0 || remaining === undefined) throw new Failure(`Rows of ${what} in ${binding} could not be moved:\n${output.trim()}`);
    if (remaining === "0") return;
    const changes = [...output.matchAll(/"changes":\s*(\d+)/g)].map(([, number]) => Number(number));
    if (changes.length > 0 && changes.every((number) => number === 0)) throw new Failure(`Rows of ${what} remain in ${binding}, but a step moved none of them:\n${output.trim()}`);
    if (step % 10 === 0) tools.say(`${what}: ${step * ROWS_PER_STEP} rows moved…`);
  }
}

async function requireHealth({ publicUrl }, tools) {
  let status;
  for (let time = 0; time < HEALTH.times; time += 1) {
    status = await tools.health(`${publicUrl}/healthz`);
    if (status === 200) return;
    await tools.wait(HEALTH.apart);
  }
  throw new Failure(`The Worker was deployed, but ${publicUrl}/healthz answers ${status}. The migrations are applied and need not be repeated. To see what is wrong: npx wrangler tail`);
}

// ---- the Worker

async function deployWorker(toml, { publicUrl, host, isWorkersDev }, flags, tools, { maintenance = false } = {}) {
  // Set on each deployment, because --keep-vars would keep the previous value.
  const deployed = ["deploy", "--var", `PUBLIC_URL:${publicUrl}`, "--var", `MAINTENANCE:${maintenance ? 1 : 0}`, ...flags.deploy];
  if (isWorkersDev) return tools.run(...deployed);
  tools.say(`People use ${host}: workers.dev and preview URLs are turned off for this Worker.`);
  await withFiles([[CONFIG, disableWorkersDev(toml)]], tools, () => tools.run(...deployed, "--config", CONFIG));
}

async function requireLogin(flags, tools) {
  const { code, output } = await tools.capture("whoami", ...flags.whoami);
  if (code === 0 && !/not authenticated|not logged in/i.test(output)) return;
  throw new Failure(`wrangler is not logged in. Either: npx wrangler login\nor set CLOUDFLARE_API_TOKEN (and CLOUDFLARE_ACCOUNT_ID when you have several accounts).\n${output.trim()}`);
}

async function requireSecrets(flags, tools) {
  const { code, output } = await tools.capture("secret", "list", ...flags.secret);
  const missing = REQUIRED.filter((name) => code !== 0 || !output.includes(`"${name}"`));
  if (missing.length === 0) return;
  if (code === 0) throw new Failure(`These secrets are not set: ${missing.join(", ")}. Set each with: npx wrangler secret put NAME (.dev.vars.example says how to create one)`);
  throw new Failure(
    `The secrets of the Worker cannot be listed. If this is the first deployment, create them and pass them to it:\n
  (umask 077; printf 'ENCRYPTION_KEYS="k1:%s"\\nADMIN_KEY="%s"\\n' "$(openssl rand -base64 32)" "$(openssl rand -base64 36)" > .prod.vars)
  npm run deploy -- --secrets-file .prod.vars\n
Then move .prod.vars to a safe place. Without ENCRYPTION_KEYS, stored data can never be decrypted.
Otherwise, see the message of wrangler:\n${output.trim()}`,
  );
}

/** Created by name before the first migration. `wrangler deploy` then finds it by that name. */
async function ensureDatabase({ name }, flags, tools) {
  const { code, output } = await tools.capture("d1", "info", name, "--json", ...flags.d1);
  if (code === 0) return;
  if (!/couldn't find/i.test(output)) throw new Failure(`The database "${name}" cannot be looked up:\n${output.trim()}`);
  tools.say(`Making the database "${name}"…`);
  await tools.run("d1", "create", name, ...flags.d1);
}
