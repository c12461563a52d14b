// Owns the table of what `npm run bench` measures. A new case is a new line here. Never measures.
//
// Every case has a `name`, the Worker (`worker`) that is called, and the status (`expect`) that its answers must have.
//
// `counted` says that a case is counted although its Worker is not the usual one.
//
// - `load`: the same request again and again, by many callers and by one. `prepare(installation)` runs once and returns the
//   request. `beside` names the case of the same round that it is compared with.
// - `single`: one call at a time. `prepare(installation)` runs before each call and returns its request.
// - `burst`: all callers at once, after `prepare(installation)`. `workers` are the Workers that they call in turn.
// - `scheduled`: a scheduled run, after `prepare(installation)`.

import { defineMinimalApp } from "../../tests/support/minimal-app.mjs";
import { formatRequest, importTokens, resolveRequest } from "./installation.mjs";

/** Connections that are due in a scheduled run: as many as one run takes by default. */
const DUE = 40;

const BARE_CONSTANT = { kind: "load", name: "bare: a constant", worker: "bare-constant", prepare: () => formatRequest("GET", "/") };

const BARE_D1 = {
  kind: "load",
  name: "bare: one D1 batch, two look-ups",
  worker: "bare-d1",
  beside: BARE_CONSTANT,
  prepare: (installation) => formatRequest("POST", "/", { body: { key: installation.keyId, connection: installation.listed[0] } }),
};

const BARE_KV = {
  kind: "load",
  name: "bare: one KV read",
  worker: "bare-kv",
  beside: BARE_CONSTANT,
  async prepare(installation) {
    const { connection } = await cachedConnection(installation);
    return formatRequest("POST", "/", { body: { entry: `connection/${connection}` } });
  },
};

const BARE_FETCH = {
  kind: "load",
  name: "bare: one request to an app",
  worker: "bare-fetch",
  beside: BARE_CONSTANT,
  prepare: () => formatRequest("GET", "/"),
};

const STRONG = {
  kind: "load",
  name: "`strong`",
  worker: "connections",
  beside: BARE_D1,
  prepare: (installation) => resolveRequest(installation, installation.listed[0]),
};

/** The statement of `strong` from a Worker that does nothing else: how much of its time is the database's. */
const BARE_STRONG = {
  kind: "load",
  name: "bare: the statement of `strong`",
  worker: "bare-replay",
  beside: BARE_D1,
  async prepare(installation) {
    const { key, listed } = installation;
    const init = { method: "POST", headers: { Authorization: `Bearer ${key}`, "Content-Type": "application/json" }, body: "{}" };
    // The first call brings what an isolate asks for once.
    for (const path of [`/v1/connections/${listed[0]}/resolve`, "/bench/counts", `/v1/connections/${listed[0]}/resolve`]) {
      await installation.request(path, path.startsWith("/bench") ? {} : init, "counting");
    }
    const { queries } = JSON.parse((await installation.request("/bench/counts", {}, "counting")).text);
    await installation.request("/", { method: "PUT", body: JSON.stringify(queries.slice(0, 1)) }, "bare-replay");
    return formatRequest("GET", "/");
  },
};

export const CASES = [
  BARE_CONSTANT,
  BARE_D1,
  BARE_STRONG,
  BARE_KV,
  BARE_FETCH,
  STRONG,
  {
    kind: "load",
    name: "`strong`, an app of the catalogue",
    worker: "connections",
    beside: BARE_D1,
    async prepare(installation) {
      const credential = { type: "api_key", api_key: `sk-proj-${"a".repeat(100)}` };
      const { id } = await installation.requestOk("POST", "/v1/connections", { app: "openai", check: false, credential });
      return resolveRequest(installation, id);
    },
  },
  {
    kind: "load",
    name: "`strong`, with policy and expectations",
    worker: "connections",
    beside: BARE_D1,
    async prepare(installation) {
      const id = installation.listed[1];
      const { account } = await installation.requestOk("PATCH", `/v1/connections/${id}`, { allowed_workflows: ["hourly", "nightly"] });
      const expect = { app: "small", account: account.id, connection: id };
      return resolveRequest(installation, id, { expect, scopes: ["read"], min_ttl: 60 });
    },
  },
  {
    kind: "load",
    name: "`strong`, a webhook is registered and nothing waits for it",
    worker: "connections",
    beside: STRONG,
    prepare: (installation) => resolveBesideWebhook(installation),
  },
  { ...STRONG, name: "`strong`, without the rate limit bindings", worker: "connections-without-limits" },
  {
    kind: "load",
    name: "`edge`, from memory",
    worker: "connections",
    beside: BARE_KV,
    prepare: async (installation) => (await cachedConnection(installation)).request,
  },
  {
    kind: "load",
    name: "`edge`, from KV",
    worker: "connections-forgetting",
    counted: true,
    beside: BARE_KV,
    prepare: async (installation) => (await cachedConnection(installation, { "X-Bench-Forget": "1" })).request,
  },
  {
    kind: "load",
    name: "`edge`, from memory, without the rate limit bindings",
    worker: "connections-without-limits",
    beside: BARE_KV,
    prepare: async (installation) => (await cachedConnection(installation)).request,
  },
  {
    kind: "load",
    name: "proxy, a GET of a small answer",
    worker: "connections",
    beside: BARE_FETCH,
    prepare: (installation) => proxyRequest(installation, "GET"),
  },
  {
    kind: "load",
    name: "proxy, a POST of 10 KB",
    worker: "connections",
    beside: BARE_FETCH,
    prepare: (installation) => proxyRequest(installation, "POST", { text: "x".repeat(10_000) }),
  },
  {
    kind: "load",
    name: "list of 50 connections",
    worker: "connections",
    beside: BARE_D1,
    prepare: (installation) => formatRequest("GET", "/v1/connections?limit=50", { headers: { Authorization: `Bearer ${installation.key}` } }),
  },
  {
    kind: "load",
    name: "Connections page",
    worker: "connections",
    beside: BARE_D1,
    prepare: (installation) => formatRequest("GET", "/", { headers: { Cookie: cookieOf(installation.person) } }),
  },
  {
    kind: "single",
    name: "`strong`, token near its end",
    worker: "connections",
    async prepare(installation) {
      // A connection for each call, because one isolate asks for an early refresh of a connection every 30 seconds at most.
      const id = await importTokens(installation, `near ${(installation.near = (installation.near ?? 0) + 1)}`);
      await installation.run("UPDATE connections SET expires_at = unixepoch() + 100, connected_at = unixepoch() - 3500 WHERE id = ?1", id);
      return resolveRequest(installation, id);
    },
  },
  {
    kind: "single",
    name: "callback of a consent",
    worker: "connections",
    expect: 303,
    async prepare(installation) {
      const asked = new URL(await installation.person.startFlow("/oauth/start/small")).searchParams;
      const account = `consent ${(installation.consents = (installation.consents ?? 0) + 1)}`;
      const { pathname } = new URL(asked.get("redirect_uri"));
      const query = new URLSearchParams({ code: account, state: asked.get("state") });
      return formatRequest("GET", `${pathname}?${query}`, { headers: { Cookie: cookieOf(installation.person) } });
    },
  },
  { kind: "scheduled", name: "scheduled run, nothing due", worker: "connections", prepare: (installation) => setDue(installation, 0) },
  { kind: "scheduled", name: `scheduled run, ${DUE} connections due`, worker: "connections", prepare: (installation) => setDue(installation, DUE) },
  { kind: "burst", name: "one Worker", callers: 1, workers: ["connections"], prepare: expire },
  { kind: "burst", name: "one Worker", callers: 64, workers: ["connections"], prepare: expire },
  { kind: "burst", name: "one Worker", callers: 256, workers: ["connections"], prepare: expire },
  { kind: "burst", name: "two Workers over one database", callers: 256, workers: ["connections", "connections-too"], prepare: expire },
  { kind: "burst", name: "without the `REFRESHER` binding", callers: 256, workers: ["connections-without-object"], prepare: expire },
];

/** The cases of calls for two builds: each is compared with the same case of the other build. */
export const casesAgainst = (cases) =>
  cases
    .filter(({ kind, worker }) => kind === "load" && worker === "connections")
    .flatMap((one) => {
      const other = { ...one, name: `${one.name}, other build`, worker: "other", beside: undefined };
      return [other, { ...one, beside: other }];
    });

/** All Workers that the cases need, the one that everything is prepared with first. */
export const workersOf = (cases) => [...new Set(["connections", "counting", ...cases.flatMap(({ worker, workers = [worker] }) => workers)])];

const cookieOf = (person) => [...person.cookies].map(([name, value]) => `${name}=${value}`).join("; ");

/** A resolve in a workspace of its own, which has a webhook: the other cases have none. Nothing happened since it was made. */
async function resolveBesideWebhook(installation) {
  const { key } = await installation.requestOk("POST", "/v1/workspaces", { name: "With a webhook" }, installation.adminKey);
  const there = { ...installation, key: key.key };
  there.requestOk = (method, path, body) => installation.requestOk(method, path, body, there.key);
  await defineMinimalApp(there, installation.app);
  const connection = await importTokens(there, "beside a webhook");
  await there.requestOk("POST", "/v1/webhooks", { url: "https://hooks.example.com/in", types: ["connection.needs_reconnect", "app.event"] });
  return resolveRequest(there, connection);
}

/** A request to the app of `bare-fetch`, through the proxy. */
async function proxyRequest(installation, method, body) {
  const connection = (installation.passing ??= await importTokens(installation, "passing", { app: "passing" }));
  const headers = { Authorization: `Bearer ${installation.key}`, "X-Connections-Workflow": "nightly", "X-Connections-Step": "import" };
  return formatRequest(method, `/v1/connections/${connection}/proxy/me`, { headers, body });
}

/** A connection whose entry is in KV: `{ connection, request }`. */
async function cachedConnection(installation, headers) {
  const connection = installation.listed[2];
  const body = { workflow: "nightly", step: "import", consistency: "edge" };
  for (let tries = 0; tries < 100; tries += 1) {
    const { source } = await installation.requestOk("POST", `/v1/connections/${connection}/resolve`, body);
    if (source === "cache") return { connection, request: resolveRequest(installation, connection, body, headers) };
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error("KV has no entry of a connection that was resolved with `edge`.");
}

/** Lets the access token of a connection end: its request, as `{ connection, request }`. */
async function expire(installation) {
  const connection = (installation.expiring ??= await importTokens(installation, "expiring", { app: "slow" }));
  await installation.run("UPDATE connections SET expires_at = unixepoch() - 1, refreshed_at = NULL WHERE id = ?1", connection);
  return resolveRequest(installation, connection);
}

/** Makes the first connections of the list due for their check, and no others. */
async function setDue(installation, count) {
  await installation.run("UPDATE connections SET next_check_at = unixepoch() + 86400 WHERE next_check_at IS NOT NULL");
  const due = JSON.stringify(installation.listed.slice(0, count));
  await installation.run("UPDATE connections SET next_check_at = 1, checked_at = 1 WHERE id IN (SELECT value FROM json_each(?1))", due);
}
