// Owns a complete installation for a test: the built Worker on the real runtime with a migrated database, a real OAuth
// server, a workspace with an API key, and an app whose client is registered on both sides. Every test file starts its
// own, in memory. Refuses the network: a request of the Worker to another machine fails.

import { randomBytes } from "node:crypto";
import { mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { createTestHarness } from "wrangler";
import { startOAuthServer } from "../../tools/oauth-server/server.mjs";

export const PUBLIC_URL = "http://localhost:8787";
export const SCOPES = ["openid", "email", "profile", "offline_access"];
export const CLIENT_ID = "connections";

/** The repository. Configuration files and the built Worker are found from here. */
export const ROOT = fileURLToPath(new URL("../../", import.meta.url));

/**
 * Whether a file may answer instead of the Worker. `worker.fetch` would ask the Worker itself; only a request to the whole
 * server looks for a file first.
 */
const isStatic = (path) => path.startsWith("/assets/") || path === "/openapi.json";

/** The log lines of this many requests fit into the pipe between the Worker and this process (64 KB). */
const MAX_UNREAD_REQUESTS = 20;

export const createKeyRing = (id = "k1") => `${id}:${randomBytes(32).toString("base64")}`;

/**
 * Starts an installation. `close()` ends it.
 *
 * - `accessTokenTtl`, `firstTokenTtl`, `refreshTokens`: options of the OAuth server.
 * - `vars`, `secrets`: of the Worker, in addition to the usual ones.
 * - `configs`: configuration files, one for each Worker. All Workers share their databases.
 * - `databases`: the bindings of all databases that they have.
 * - `workspace: false`: creates no workspace, app and client, for a Worker that cannot create them.
 */
export async function startInstallation({
  accessTokenTtl = 120,
  firstTokenTtl,
  refreshTokens = true,
  vars,
  secrets,
  configs = ["./wrangler.toml"],
  databases = ["DB"],
  workspace = true,
} = {}) {
  const adminKey = randomBytes(32).toString("base64url");
  const settings = {
    vars: { PUBLIC_URL, DEV_LOOPBACK: "1", ...vars },
    secrets: { ENCRYPTION_KEYS: createKeyRing(), ADMIN_KEY: adminKey, ...secrets },
  };
  const outbound = recordOutbound();
  const clientSecret = randomBytes(24).toString("base64url");
  const oauth = await startOAuthServer({ accessTokenTtl, firstTokenTtl, refreshTokens, clients: [{ client_id: CLIENT_ID, client_secret: clientSecret }] });
  const options = { root: ROOT, workers: configs.map((configPath) => ({ configPath, prebuiltWorkerDir: "./dist", ...settings })) };
  const server = createTestHarness(options);
  await server.listen();
  const worker = server.getWorker();
  for (const binding of databases) await worker.applyD1Migrations(binding);

  let running = 0;
  // A database statement blocks this process until the Worker answers, and the Worker blocks when nobody reads its log.
  // So wait until few requests are running and their log is read.
  const waitUntilLogIsRead = async () => {
    do await sleep(1);
    while (running > MAX_UNREAD_REQUESTS);
  };

  const installation = {
    server,
    worker,
    oauth,
    publicUrl: settings.vars.PUBLIC_URL,
    adminKey,
    clientSecret,
    secrets: settings.secrets,
    outbound,
    answers: [],
    /** Sends a request and records its answer: `{ status, headers, text }`. Does not follow redirects. */
    async request(path, init = {}, by = isStatic(path) ? server : worker) {
      running += 1;
      const answer = await by
        .fetch(new URL(path, PUBLIC_URL).href, { redirect: "manual", ...init })
        .then(async (response) => ({ status: response.status, headers: response.headers, text: await response.text() }))
        .finally(() => (running -= 1));
      installation.answers.push({ path, ...answer });
      return answer;
    },
    /**
     * A program's call: `{ status, headers, body }`. `key` is the workspace's first API key by default; `null` sends
     * none.
     */
    async requestApi(method, path, body, key = installation.key, by = worker) {
      const headers = { "content-type": "application/json" };
      if (key !== null) headers.authorization = `Bearer ${key}`;
      const answer = await installation.request(path, { method, headers, body: typeof body === "string" ? body : body && JSON.stringify(body) }, by);
      return { ...answer, body: answer.text ? JSON.parse(answer.text) : undefined };
    },
    /** Calls the API and returns the answer's body. Throws if the call does not succeed. */
    async requestOk(...call) {
      const { status, body } = await installation.requestApi(...call);
      if (status >= 300) throw new Error(`${call[0]} ${call[1]} answered ${status}: ${JSON.stringify(body)}`);
      return body;
    },
    resolve: (connection, body = {}, ...rest) => installation.requestApi("POST", `/v1/connections/${connection}/resolve`, body, ...rest),
    /** Starts one scheduled run. */
    runScheduled: (at = new Date(), by = worker) => by.scheduled({ cron: "*/5 * * * *", scheduledTime: at }),
    /** A row, or the value of a column if the query selects one. */
    async row(sql, ...values) {
      await waitUntilLogIsRead();
      return installation.db
        .prepare(sql)
        .bind(...values)
        .first();
    },
    async run(sql, ...values) {
      await waitUntilLogIsRead();
      return (
        await installation.db
          .prepare(sql)
          .bind(...values)
          .run()
      ).meta.changes;
    },
    /**
     * Restarts with other settings, such as `{ secrets }`, over the same database. A function gets the index of a
     * Worker and returns its settings. Running requests end.
     */
    async restart(change) {
      const changed = (index) => (typeof change === "function" ? change(index) : change);
      await server.update({ ...options, workers: options.workers.map((one, index) => ({ ...one, ...changed(index) })) });
      await bind();
    },
    async close() {
      outbound.stop();
      await server.close();
      await oauth.close();
    },
  };
  const bind = async () => ({ DB: installation.db, CACHE: installation.kv } = await worker.getEnv());
  await bind();
  if (workspace) Object.assign(installation, await createWorkspace(installation, "Acme Corp"));
  return installation;
}

/**
 * A configuration file like wrangler.toml, for a Worker of another name over the same database, without the Durable Object,
 * with further databases, by their bindings, or with what wrangler.toml has as comments: a queue, e-mail.
 */
export function writeConfigFile({ name = "connections", refresher = true, further = [], queue = false, email = false }) {
  const ours = readFileSync(join(ROOT, "wrangler.toml"), "utf8")
    .replace(/^name = .*$/m, `name = "${name}"`)
    .replace(/^main = .*$/m, `main = "${join(ROOT, "build/index.js")}"`)
    .replace(/^directory = .*$/m, `directory = "${join(ROOT, "build/assets")}"`)
    .replace(/^migrations_dir = .*$/m, `migrations_dir = "${join(ROOT, "migrations")}"\ndatabase_id = "one-database"`);
  const durableObject = /^\[\[durable_objects\.bindings\]\]\n[^[]*|^\[\[migrations\]\]\n.*\n.*\n/gm;
  const file = join(mkdtempSync(join(tmpdir(), "connections-")), "wrangler.toml");
  const tables = further.map((binding) => `\n[[d1_databases]]\nbinding = "${binding}"\ndatabase_name = "${binding}"\ndatabase_id = "${binding}"\nmigrations_dir = "${join(ROOT, "migrations")}"\n`);
  const withQueue = queue ? ours.replace(/^# (?=\[\[queues\.|binding = "SCHEDULED_WORK"|queue = |max_batch_size|max_retries)/gm, "") : ours;
  const withEmail = email ? withQueue.replace(/^# (?=EMAIL_FROM = |\[\[send_email\]\]|name = "EMAIL")/gm, "") : withQueue;
  writeFileSync(file, (refresher ? withEmail : withEmail.replace(durableObject, "")) + tables.join(""));
  return file;
}

/** A workspace with its first API key, the app `acme` and its client: `{ workspace, key, client }`. */
export async function createWorkspace(installation, name, app = acmeDefinition(installation.oauth)) {
  const { requestOk, adminKey, oauth, clientSecret } = installation;
  const made = await requestOk("POST", "/v1/workspaces", { name }, adminKey);
  const key = made.key.key;
  await requestOk("POST", "/v1/apps", app, key);
  const client = await requestOk("PUT", `/v1/apps/${app.id}/client`, { client_id: CLIENT_ID, client_secret: clientSecret }, key);
  oauth.addRedirectUri(CLIENT_ID, client.redirect_uri);
  return { workspace: made.id, key, client };
}

/** All tables and cache entries, each as one text. */
export async function dumpStoredData({ db, kv }) {
  const { results: tables } = await db
    .prepare("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE '\\_cf%' ESCAPE '\\' AND name NOT LIKE 'sqlite%'")
    .all();
  const dumped = {};
  for (const { name } of tables) dumped[`table ${name}`] = JSON.stringify((await db.prepare(`SELECT * FROM ${name}`).all()).results);
  for (const { name } of (await kv.list()).keys) dumped[`cache ${name}`] = await kv.get(name);
  return dumped;
}

/** The definition of an app for the OAuth server, as a workspace sends it. */
export const acmeDefinition = (oauth, more = {}) => ({
  id: "acme",
  name: "Acme",
  auth: { type: "oauth2", issuer: oauth.issuer, authorize_params: { prompt: "consent" }, rotation: "strict", ...more.auth },
  scopes: SCOPES,
  ...Object.fromEntries(Object.entries(more).filter(([field]) => field !== "auth")),
});

/** An API key with these scopes and allow-lists. */
export const createApiKey = async (installation, scopes, more = {}) =>
  (await installation.requestOk("POST", "/v1/keys", { name: scopes.join(" "), scopes, ...more })).key;

/**
 * Records what the Worker sends: wrangler sends everything through this process's `fetch`. `requests` lists all
 * requests, `to(path)` those to a path. If `answer` is set, it may answer in place of the server.
 */
function recordOutbound() {
  const real = globalThis.fetch;
  const recorder = {
    requests: [],
    answer: undefined,
    to: (path) => recorder.requests.filter(({ url }) => new URL(url).pathname === path),
    stop: () => (globalThis.fetch = real),
  };
  globalThis.fetch = async (url, init) => {
    // Only the Worker's requests arrive as a Request. A test's own requests arrive as plain options.
    if (typeof init?.clone !== "function") return real(url, init);
    const { method, headers } = init;
    const sent = { url, method, headers: Object.fromEntries(headers), body: await new Response(init.body).text() };
    recorder.requests.push(sent);
    const instead = await recorder.answer?.(sent);
    if (instead) return instead;
    if (!["localhost", "127.0.0.1"].includes(new URL(url).hostname)) throw new TypeError(`${url} is not on this machine`);
    // The Worker decides whether to follow a redirect, so it must see it. An empty text as body would get a content
    // type that the Worker did not send.
    return real(url, { method, headers, redirect: "manual", body: sent.body || undefined }).catch(brokenConnection);
  };
  return recorder;
}

/**
 * For a broken connection, wrangler shows the Worker an error page. A body that never arrives is the closest fault that
 * can be passed on: the Worker's own fetch fails.
 */
const brokenConnection = () => new Response(null, { headers: { "content-length": "1", connection: "close" } });
