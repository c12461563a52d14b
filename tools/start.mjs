// Owns `npm start`: runs Connections on this machine with one app to connect, and prints a sign-in link and an API key.
// Every start uses the workspace, the connections and the tokens of the previous one. Touches nothing that is not
// local.

import { randomBytes } from "node:crypto";
import { createWriteStream, existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { once } from "node:events";
import { createServer } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { restartUnderNode22, repoPath, capture, spawnChild, ensureNpm, Failure, main, quietWrangler, say, wrangler } from "./bootstrap.mjs";
import { build } from "./build.mjs";
import { readDatabases } from "./deployment.mjs";

const PORT = readPort("PORT", 8787);
const OAUTH_PORT = readPort("OAUTH_PORT", 8788);
const PUBLIC_URL = `http://localhost:${PORT}`;
const CLIENT_ID = "connections";
const STATE = repoPath(".dev/state.json");
const LOG = repoPath(".dev/wrangler.log");
const FIVE_MINUTES = 300_000;
/** What a person is asked to allow, in words. */
const SCOPES = [
  { id: "openid", description: "Know which account it is" },
  { id: "email", description: "See the e-mail address" },
  { id: "profile", description: "See the name" },
  { id: "offline_access", description: "Use the account while you are away" },
];

async function start() {
  await checkPort(PORT, "PORT");
  await checkPort(OAUTH_PORT, "OAUTH_PORT");
  mkdirSync(repoPath(".dev"), { recursive: true });
  const secrets = readDevVars();
  await build({ quick: true });
  await migrate();
  const oauth = await startOAuth();
  const worker = startWorker();
  await Promise.race([worker.exited, run(oauth, secrets)]);
  await worker.exited;
}

async function run(oauth, { ADMIN_KEY }) {
  await waitUntilHealthy();
  const { key, signInUrl } = await setUp(oauth, ADMIN_KEY);
  printInstructions(key, signInUrl, oauth.issuer);
  startCronTimer();
}

// ---- processes

const running = [];

/** Stops everything in the reverse order of the start. */
async function stopAll() {
  for (const stop of running.splice(0).reverse()) await stop();
}

/** Ctrl-C, SIGTERM, a closed terminal, or the end of the parent process. */
function waitUntilStopped() {
  return new Promise((resolve) => {
    for (const event of ["SIGINT", "SIGTERM", "SIGHUP", "disconnect"]) process.on(event, resolve);
    // npm can be killed without passing the signal on.
    const parent = process.ppid;
    const underNpm = Boolean(process.env.npm_lifecycle_event);
    setInterval(() => underNpm && process.ppid !== parent && resolve(), 1000).unref();
  });
}

async function startOAuth() {
  // Imported late: the package is installed by ensureNpm.
  const { startOAuthServer } = await import("./oauth-server/server.mjs");
  const client = { client_id: CLIENT_ID, client_secret: ensureClientSecret() };
  const server = await startOAuthServer({ port: OAUTH_PORT, accessTokenTtl: 120, clients: [client], file: repoPath(".dev/oauth-server.json") });
  running.push(server.close);
  return server;
}

function startWorker() {
  const vars = ["--var", `PUBLIC_URL:${PUBLIC_URL}`, "--var", "DEV_LOOPBACK:1"];
  const [command, args] = wrangler("dev", "--ip", "127.0.0.1", "--port", String(PORT), "--show-interactive-dev-session=false", ...vars);
  // Its own process group, so that one signal reaches wrangler and the runtime processes under it.
  const dev = spawnChild(command, args, { env: { ...quietWrangler, NO_COLOR: "1", FORCE_COLOR: "0" }, stdio: ["ignore", "pipe", "pipe"], detached: true });
  const log = createWriteStream(LOG, { mode: 0o600 });
  for (const stream of [dev.stdout, dev.stderr]) stream.setEncoding("utf8").on("data", (text) => writeLog(log, text));
  const gone = once(dev, "exit");
  running.push(() => endGroup(dev, gone));
  return { exited: gone.then(([code]) => Promise.reject(new Failure(`wrangler exited (code ${code}). The end of its log:\n${readLogTail()}\nMore in ${LOG}`))) };
}

function writeLog(log, text) {
  log.write(text);
  for (const line of text.split("\n")) if (/✘|\bERROR\b|panicked|Uncaught/.test(line)) console.error(line);
}

const readLogTail = () => readFileSync(LOG, "utf8").trim().split("\n").slice(-15).join("\n");

async function endGroup(dev, gone) {
  signalGroup(dev, "SIGTERM");
  await Promise.race([gone, sleep(5000)]);
  // Processes of the group that are still running after wrangler has exited.
  signalGroup(dev, "SIGKILL");
}

function signalGroup(dev, signal) {
  try {
    process.kill(-dev.pid, signal);
  } catch (error) {
    if (error.code !== "ESRCH") throw error;
  }
}

/** wrangler does not run cron triggers locally, so this process does. */
function startCronTimer() {
  const runScheduled = () => fetch(`${PUBLIC_URL}/cdn-cgi/handler/scheduled?cron=${encodeURIComponent("*/5 * * * *")}`).catch(() => {});
  const timer = setInterval(runScheduled, FIVE_MINUTES);
  running.push(() => clearInterval(timer));
}

// ---- before the start

function readPort(name, fallback) {
  const port = Number(process.env[name] || fallback);
  if (Number.isInteger(port) && port > 0 && port < 65_536) return port;
  console.error(`${name}=${process.env[name]} is not a port.`);
  process.exit(1);
}

async function checkPort(port, variable) {
  for (const host of ["127.0.0.1", "::1"]) {
    const taken = await new Promise((resolve) => {
      const probe = createServer().once("error", ({ code }) => resolve(code === "EADDRINUSE"));
      probe.listen(port, host, () => probe.close(() => resolve(false)));
    });
    if (taken) throw new Failure(`Port ${port} is taken (is another npm start running?). Choose another: ${variable}=${port + 1000} npm start`);
  }
}

/** The two secrets of a development Worker. They are kept, because the next start must open what they sealed. */
function readDevVars() {
  const file = repoPath(".dev.vars");
  if (!existsSync(file)) {
    const ring = `k1:${randomBytes(32).toString("base64")}`;
    const admin = randomBytes(32).toString("base64url");
    writeFileSync(file, `# Created by npm start, for this machine only.\nENCRYPTION_KEYS="${ring}"\nADMIN_KEY="${admin}"\n`, { mode: 0o600 });
  }
  const vars = Object.fromEntries([...readFileSync(file, "utf8").matchAll(/^\s*([A-Z_]+)\s*=\s*["']?(.*?)["']?\s*$/gm)].map(([, name, value]) => [name, value]));
  for (const name of ["ENCRYPTION_KEYS", "ADMIN_KEY"]) {
    if (!vars[name]) throw new Failure(`${name} is missing in .dev.vars. .dev.vars.example shows how to create one.`);
  }
  return vars;
}

/** Each database that wrangler.toml binds. */
async function migrate() {
  for (const { binding } of readDatabases(readFileSync(repoPath("wrangler.toml"), "utf8"))) {
    const [command, args] = wrangler("d1", "migrations", "apply", binding, "--local");
    const { code, output } = await capture(command, args, { env: quietWrangler });
    if (code !== 0) throw new Failure(`The local database ${binding} could not be migrated:\n${output}`);
  }
}

async function waitUntilHealthy() {
  let answer = "no answer yet";
  for (let attempt = 0; attempt < 120; attempt += 1) {
    answer = await fetch(`${PUBLIC_URL}/healthz`).then((response) => response.status, () => answer);
    if (answer === 200) return;
    await sleep(250);
  }
  throw new Failure(
    `The Worker is not healthy (GET /healthz: ${answer}); see ${LOG}.\n` +
      "If .dev.vars was replaced since the last start, the old data cannot be decrypted. npm run clean -- --data deletes it.",
  );
}

// ---- workspace, app and person

/** Finds or creates everything that a person needs. Returns the workspace's API key and a new sign-in link. */
async function setUp(oauth, adminKey) {
  const key = await ensureWorkspaceKey(adminKey);
  await ensureApp(key, oauth.issuer);
  const client = { client_id: CLIENT_ID, client_secret: ensureClientSecret() };
  const { redirect_uri: redirectUri } = await api(key, "PUT", "/v1/apps/local-oauth/client", client);
  oauth.addRedirectUri(CLIENT_ID, redirectUri);
  const { url } = await api(key, "POST", "/v1/sign-in-links", { user: { id: "you", name: "You" }, role: "admin" });
  return { key, signInUrl: url };
}

async function ensureWorkspaceKey(adminKey) {
  const { key } = readState();
  if (key && (await call(key, "GET", "/v1/workspace")).ok) return key;
  const made = await api(adminKey, "POST", "/v1/workspaces", { name: "Local" });
  saveState({ key: made.key.key });
  return made.key.key;
}

async function ensureApp(key, issuer) {
  const auth = { type: "oauth2", issuer, authorize_params: { prompt: "consent" }, rotation: "strict" };
  const app = { id: "local-oauth", name: "Local OAuth server", auth, scopes: SCOPES, request: { base_url: `${issuer}/` } };
  const exists = (await call(key, "GET", "/v1/apps/local-oauth")).ok;
  // An app's definition has revisions. Sending the same one at every start would add revisions.
  if (exists && readState().app === JSON.stringify(app)) return;
  await (exists ? api(key, "PUT", "/v1/apps/local-oauth", app) : api(key, "POST", "/v1/apps", app));
  saveState({ app: JSON.stringify(app) });
}

function ensureClientSecret() {
  if (!readState().clientSecret) saveState({ clientSecret: randomBytes(24).toString("base64url") });
  return readState().clientSecret;
}

const readState = () => (existsSync(STATE) ? JSON.parse(readFileSync(STATE, "utf8")) : {});
const saveState = (more) => writeFileSync(STATE, JSON.stringify({ ...readState(), ...more }, null, 2), { mode: 0o600 });

function call(key, method, path, body) {
  const headers = { authorization: `Bearer ${key}`, "content-type": "application/json" };
  return fetch(PUBLIC_URL + path, { method, headers, body: body && JSON.stringify(body) });
}

async function api(key, method, path, body) {
  const response = await call(key, method, path, body);
  if (!response.ok) throw new Failure(`${method} ${path} answered ${response.status}: ${await response.text()}`);
  return response.json();
}

function printInstructions(key, signInUrl, issuer) {
  const bearer = `-H 'Authorization: Bearer ${key}'`;
  say(`
Connections is running at ${PUBLIC_URL}

Sign in (the link works once; each start prints a new one):
  ${signInUrl}
Then connect "Local OAuth server" and sign in there with any name. Each name is an account.
Its page has the button "Try it": see what a workflow step gets. Everything else is under "Settings".

API key of the workspace "Local":
  ${key}
List its connections, then resolve one (replace con_… with its id):
  curl ${bearer} ${PUBLIC_URL}/v1/connections
  curl -X POST ${bearer} -H 'Content-Type: application/json' -d '{}' ${PUBLIC_URL}/v1/connections/con_…/resolve

See a refresh: access tokens of the local OAuth server expire after two minutes. Resolve again after one minute:
"freshness" is "refreshed", and the access token is new. Its refresh tokens are single use: a second use ends the grant.

Local OAuth server: ${issuer}   Log: .dev/wrangler.log   Stop: Ctrl-C`);
}

await main(async () => {
  await ensureNpm();
  const code = await restartUnderNode22(import.meta.url);
  if (code !== undefined) return code;
  const stopped = waitUntilStopped();
  try {
    await Promise.race([stopped, start()]);
    await stopped;
  } finally {
    await stopAll();
  }
});
