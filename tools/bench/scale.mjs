// Owns `npm run bench -- --scale`: what calls cost in installations of different sizes, each as a ratio to the smallest
// one; and what a call costs beside the most expensive list and the most expensive queries of another workspace. The installations run side by side and
// are measured in turn, so that a busy machine disturbs all alike. Prints a table; with --write, writes it to
// docs/scale.md. Uses no network.

import { randomBytes } from "node:crypto";
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { Failure, repoPath, say } from "../bootstrap.mjs";
import { seed } from "../seed.mjs";
import { createClient, formatRequest, migrate, resolveRequest } from "./installation.mjs";
import { compileLoadGenerator, median, Meter } from "./measure.mjs";
import { startRuntime } from "./runtime.mjs";

export const SIZES = [1_000, 100_000, 1_000_000];
/** The most connections of a workspace: below its quota, because one is connected again and again. */
const IN_WORKSPACE = 90_000;
const DOCUMENT = repoPath("docs/scale.md");
const BEGIN = "<!-- begin: npm run bench -- --scale --write -->";
const END = "<!-- end -->";

const list = (name, query) => ({
  kind: "load",
  name,
  isList: true,
  prepare: ({ key, last }) => formatRequest("GET", `/v1/connections?limit=50${query.replace("LAST", last)}`, { headers: { Authorization: `Bearer ${key}` } }),
});

const CASES = [
  { kind: "load", name: "resolve, `strong`", prepare: (installation) => resolveRequest(installation, installation.connection) },
  list("list, first page", ""),
  list("list, last page", "&cursor=LAST"),
  list("list: `user`", "&user=person-0"),
  list("list: `app`", "&app=slack"),
  list("list: `workflow`", "&workflow=workflow%205"),
  list("list: `status=needs_reconnect`", "&status=needs_reconnect"),
  list("list: `q`, a page found", "&q=person"),
  list("list: `q`, none found", "&q=nobody-is-called-so"),
  list("list: `metadata`, none found", "&metadata.team=nobody"),
  list("list: `updated_since`, none found", "&updated_since=2999-01-01T00:00:00Z"),
  list("list: `attention=duplicate`, none found", "&attention=duplicate"),
  list("list: `attention=missing_scopes`, none found", "&attention=missing_scopes"),
  list("list: `attention=app_unreachable`, none found", "&attention=app_unreachable"),
  {
    kind: "load",
    name: "audit log: `actor`, none found",
    isList: true,
    prepare: ({ key }) => formatRequest("GET", "/v1/events?actor=user:nobody", { headers: { Authorization: `Bearer ${key}` } }),
  },
  {
    kind: "load",
    name: "Connections page",
    isList: true,
    prepare: ({ person }) => formatRequest("GET", "/", { headers: { Cookie: [...person.cookies].map((cookie) => cookie.join("=")).join("; ") } }),
  },
  {
    kind: "single",
    name: "an API key is connected",
    expect: [200, 201],
    prepare: ({ key }) => {
      const body = { app: "openai", check: false, credential: { type: "api_key", api_key: `sk-proj-${"a".repeat(100)}` } };
      return formatRequest("POST", "/v1/connections", { headers: { Authorization: `Bearer ${key}` }, body });
    },
  },
  { kind: "load", name: "`GET /v1/status`", prepare: ({ adminKey }) => formatRequest("GET", "/v1/status", { headers: { Authorization: `Bearer ${adminKey}` } }) },
  { kind: "scheduled", name: "scheduled run, nothing due", prepare: () => undefined },
].map((one) => ({ worker: "connections", ...one }));

const REPLAY = { kind: "load", name: "queries of a list", worker: "bare-replay" };
const NEIGHBOUR = { kind: "load", name: "resolve of another workspace", worker: "connections", prepare: ({ neighbour }) => resolveRequest(neighbour, neighbour.connection) };

/** Measures and prints; `folder` is a new one, `show` shows progress. */
export async function benchScale({ sizes, folder, seconds, rounds, write, show }) {
  const loadGenerator = await compileLoadGenerator(folder);
  const measured = [];
  for (const size of sizes) {
    show(`preparing ${number(size)} connections`);
    measured.push({ size, ...(await prepare(size, join(folder, String(size)), { loadGenerator, seconds })) });
  }
  for (const one of measured) Object.assign(one, await countRows(one.meter, show));
  const times = await measureTimes(measured, rounds, show);
  const worst = { call: findWorst(measured.at(-1), times), queries: await findWorstQueries(measured.at(-1), show) };
  const beside = await measureNeighbour(measured, { worst, rounds, seconds, show });
  for (const { installation } of measured) await installation.runtime.close();
  show();
  const text = format(measured, { times, beside, worst });
  say(`\n${text}\n`);
  if (write) writeTable(text);
}

// ---- preparing

async function prepare(size, folder, { loadGenerator, seconds }) {
  const [{ createKeyRing }, { Person }] = await Promise.all(["installation", "person"].map((name) => import(`../../tests/support/${name}.mjs`)));
  for (const part of ["store", "own", "other"]) mkdirSync(join(folder, part), { recursive: true });
  const secrets = { ENCRYPTION_KEYS: createKeyRing(), ADMIN_KEY: randomBytes(32).toString("base64url") };
  const first = await start(join(folder, "store"), secrets);
  await migrate(await first.runtime.miniflare.getD1Database("DB", "connections"));
  const { key } = (await first.requestOk("POST", "/v1/workspaces", { name: "Large" }, secrets.ADMIN_KEY)).key;
  await first.runtime.close();
  const workspaces = Math.ceil(size / IN_WORKSPACE);
  await seed(findDatabase(join(folder, "store")), { connections: size, workspaces, keyRing: secrets.ENCRYPTION_KEYS });

  const installation = Object.assign(await start(join(folder, "store"), secrets), { key, adminKey: secrets.ADMIN_KEY });
  const [{ id }] = (await installation.requestOk("GET", "/v1/connections?limit=1&app=slack&status=connected")).data;
  installation.connection = id;
  installation.last = await findLastCursor(installation, Math.floor(size / workspaces));
  installation.person = await Person.createSignedIn(installation, { id: "person-0", name: "Person 0" }, "admin");
  installation.neighbour = await makeNeighbour(installation);
  const meters = ["own", "other"].map((part) => new Meter(installation, { folder: join(folder, part), loadGenerator, seconds }));
  return { installation, meter: meters[0], otherMeter: meters[1] };
}

async function start(folder, variables) {
  return createClient(await startRuntime(["connections", "counting", "bare-replay"], { folder, variables }));
}

function findDatabase(folder) {
  const files = readdirSync(folder, { recursive: true }).filter((name) => /D1DatabaseObject\/[0-9a-f]{64}\.sqlite$/.test(name));
  if (files.length !== 1) throw new Failure(`${folder} has ${files.length} databases, not one.`);
  return join(folder, files[0]);
}

/** The cursor of the last page. */
async function findLastCursor({ runtime, key, requestOk }, size) {
  const { id } = await requestOk("GET", "/v1/workspace");
  const db = await runtime.miniflare.getD1Database("DB", "connections");
  const select = "SELECT created_at, id FROM connections WHERE workspace_id = ?1 ORDER BY created_at DESC, id DESC LIMIT 1 OFFSET ?2";
  const row = await db.prepare(select).bind(id, size - 51).first();
  if (!row || !key) throw new Failure("There is no last page.");
  return `${row.created_at}.${row.id}`;
}

/** Another workspace, with one connection. */
async function makeNeighbour({ requestOk, adminKey }) {
  const { key } = (await requestOk("POST", "/v1/workspaces", { name: "Small" }, adminKey)).key;
  const body = { app: "openai", check: false, credential: { type: "api_key", api_key: "sk-proj-of-the-neighbour" } };
  return { key, connection: (await requestOk("POST", "/v1/connections", body, key)).id };
}

// ---- measuring

async function countRows(meter, show) {
  const [rows, queries] = [new Map(), new Map()];
  for (const one of CASES) {
    show(`counting: ${one.name}`);
    const counted = await meter.count(one);
    rows.set(one, counted.all.rowsRead);
    queries.set(one, counted.queries);
  }
  return { rows, queries };
}

/** Sends the queries of a case to the Worker that repeats them. Returns the request that makes it do so. */
async function prepareReplay({ installation, queries }, one) {
  await installation.request("/", { method: "PUT", body: JSON.stringify(queries.get(one)) }, "bare-replay");
  return formatRequest("GET", "/", {});
}

/** The list whose batches take longest, on average, without the Worker that sends them: a neighbour waits for one of them. */
async function findWorstQueries(measured, show) {
  const rates = new Map();
  for (const one of CASES.filter(({ isList }) => isList)) {
    show(`queries of ${one.name}`);
    const request = await prepareReplay(measured, one);
    const { requests, seconds } = await measured.meter.send(REPLAY, request, { connections: 1 });
    rates.set(one, requests / seconds);
  }
  return [...rates.keys()].sort((a, b) => rates.get(a) - rates.get(b))[0];
}

/** The p50 of each case in each installation, in microseconds, by round. The first round warms up. */
async function measureTimes(measured, rounds, show) {
  const times = new Map(CASES.map((one) => [one, measured.map(() => [])]));
  for (let round = 0; round <= rounds; round += 1) {
    for (const one of CASES) {
      show(`round ${round} of ${rounds}: ${one.name}`);
      for (const [at, { meter }] of measured.entries()) {
        const time = await measureOnce(meter, one);
        if (round > 0) times.get(one)[at].push(time);
      }
    }
  }
  return times;
}

async function measureOnce(meter, one) {
  if (one.kind === "scheduled") return meter.measureScheduled(one);
  if (one.kind === "single") return median(await meter.measureSingle(one, 4));
  return (await meter.send(one, await meter.prepareOnce(one), { connections: 1 })).p50;
}

/** The list that takes longest in the largest installation. */
function findWorst({ size }, times) {
  const last = (one) => median(times.get(one).at(-1));
  const worst = CASES.filter(({ isList }) => isList).sort((a, b) => last(b) - last(a))[0];
  if (!worst) throw new Failure(`No list was measured with ${size} connections.`);
  return worst;
}

/** The p50 of a resolve alone, and beside a caller of another workspace: of the worst list, and of the worst queries alone. */
async function measureNeighbour(measured, { worst, rounds, seconds, show }) {
  const results = measured.map(() => ({ alone: [], call: [], queries: [] }));
  for (let round = 0; round < rounds; round += 1) {
    show(`round ${round + 1} of ${rounds}: a neighbour`);
    for (const [at, one] of measured.entries()) {
      const { meter, otherMeter } = one;
      results[at].alone.push(await measureOnce(meter, NEIGHBOUR));
      otherMeter.seconds = seconds + 1;
      for (const [kind, sent] of [["call", worst.call], ["queries", REPLAY]]) {
        const request = kind === "call" ? await otherMeter.prepareOnce(sent) : await prepareReplay(one, worst.queries);
        const loop = otherMeter.send(sent, request, { connections: 1 });
        await sleep(500);
        results[at][kind].push(await measureOnce(meter, NEIGHBOUR));
        await loop;
      }
    }
  }
  return results;
}

// ---- the table

const number = (value) => value.toLocaleString("en");
const ratio = (value, to) => `${(value / to).toFixed(1)} ×`;
const milliseconds = (microseconds) => `${(microseconds / 1000).toFixed(1)} ms`;

function format(measured, { times, beside, worst }) {
  const [smallest, ...larger] = measured;
  const row = (cells) => `| ${cells.join(" | ")} |`;
  const head = ["call", `rows read, ${number(smallest.size)}`, ...larger.map(({ size }) => number(size)), `p50, ${number(smallest.size)}`, ...larger.map(({ size }) => number(size))];
  // A ratio compares times of the same round.
  const timeRatio = (lists, at) => `${median(lists[at].map((time, round) => time / lists[0][round])).toFixed(1)} ×`;
  const rows = CASES.map((one) => [
    one.name,
    number(smallest.rows.get(one)),
    ...larger.map(({ rows }) => ratio(rows.get(one), smallest.rows.get(one))),
    milliseconds(median(times.get(one)[0])),
    ...larger.map((_, at) => timeRatio(times.get(one), at + 1)),
  ]);
  const neighbours = measured.map(({ size }, at) => {
    const { alone, call, queries } = beside[at];
    const times = (disturbed) => `${median(disturbed.map((time, round) => time / alone[round])).toFixed(1)} ×`;
    return row([number(size), milliseconds(median(alone)), times(call), times(queries)]);
  });
  return [
    row(head),
    `|---${"|---:".repeat(head.length - 1)}|`,
    ...rows.map(row),
    "",
    "A `strong` resolve beside one caller of another workspace who loops",
    "",
    `- the list that takes longest: ${worst.call.name}. The Worker makes both answers with one thread here;`,
    `- the queries that take longest, without the Worker that sends them: ${worst.queries.name}.`,
    "",
    row(["connections", "p50 alone", "beside the list", "beside the queries"]),
    "|---:|---:|---:|---:|",
    ...neighbours,
  ].join("\n");
}

function writeTable(text) {
  const document = readFileSync(DOCUMENT, "utf8");
  const [begin, end] = [document.indexOf(BEGIN), document.indexOf(END)];
  if (begin < 0 || end < begin) throw new Failure(`${DOCUMENT} has no lines "${BEGIN}" and "${END}".`);
  writeFileSync(DOCUMENT, `${document.slice(0, begin)}${BEGIN}\n\n${text}\n\n${document.slice(end)}`);
  say("docs/scale.md is written.");
}
