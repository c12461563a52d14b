// Owns the installation that `npm run bench` measures: a migrated database, a workspace, apps on this machine, and
// connections for every case. Has the functions of tests/support/installation.mjs that the other helpers there use.

import { randomBytes } from "node:crypto";
import { readdirSync, readFileSync } from "node:fs";
import { Failure, repoPath } from "../bootstrap.mjs";
import { PUBLIC_URL, startRuntime } from "./runtime.mjs";

/** Milliseconds that the slow app takes to answer a token request, at least. */
export const APP_TIME = 200;
/** Connections in the list and on the page, at least. */
const LISTED = 100;
/** Seconds that an access token lives. */
const LIFETIME = 3600;

/** Starts the installation with all Workers of `names`; `otherBuild` is the folder of the Worker `other`. */
export async function startInstallation(names, folder, otherBuild) {
  // Imported late: these need the npm packages and Node 22.
  const [{ createKeyRing, CLIENT_ID }, { faults, startFaultProxy }, { startMinimalApp, defineMinimalApp }, { Person }] = await Promise.all(
    ["installation", "fault-proxy", "minimal-app", "person"].map((name) => import(`../../tests/support/${name}.mjs`)),
  );
  const app = await startMinimalApp({ refreshTokens: true, expiresIn: LIFETIME });
  const proxy = await startFaultProxy(app.definition.auth.token_url);
  proxy.defaultFault = faults.slowToAnswer(APP_TIME);
  const adminKey = randomBytes(32).toString("base64url");
  const runtime = await startRuntime(names, {
    folder,
    otherBuild,
    variables: { ENCRYPTION_KEYS: createKeyRing(), ADMIN_KEY: adminKey, APP_URL: app.definition.identity.url },
    outboundPorts: [app.definition.auth.token_url, proxy.url].map((url) => Number(new URL(url).port)),
  });
  const db = await runtime.miniflare.getD1Database("DB", names[0]);
  const kv = await runtime.miniflare.getKVNamespace("CACHE", names[0]);
  await migrate(db);

  const installation = Object.assign(createClient(runtime), {
    db,
    kv,
    app,
    proxy,
    adminKey,
    run: (sql, ...values) =>
      db
        .prepare(sql)
        .bind(...values)
        .run(),
    close: async () => {
      await runtime.close();
      await proxy.close();
      app.close();
    },
  });
  const workspace = await installation.requestOk("POST", "/v1/workspaces", { name: "Acme Corp" }, adminKey);
  installation.key = workspace.key.key;
  installation.keyId = workspace.key.id ?? (await db.prepare("SELECT id FROM api_keys").first("id"));
  await defineMinimalApp(installation, app);
  const slow = { ...app.definition, id: "slow", name: "Slow", auth: { ...app.definition.auth, refresh_url: proxy.url } };
  await installation.requestOk("POST", "/v1/apps", slow);
  await installation.requestOk("PUT", "/v1/apps/slow/client", { client_id: CLIENT_ID, client_secret: "a-small-secret" });
  const passing = { ...app.definition, id: "passing", name: "Passing", request: { base_url: new URL("/", app.definition.identity.url).href } };
  await installation.requestOk("POST", "/v1/apps", passing);
  await installation.requestOk("PUT", "/v1/apps/passing/client", { client_id: CLIENT_ID, client_secret: "a-small-secret" });
  installation.person = await Person.createSignedIn(installation);
  const listed = [];
  for (let number = 0; number < LISTED; number += 1) listed.push(await importTokens(installation, `listed ${number}`));
  return Object.assign(installation, { listed });
}

/** Calls the Workers of a runtime. The caller puts its API key into `key`. */
export function createClient(runtime) {
  const client = {
    runtime,
    publicUrl: PUBLIC_URL,
    async request(path, init = {}, worker = "connections") {
      const response = await fetch(`http://127.0.0.1:${runtime.ports[worker]}${path}`, { redirect: "manual", ...init });
      return { status: response.status, headers: response.headers, text: await response.text() };
    },
    async requestOk(method, path, body, key = client.key) {
      const headers = { "content-type": "application/json", authorization: `Bearer ${key}` };
      const { status, text } = await client.request(path, { method, headers, body: body && JSON.stringify(body) });
      if (status >= 300) throw new Failure(`${method} ${path} answered ${status}: ${text}`);
      return text ? JSON.parse(text) : undefined;
    },
  };
  return client;
}

/** Applies all migrations to an empty database. */
export async function migrate(db) {
  const { unstable_splitSqlQuery: split } = await import("wrangler");
  for (const file of readdirSync(repoPath("migrations")).sort()) {
    const statements = split(readFileSync(repoPath("migrations", file), "utf8"));
    await db.batch(statements.map((statement) => db.prepare(statement)));
  }
}

/** A connection with tokens that the app issued elsewhere: its id. */
export async function importTokens(installation, account, { app = "small", lifetime = LIFETIME } = {}) {
  const token = `${Buffer.from(account).toString("base64url")}.0`;
  const credential = { type: "oauth2", access_token: token, refresh_token: token, expires_at: secondsFromNow(lifetime), scopes: ["read"] };
  return (await installation.requestOk("POST", "/v1/connections", { app, credential })).id;
}

const secondsFromNow = (seconds) => new Date(Date.now() + seconds * 1000).toISOString();

/** A request as the load generator sends it. */
export function formatRequest(method, path, { body, headers = {} } = {}) {
  const text = body === undefined ? "" : typeof body === "string" ? body : JSON.stringify(body);
  const lines = [`${method} ${path} HTTP/1.1`, `Host: ${new URL(PUBLIC_URL).host}`, ...Object.entries(headers).map(([name, value]) => `${name}: ${value}`)];
  if (body !== undefined) lines.push("Content-Type: application/json", `Content-Length: ${Buffer.byteLength(text)}`);
  return `${lines.join("\r\n")}\r\n\r\n${text}`;
}

/** The request of a workflow step for a credential. */
export const resolveRequest = (installation, connection, more = {}, headers = {}) =>
  formatRequest("POST", `/v1/connections/${connection}/resolve`, {
    headers: { Authorization: `Bearer ${installation.key}`, ...headers },
    body: { workflow: "nightly", step: "import", ...more },
  });
