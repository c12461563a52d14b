// Owns `npm run verify-app -- <app>`: checks an app's definition against the live app, with the operator's own client
// or key. It goes through a connection's lifecycle with the API of a running installation and prints each step in a
// line: ✓ passed, ✗ failed, · no result. Never prints a token, a key or an address that may contain one.

import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { Writable } from "node:stream";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";
import { Failure, main, say } from "./bootstrap.mjs";

const HELP = `Usage: npm run verify-app -- <app> [options]

Checks an app's definition against the live app. It tests the OAuth client, asks you to connect (or to enter a key), shows
the connection, resolves it, checks it, refreshes it twice, checks it again, requests a further scope, asks you to revoke
the access at the app and to connect again, and disconnects.

  --url URL            the installation. Default: CONNECTIONS_URL
  --key KEY            an API key of the workspace. Default: CONNECTIONS_KEY, which stays out of the shell's history
  --auth-method ID     the auth method. Default: the first that is ready
  --scope SCOPE        a scope to request instead of the default ones. Repeat it for more
  --variable NAME=VALUE  a part of the app's addresses, such as a subdomain, if a key is entered
  --field NAME=@FILE   a field of the key, read from a file. NAME=VALUE is accepted for fields that are not secret
  --timeout SECONDS    how long to wait until you have connected. Default: 600
  --pause SECONDS      how long to wait before the app is asked again. Default: 31, because an installation does not ask
                       the same app twice within 30 s
  --short              leave out the steps that need you a second time: the further scope and the revocation at the app
  --yes                disconnect at the end without asking
  --keep               keep the connection at the end without asking

The API key needs the scopes apps, links, connections:read, connections:write and resolve.
You are asked for fields that are not given. Secret ones are not shown. Exit code: 0 if no step failed, otherwise 1.`;

const OPTION_TYPES = {
  url: { type: "string" },
  key: { type: "string" },
  "auth-method": { type: "string" },
  scope: { type: "string", multiple: true },
  variable: { type: "string", multiple: true, default: [] },
  field: { type: "string", multiple: true, default: [] },
  timeout: { type: "string", default: "600" },
  pause: { type: "string", default: "31" },
  short: { type: "boolean", default: false },
  yes: { type: "boolean", default: false },
  keep: { type: "boolean", default: false },
  help: { type: "boolean", default: false },
};

/** Seconds between two requests for a link's status. */
const POLL_SECONDS = 2;

/** Identifies this program in a connection's list of uses. */
const WORKFLOW = "verify-app";

// ---- command line

function readOptions() {
  const { values, positionals } = parseCommandLine();
  if (values.help) return undefined;
  const url = values.url ?? process.env.CONNECTIONS_URL;
  const key = values.key ?? process.env.CONNECTIONS_KEY;
  if (positionals.length !== 1) throw new Failure(HELP);
  if (!url || !key) throw new Failure("Set CONNECTIONS_URL and CONNECTIONS_KEY, or give --url and --key.");
  if (!URL.canParse(url)) throw new Failure("CONNECTIONS_URL is not a valid address.");
  for (const name of ["timeout", "pause"]) if (!/^\d+$/.test(values[name])) throw new Failure(`--${name} takes a number of seconds.`);
  if (values.yes && values.keep) throw new Failure("Give --yes or --keep, not both.");
  return { ...values, authMethod: values["auth-method"], app: positionals[0], url: url.replace(/\/+$/, ""), key, timeout: Number(values.timeout), pause: Number(values.pause), fields: parsePairs("field", values.field), variables: parsePairs("variable", values.variable) };
}

function parseCommandLine() {
  try {
    return parseArgs({ options: OPTION_TYPES, allowPositionals: true });
  } catch (error) {
    throw new Failure(`${error.message}\n\n${HELP}`);
  }
}

function parsePairs(option, given) {
  return Object.fromEntries(given.map((text) => {
    const at = text.indexOf("=");
    if (at < 1) throw new Failure(`--${option} takes NAME=VALUE.`);
    return [text.slice(0, at), text.slice(at + 1)];
  }));
}

// ---- output

const counts = { "✓": 0, "✗": 0, "·": 0 };

function line(mark, step, text) {
  counts[mark] += 1;
  say(`${mark} ${step}: ${text}`);
}

/** Runs a step. A problem becomes its line. Returns the step's value, or whether it did not fail. */
async function step(name, body) {
  try {
    const { mark = "✓", text, value } = await body();
    line(mark, name, text);
    return value ?? mark !== "✗";
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    line("✗", name, error.message);
    return false;
  }
}

// ---- the API

/** An error answer of the installation: code and detail, which never contain a secret. */
class Problem extends Error {
  constructor(message, code) {
    super(message);
    this.code = code;
  }
}

function api({ url, key }) {
  return async (method, path, body) => {
    const headers = { authorization: `Bearer ${key}`, ...(body && { "content-type": "application/json" }) };
    const answer = await fetch(`${url}${path}`, { method, headers, body: body && JSON.stringify(body), redirect: "error" }).catch((error) => {
      throw new Problem(`no answer from the installation (${error.cause?.code ?? error.message})`);
    });
    const json = await answer.json().catch(() => undefined);
    if (!answer.ok) throw new Problem(problem(answer.status, json), json?.code);
    return json;
  };
}

const problem = (status, json) => `${json?.code ?? `status ${status}`}: ${json?.detail ?? "no detail"}`;

// ---- questions

/**
 * Asks on the terminal, and hides the answer if it is secret. Without a terminal, reads the next line of the input.
 */
async function ask(question, { secret = false } = {}) {
  process.stderr.write(question);
  if (!process.stdin.isTTY) {
    const { value = "" } = await inputLines().next();
    process.stderr.write("\n");
    return value;
  }
  const output = secret ? new Writable({ write: (_chunk, _encoding, done) => done() }) : process.stderr;
  const prompt = createInterface({ input: process.stdin, output, terminal: true });
  prompt.on("SIGINT", () => process.exit(130));
  const answer = await new Promise((resolve) => prompt.once("line", resolve));
  prompt.close();
  if (secret) process.stderr.write("\n");
  return answer;
}

let lines;
const inputLines = () => (lines ??= createInterface({ input: process.stdin })[Symbol.asyncIterator]());

async function collectFields(authMethod, given) {
  const unknown = Object.keys(given).find((id) => authMethod.fields.every((field) => field.id !== id));
  if (unknown) throw new Failure(`The auth method has no field ${unknown}. Its fields: ${authMethod.fields.map(({ id }) => id).join(", ")}.`);
  const entered = {};
  for (const field of authMethod.fields) {
    const value = given[field.id] === undefined ? await askForField(field) : readFieldOption(field, given[field.id]);
    if (value !== "") entered[field.id] = value;
  }
  return entered;
}

function readFieldOption(field, value) {
  if (value.startsWith("@")) return readText(value.slice(1));
  if (field.secret) throw new Failure(`${field.id} is secret: use --field ${field.id}=@FILE, or leave it out and enter it when asked.`);
  return value;
}

async function askForField(field) {
  const hint = [field.help, field.optional && "Optional."].filter(Boolean).join(" ");
  if (hint) process.stderr.write(`${field.label}: ${hint}\n`);
  if (!field.multiline) return (await ask(`${field.label}: `, { secret: field.secret })).trim();
  const path = (await ask(`${field.label}, the path of a file: `)).trim();
  return path === "" ? "" : readText(path);
}

function readText(path) {
  try {
    return readFileSync(path, "utf8").trim();
  } catch (error) {
    throw new Failure(`Cannot read ${path}: ${error.code}`);
  }
}

// ---- the steps

function chooseAuthMethod(app, asked) {
  const has = app.auth_methods.map(({ id, type }) => `${id} (${type})`).join(", ");
  const authMethod = asked ? app.auth_methods.find(({ id }) => id === asked) : (app.auth_methods.find(({ ready }) => ready) ?? app.auth_methods[0]);
  if (!authMethod) throw new Failure(`${app.name} has no auth method ${asked}. It has ${has}.`);
  say(`${app.name}, auth method ${authMethod.id} (${authMethod.type}). Available: ${has}.`);
  if (authMethod.deprecated) say(`Note: ${authMethod.deprecated}`);
  return authMethod;
}

const VERDICTS = { accepted: "✓", refused: "✗", misconfigured: "✗", unreachable: "✗" };

/** Whether to continue: without an accepted client nobody can connect. */
async function testClient(call, app, authMethod) {
  if (!authMethod.ready) {
    line("✗", "client", `not set up yet. Set it up with: PUT /v1/apps/${app.id}/client`);
    (authMethod.client?.help?.steps ?? []).forEach((text, index) => say(`    ${index + 1}. ${text}`));
    return false;
  }
  // Without a person, the address of the token endpoint is not known.
  if (authMethod.variables.length > 0) {
    line("·", "client", `tested when you connect, because the address depends on ${authMethod.variables.map(({ label }) => label).join(", ")}`);
    return true;
  }
  return step("client", async () => {
    const { verdict, code, detail, redirect_uri: redirect } = await call("POST", `/v1/apps/${app.id}/client/test?auth_method=${authMethod.id}`);
    return { mark: VERDICTS[verdict] ?? "·", text: `${verdict}${code ? ` (${code})` : ""}. ${detail} Its redirect URI: ${redirect}` };
  });
}

const connectByLink = (call, asked, authMethod) => waitForLink(call, asked, { app: asked.app, auth_method: authMethod.id, scopes: asked.scope, on_duplicate: "create" });

/** Waits until a person has used a link. Returns the connection that it created or repaired. */
async function waitForLink(call, asked, wanted) {
  const link = await call("POST", "/v1/links", wanted);
  say(`\n  Open this link, connect, and come back:\n\n  ${link.url}\n`);
  const end = Date.now() + asked.timeout * 1000;
  for (;;) {
    const { status, connection } = await call("GET", `/v1/links/${link.id}`);
    if (status === "used" && connection) return connection;
    if (status === "expired") throw new Problem("the link has expired");
    if (Date.now() >= end) throw new Problem(`nobody connected within ${asked.timeout} s (the link is ${status})`);
    await sleep(Math.min(POLL_SECONDS * 1000, Math.max(0, end - Date.now())));
  }
}

const fieldsWithoutFiles = (fields) => Object.fromEntries(Object.entries(fields).filter(([, value]) => !value.startsWith("@")));

/** A revoked key cannot be used again, so values that came from a file are asked for. */
async function reconnectByFields(call, asked, authMethod, { id }) {
  const credential = { type: authMethod.type, ...(await collectFields(authMethod, fieldsWithoutFiles(asked.fields))) };
  await call("PUT", `/v1/connections/${id}/credential`, { auth_method: authMethod.id, credential });
  return id;
}

async function connectByFields(call, asked, authMethod) {
  const fields = await collectFields(authMethod, asked.fields);
  const variables = { ...asked.variables };
  for (const one of authMethod.variables) {
    variables[one.id] ??= (await ask(`${one.label}${one.default ? ` (${one.default})` : one.example ? `, such as ${one.example}` : ""}: `)).trim();
    if (variables[one.id] === "") delete variables[one.id];
  }
  const credential = { type: authMethod.type, ...fields };
  const made = await call("POST", "/v1/connections", { app: asked.app, auth_method: authMethod.id, variables, scopes: asked.scope, credential, on_duplicate: "create" });
  return made.id;
}

const showConnection = (call, id) => step("connection", async () => {
  const connection = await call("GET", `/v1/connections/${id}`);
  const { status, reason, account, scopes, credential } = connection;
  const text = [
    status + (reason ? ` (${reason})` : ""),
    account ? `account ${account.label} (${account.id})` : "account unknown",
    `granted ${scopes.granted.join(" ") || "unknown scopes"}`,
    scopes.missing.length > 0 && `MISSING ${scopes.missing.join(" ")}`,
    `${credential.type}, ${credential.expires_at ? `expires ${credential.expires_at}` : "without a known expiry"}`,
    credential.refreshable ? "has a refresh token" : undefined,
    credential.ends_at && `must be reconnected by ${credential.ends_at}`,
  ];
  const holds = status === "connected" && scopes.missing.length === 0;
  return { mark: holds ? "✓" : "✗", text: text.filter(Boolean).join("; "), value: connection };
});

/** A hash that distinguishes two tokens without storing one. */
const hashCredential = (credential) => createHash("sha256").update(JSON.stringify(credential.access_token ?? credential)).digest("hex");

function resolveConnection(call, id, name, more = {}, before) {
  return step(name, async () => {
    const { credential, request, source } = await call("POST", `/v1/connections/${id}/resolve`, { workflow: WORKFLOW, step: name, ...more });
    const now = hashCredential(credential);
    const carries = [...Object.keys(request.headers ?? {}), ...Object.keys(request.query ?? {}).map((param) => `?${param}`)];
    const text = [
      before && (now === before ? "same access token" : "new access token"),
      credential.expires_at ? `expires ${credential.expires_at}` : "without a known expiry",
      `from ${source}`,
      `sent in ${carries.join(", ") || "the address"}`,
      // Only the origin: the path may contain the app's token.
      request.base_url && `to ${new URL(request.base_url).origin}`,
      ...Object.keys(credential.tokens ?? {}).map((other) => `further token: ${other}`),
    ];
    // If the token is the same as before, no refresh happened.
    return { mark: before && now === before ? "✗" : "✓", text: text.filter(Boolean).join("; "), value: now };
  });
}

const checkConnection = (call, id, name) => step(name, async () => {
  const { health, evidence } = await call("POST", `/v1/connections/${id}/check`);
  const marks = { healthy: "✓", unknown: "·" };
  return { mark: marks[health] ?? "✗", text: `${health}${evidence ? ` (${evidence})` : ""}` };
});

/** A scope that was not requested, if possible one that the app grants without a review. */
function chooseFurtherScope(authMethod, { scopes }) {
  const had = new Set([...scopes.requested, ...scopes.granted]);
  const others = (authMethod.scopes ?? []).filter(({ id }) => !had.has(id));
  return (others.find(({ sensitive }) => !sensitive) ?? others[0])?.id;
}

/** Whether the app adds a scope to an existing connection. Returns the connection afterwards. */
async function requestFurtherScope(call, asked, authMethod, before) {
  const scope = chooseFurtherScope(authMethod, before);
  if (!scope) return line("·", "further scope", "every scope of the app was requested already");
  say(`\nOne more scope is requested: ${scope}`);
  return step("further scope", async () => {
    await waitForLink(call, asked, { connection: before.id, scopes: [...before.scopes.requested, scope] });
    const connection = await call("GET", `/v1/connections/${before.id}`);
    const granted = connection.scopes.granted.includes(scope) && connection.scopes.missing.length === 0;
    const text = granted ? `the connection has ${scope} now` : `requested ${scope}; MISSING ${connection.scopes.missing.join(" ") || scope}`;
    return { mark: granted ? "✓" : "✗", text, value: connection };
  });
}

/** Whether a check or a refresh notices that the access was revoked at the app. Undefined if nobody revoked it. */
async function checkRevocation(call, id, pause) {
  const word = (await ask("\nRevoke the access at the app now, then press Enter. Type s to skip this step. ")).trim();
  if (word !== "") return line("·", "revoked at the app", "skipped");
  await pause();
  return step("revoked at the app", async () => {
    const { health, evidence, connection } = await call("POST", `/v1/connections/${id}/check`);
    if (connection.status === "needs_reconnect") return { text: `the check found needs_reconnect (${connection.reason})` };
    const seen = `the check found ${health}${evidence ? ` (${evidence})` : ""}`;
    // An access token may be valid after the grant was revoked. The next refresh shows it.
    const code = connection.credential.refreshable ? await refreshCode(call, id) : undefined;
    if (code === "needs_reconnect") return { text: `${seen}, and a refresh found needs_reconnect` };
    return { mark: "✗", text: `${seen}${code ? `, and a refresh ${code}` : ""}: the revocation was not noticed` };
  });
}

/** The error code of a forced refresh, or "works". */
const refreshCode = (call, id) => call("POST", `/v1/connections/${id}/resolve`, { workflow: WORKFLOW, step: "revoked", force_refresh: true }).then(
  () => "works",
  (error) => {
    if (error instanceof Problem && error.code) return error.code;
    throw error;
  },
);

const reconnectByLink = (call, asked, _authMethod, { id, scopes }) => waitForLink(call, asked, { connection: id, scopes: scopes.requested });

async function reconnect(call, asked, authMethod, before) {
  const again = authMethod.type === "oauth2" ? reconnectByLink : reconnectByFields;
  const connection = await step("reconnected", async () => {
    await again(call, asked, authMethod, before);
    const connection = await call("GET", `/v1/connections/${before.id}`);
    const same = connection.account?.id === before.account?.id;
    const holds = connection.status === "connected" && same;
    return { mark: holds ? "✓" : "✗", text: `${connection.status}, ${same ? "the same account" : "ANOTHER ACCOUNT"}, the same id`, value: holds && connection };
  });
  if (connection) await resolveConnection(call, before.id, "resolve after the reconnect");
}

/** The steps that need the person a second time. */
async function runSecondPart(call, asked, authMethod, connection, pause) {
  const widened = authMethod.type === "oauth2" && (await requestFurtherScope(call, asked, authMethod, connection));
  if (await checkRevocation(call, connection.id, pause)) await reconnect(call, asked, authMethod, widened || connection);
}

const REVOCATION_RESULTS = {
  confirmed: ["✓", "the app confirmed that the access is revoked"],
  unsupported: ["·", "the app cannot revoke. Remove the access there"],
  kept_shared: ["·", "not revoked, because another connection uses the same grant"],
  failed: ["✗", "the app did not confirm that the access is revoked"],
};

async function disconnect(call, id, { yes, keep }) {
  const sure = yes || (!keep && /^y(es)?$/i.test((await ask("\nDisconnect, and revoke the access at the app? [y/N] ")).trim()));
  if (!sure) return say(`The connection is kept: ${id}`);
  return step("disconnect", async () => {
    const { revoked, retrying } = await call("DELETE", `/v1/connections/${id}`);
    const [mark, text] = REVOCATION_RESULTS[revoked] ?? ["✗", String(revoked)];
    return { mark, text: text + (retrying ? "; it will be tried again" : "") };
  });
}

async function verify(asked) {
  const call = api(asked);
  const app = await call("GET", `/v1/apps/${encodeURIComponent(asked.app)}`).catch((error) => {
    throw error instanceof Problem ? new Failure(`${asked.app}: ${error.message}`) : error;
  });
  const authMethod = chooseAuthMethod(app, asked.authMethod);
  const consents = authMethod.type === "oauth2";
  if (consents && !(await testClient(call, app, authMethod))) return;
  const connect = consents ? connectByLink : connectByFields;
  const id = await step("connected", async () => {
    const made = await connect(call, asked, authMethod);
    return { text: made, value: made };
  });
  if (!id) return;
  const connection = await showConnection(call, id);
  const first = await resolveConnection(call, id, "resolve");
  const pause = () => sleep(asked.pause * 1000);
  await pause();
  await checkConnection(call, id, "check");
  const renews = connection?.credential?.refreshable || ["client_credentials", "service_account"].includes(authMethod.type);
  if (renews) {
    const second = await resolveConnection(call, id, "first refresh", { force_refresh: true }, first);
    await pause();
    // A replaced refresh token is not visible. If the second refresh works, the stored one is valid.
    await resolveConnection(call, id, "second refresh", { force_refresh: true }, second || first);
    await pause();
    await checkConnection(call, id, "check after the refreshes");
  } else {
    line("·", "refresh", "this credential cannot be refreshed");
  }
  if (connection && !asked.short) await runSecondPart(call, asked, authMethod, connection, pause);
  await disconnect(call, id, asked);
}

await main(async () => {
  const asked = readOptions();
  if (!asked) {
    say(HELP);
    return 0;
  }
  await verify(asked);
  say(`\n${counts["✓"]} passed, ${counts["✗"]} failed, ${counts["·"]} without a result`);
  return counts["✗"] === 0 ? 0 : 1;
});
