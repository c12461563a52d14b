// Owns `npm run verify-app -- <app>`: proves an app's definition against the live app, with the operator's own client or key.
// It walks a connection's whole life by the API of a running installation and tells each step in a line: ✓ it held, ✗ it did
// not, · it tells nothing. Refuses to print a token, a key or an address that may hold one.

import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { createInterface } from "node:readline";
import { Writable } from "node:stream";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";
import { Failure, main, say } from "./bootstrap.mjs";

const HELP = `Usage: npm run verify-app -- <app> [options]

Proves an app's definition against the live app: tries the OAuth client, has you connect (or enter a key), shows the
connection, resolves it, checks it, refreshes it twice, checks it again, asks for a further scope, has you revoke the
access at the app and connect again, and disconnects.

  --url URL            the installation; else CONNECTIONS_URL
  --key KEY            a key of the workspace; else CONNECTIONS_KEY, which stays out of the shell's history
  --way ID             which way to connect; else the first that is ready
  --scope SCOPE        a scope to ask for instead of the usual ones; repeat it for more
  --variable NAME=VALUE  what the app's addresses depend on, where a key is entered (a subdomain)
  --field NAME=@FILE   a field of a key, from a file; NAME=VALUE is taken for fields that are not secret
  --timeout SECONDS    how long to wait until you have connected (600)
  --pause SECONDS      how long to wait before the app is asked again (31): what an installation asked within the last
                       30 s it takes for known, and asks no app
  --short              leave out what needs you a second time: the further scope, the revocation at the app
  --yes                disconnect at the end without asking
  --keep               leave the connection at the end without asking

The key needs the scopes apps, links, connections:read, connections:write and resolve.
Fields that are not given are asked for, and secret ones are not shown. Exit code: 0 when no step failed, else 1.`;

const OPTIONS = {
  url: { type: "string" },
  key: { type: "string" },
  way: { type: "string" },
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

/** Seconds between two looks at a link. */
const POLL = 2;

/** Names itself to the installation, so that the use shows among a connection's uses. */
const WORKFLOW = "verify-app";

// ---- what is asked for

function options() {
  const { values, positionals } = parsed();
  if (values.help) return undefined;
  const url = values.url ?? process.env.CONNECTIONS_URL;
  const key = values.key ?? process.env.CONNECTIONS_KEY;
  if (positionals.length !== 1) throw new Failure(HELP);
  if (!url || !key) throw new Failure("Set CONNECTIONS_URL and CONNECTIONS_KEY, or give --url and --key.");
  if (!URL.canParse(url)) throw new Failure("CONNECTIONS_URL is no address.");
  for (const name of ["timeout", "pause"]) if (!/^\d+$/.test(values[name])) throw new Failure(`--${name} takes a number of seconds.`);
  if (values.yes && values.keep) throw new Failure("Give --yes or --keep, not both.");
  return { ...values, app: positionals[0], url: url.replace(/\/+$/, ""), key, timeout: Number(values.timeout), pause: Number(values.pause), fields: pairs("field", values.field), variables: pairs("variable", values.variable) };
}

function parsed() {
  try {
    return parseArgs({ options: OPTIONS, allowPositionals: true });
  } catch (error) {
    throw new Failure(`${error.message}\n\n${HELP}`);
  }
}

function pairs(option, given) {
  return Object.fromEntries(given.map((text) => {
    const at = text.indexOf("=");
    if (at < 1) throw new Failure(`--${option} takes NAME=VALUE.`);
    return [text.slice(0, at), text.slice(at + 1)];
  }));
}

// ---- what is told

const told = { "✓": 0, "✗": 0, "·": 0 };

function line(mark, step, text) {
  told[mark] += 1;
  say(`${mark} ${step}: ${text}`);
}

/** Runs a step; a problem becomes its line. Answers the step's value, or whether it did not fail. */
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

/** What the installation complains of: its code and its detail, which never hold a secret. */
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

// ---- what a person enters

/** Asks on the terminal, without showing the answer where it is secret; else reads the next line of the input. */
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

async function fieldsOf(way, given) {
  const unknown = Object.keys(given).find((id) => way.fields.every((field) => field.id !== id));
  if (unknown) throw new Failure(`There is no field ${unknown}. Fields: ${way.fields.map(({ id }) => id).join(", ")}.`);
  const entered = {};
  for (const field of way.fields) {
    const value = given[field.id] === undefined ? await entry(field) : fromOption(field, given[field.id]);
    if (value !== "") entered[field.id] = value;
  }
  return entered;
}

function fromOption(field, value) {
  if (value.startsWith("@")) return file(value.slice(1));
  if (field.secret) throw new Failure(`${field.id} is secret: give it as --field ${field.id}=@FILE, or leave it out to be asked.`);
  return value;
}

async function entry(field) {
  const hint = [field.help, field.optional && "May be left empty."].filter(Boolean).join(" ");
  if (hint) process.stderr.write(`${field.label}: ${hint}\n`);
  if (!field.multiline) return (await ask(`${field.label}: `, { secret: field.secret })).trim();
  const path = (await ask(`${field.label}, the path of a file: `)).trim();
  return path === "" ? "" : file(path);
}

function file(path) {
  try {
    return readFileSync(path, "utf8").trim();
  } catch (error) {
    throw new Failure(`Cannot read ${path}: ${error.code}`);
  }
}

// ---- the steps

function chosen(app, asked) {
  const has = app.auth_methods.map(({ id, type }) => `${id} (${type})`).join(", ");
  const way = asked ? app.auth_methods.find(({ id }) => id === asked) : (app.auth_methods.find(({ ready }) => ready) ?? app.auth_methods[0]);
  if (!way) throw new Failure(`${app.name} has no way ${asked}. It has ${has}.`);
  say(`${app.name}, by the way ${way.id} (${way.type}). It has ${has}.`);
  if (way.deprecated) say(`Note: ${way.deprecated}`);
  return way;
}

const VERDICTS = { accepted: "✓", refused: "✗", misconfigured: "✗", unreachable: "✗" };

/** Whether to go on: an app that does not know the client lets nobody connect. */
async function clientHolds(call, app, way) {
  if (!way.ready) {
    line("✗", "client", `there is none yet; set it up first: PUT /v1/apps/${app.id}/client`);
    (way.client?.help?.steps ?? []).forEach((text, index) => say(`    ${index + 1}. ${text}`));
    return false;
  }
  // Without a person there is no telling at which address to ask.
  if (way.variables.length > 0) {
    line("·", "client", `is tried when you connect: the address depends on ${way.variables.map(({ label }) => label).join(", ")}`);
    return true;
  }
  return step("client", async () => {
    const { verdict, code, detail, redirect_uri: redirect } = await call("POST", `/v1/apps/${app.id}/client/test?auth_method=${way.id}`);
    return { mark: VERDICTS[verdict] ?? "·", text: `${verdict}${code ? ` (${code})` : ""}. ${detail} Its redirect URI: ${redirect}` };
  });
}

const connectedByLink = (call, asked, way) => linkUsed(call, asked, { app: asked.app, auth_method: way.id, scopes: asked.scope, on_duplicate: "create" });

/** Has a person walk a link: the connection that it made or repaired. */
async function linkUsed(call, asked, wanted) {
  const link = await call("POST", "/v1/links", wanted);
  say(`\n  Open this, connect, and come back:\n\n  ${link.url}\n`);
  const end = Date.now() + asked.timeout * 1000;
  for (;;) {
    const { status, connection } = await call("GET", `/v1/links/${link.id}`);
    if (status === "used" && connection) return connection;
    if (status === "expired") throw new Problem("the link has expired");
    if (Date.now() >= end) throw new Problem(`nobody has connected within ${asked.timeout} s (the link is ${status})`);
    await sleep(Math.min(POLL * 1000, Math.max(0, end - Date.now())));
  }
}

const enteredByOptions = (fields) => Object.fromEntries(Object.entries(fields).filter(([, value]) => !value.startsWith("@")));

/** A key that was revoked is of no use again: what came from a file is asked for. */
async function reconnectedByFields(call, asked, way, { id }) {
  const credential = { type: way.type, ...(await fieldsOf(way, enteredByOptions(asked.fields))) };
  await call("PUT", `/v1/connections/${id}/credential`, { auth_method: way.id, credential });
  return id;
}

async function connectedByFields(call, asked, way) {
  const fields = await fieldsOf(way, asked.fields);
  const variables = { ...asked.variables };
  for (const one of way.variables) {
    variables[one.id] ??= (await ask(`${one.label}${one.default ? ` (${one.default})` : one.example ? `, such as ${one.example}` : ""}: `)).trim();
    if (variables[one.id] === "") delete variables[one.id];
  }
  const credential = { type: way.type, ...fields };
  const made = await call("POST", "/v1/connections", { app: asked.app, auth_method: way.id, variables, scopes: asked.scope, credential, on_duplicate: "create" });
  return made.id;
}

const shown = (call, id) => step("connection", async () => {
  const connection = await call("GET", `/v1/connections/${id}`);
  const { status, reason, account, scopes, credential } = connection;
  const text = [
    status + (reason ? ` (${reason})` : ""),
    account ? `account ${account.label} (${account.id})` : "account unknown",
    `granted ${scopes.granted.join(" ") || "no scopes named"}`,
    scopes.missing.length > 0 && `MISSING ${scopes.missing.join(" ")}`,
    `${credential.type}, ${credential.expires_at ? `ends ${credential.expires_at}` : "without a known end"}`,
    credential.refreshable ? "has a refresh token" : undefined,
    credential.ends_at && `needs you again by ${credential.ends_at}`,
  ];
  const holds = status === "connected" && scopes.missing.length === 0;
  return { mark: holds ? "✓" : "✗", text: text.filter(Boolean).join("; "), value: connection };
});

/** What tells two tokens apart without keeping one. */
const print = (credential) => createHash("sha256").update(JSON.stringify(credential.access_token ?? credential)).digest("hex");

function resolved(call, id, name, more = {}, before) {
  return step(name, async () => {
    const { credential, request, source } = await call("POST", `/v1/connections/${id}/resolve`, { workflow: WORKFLOW, step: name, ...more });
    const now = print(credential);
    const carries = [...Object.keys(request.headers ?? {}), ...Object.keys(request.query ?? {}).map((param) => `?${param}`)];
    const text = [
      before && (now === before ? "the access token is the same" : "the access token is another"),
      credential.expires_at ? `ends ${credential.expires_at}` : "without a known end",
      `from ${source}`,
      `requests carry ${carries.join(", ") || "it in the address"}`,
      // Only the origin: an app may want its token in the path.
      request.base_url && `and go to ${new URL(request.base_url).origin}`,
      ...Object.keys(credential.tokens ?? {}).map((other) => `with a further token: ${other}`),
    ];
    // A refresh that brings the token it had did not happen.
    return { mark: before && now === before ? "✗" : "✓", text: text.filter(Boolean).join("; "), value: now };
  });
}

const checked = (call, id, name) => step(name, async () => {
  const { health, evidence } = await call("POST", `/v1/connections/${id}/check`);
  const marks = { healthy: "✓", unknown: "·" };
  return { mark: marks[health] ?? "✗", text: `${health}${evidence ? ` (${evidence})` : ""}` };
});

/** A scope that was not asked for, one that the app grants without a review if there is one. */
function further(way, { scopes }) {
  const had = new Set([...scopes.requested, ...scopes.granted]);
  const others = (way.scopes ?? []).filter(({ id }) => !had.has(id));
  return (others.find(({ sensitive }) => !sensitive) ?? others[0])?.id;
}

/** Whether the app adds a scope to a connection that is there. Answers the connection as it is then. */
async function widened(call, asked, way, before) {
  const scope = further(way, before);
  if (!scope) return line("·", "further scope", "the app has none that was not asked for");
  say(`\nAsk for one more scope: ${scope}`);
  return step("further scope", async () => {
    await linkUsed(call, asked, { connection: before.id, scopes: [...before.scopes.requested, scope] });
    const connection = await call("GET", `/v1/connections/${before.id}`);
    const granted = connection.scopes.granted.includes(scope) && connection.scopes.missing.length === 0;
    const text = granted ? `the connection has ${scope}, too` : `asked for ${scope}; MISSING ${connection.scopes.missing.join(" ") || scope}`;
    return { mark: granted ? "✓" : "✗", text, value: connection };
  });
}

/** Whether it shows that somebody took the access back at the app. Answers whether it does; undefined where nobody did. */
async function seenRevoked(call, id, pause) {
  const word = (await ask("\nRevoke the access at the app now, then press Enter; type s to leave this out. ")).trim();
  if (word !== "") return line("·", "revoked at the app", "left out");
  await pause();
  return step("revoked at the app", async () => {
    const { health, evidence, connection } = await call("POST", `/v1/connections/${id}/check`);
    if (connection.status === "needs_reconnect") return { text: `the check says needs_reconnect (${connection.reason})` };
    const seen = `the check says ${health}${evidence ? ` (${evidence})` : ""}`;
    // An access token may outlive what it came from: the next refresh tells.
    const code = connection.credential.refreshable ? await refreshCode(call, id) : undefined;
    if (code === "needs_reconnect") return { text: `${seen}, and a refresh says needs_reconnect` };
    return { mark: "✗", text: `${seen}${code ? `, and a refresh ${code}` : ""}: it does not show` };
  });
}

/** What a refresh that is insisted on is refused with, or that it works. */
const refreshCode = (call, id) => call("POST", `/v1/connections/${id}/resolve`, { workflow: WORKFLOW, step: "revoked", force_refresh: true }).then(
  () => "works",
  (error) => {
    if (error instanceof Problem && error.code) return error.code;
    throw error;
  },
);

const reconnectedByLink = (call, asked, _way, { id, scopes }) => linkUsed(call, asked, { connection: id, scopes: scopes.requested });

async function reconnected(call, asked, way, before) {
  const again = way.type === "oauth2" ? reconnectedByLink : reconnectedByFields;
  const connection = await step("reconnected", async () => {
    await again(call, asked, way, before);
    const connection = await call("GET", `/v1/connections/${before.id}`);
    const same = connection.account?.id === before.account?.id;
    const holds = connection.status === "connected" && same;
    return { mark: holds ? "✓" : "✗", text: `${connection.status}, ${same ? "the same account" : "ANOTHER ACCOUNT"}, the same id`, value: holds && connection };
  });
  if (connection) await resolved(call, before.id, "resolve after the reconnect");
}

/** What needs the person a second time. */
async function secondTime(call, asked, way, connection, pause) {
  const wider = way.type === "oauth2" && (await widened(call, asked, way, connection));
  if (await seenRevoked(call, connection.id, pause)) await reconnected(call, asked, way, wider || connection);
}

const REVOKED = {
  confirmed: ["✓", "the app confirmed that the access is revoked"],
  unsupported: ["·", "the app has no way to revoke: remove the access there"],
  kept_shared: ["·", "not revoked: another connection lives on the same grant"],
  failed: ["✗", "the app did not confirm that the access is revoked"],
};

async function disconnected(call, id, { yes, keep }) {
  const sure = yes || (!keep && /^y(es)?$/i.test((await ask("\nDisconnect, and revoke the access at the app? [y/N] ")).trim()));
  if (!sure) return say(`Left as it is: ${id}`);
  return step("disconnect", async () => {
    const { revoked, retrying } = await call("DELETE", `/v1/connections/${id}`);
    const [mark, text] = REVOKED[revoked] ?? ["✗", String(revoked)];
    return { mark, text: text + (retrying ? "; it is tried again later" : "") };
  });
}

async function verify(asked) {
  const call = api(asked);
  const app = await call("GET", `/v1/apps/${encodeURIComponent(asked.app)}`).catch((error) => {
    throw error instanceof Problem ? new Failure(`${asked.app}: ${error.message}`) : error;
  });
  const way = chosen(app, asked.way);
  const consents = way.type === "oauth2";
  if (consents && !(await clientHolds(call, app, way))) return;
  const connect = consents ? connectedByLink : connectedByFields;
  const id = await step("connected", async () => {
    const made = await connect(call, asked, way);
    return { text: made, value: made };
  });
  if (!id) return;
  const connection = await shown(call, id);
  const first = await resolved(call, id, "resolve");
  const pause = () => sleep(asked.pause * 1000);
  await pause();
  await checked(call, id, "check");
  const renews = connection?.credential?.refreshable || ["client_credentials", "service_account"].includes(way.type);
  if (renews) {
    const second = await resolved(call, id, "first refresh", { force_refresh: true }, first);
    await pause();
    // That a refresh token was replaced does not show; that the one kept now works does.
    await resolved(call, id, "second refresh", { force_refresh: true }, second || first);
    await pause();
    await checked(call, id, "check after the refreshes");
  } else {
    line("·", "refresh", "there is nothing to refresh with");
  }
  if (connection && !asked.short) await secondTime(call, asked, way, connection, pause);
  await disconnected(call, id, asked);
}

await main(async () => {
  const asked = options();
  if (!asked) {
    say(HELP);
    return 0;
  }
  await verify(asked);
  say(`\n${told["✓"]} held, ${told["✗"]} failed, ${told["·"]} told nothing`);
  return told["✗"] === 0 ? 0 : 1;
});
