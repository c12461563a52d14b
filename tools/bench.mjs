// Owns `npm run bench`: how long callers wait when a token expires, without the time of the app itself, and how often
// the app is asked, on the real runtime of this machine. Prints a table. A hot resolve of the same run is the baseline.
// Fails if one expiry costs more than one request. Uses no network, and ends by itself.

import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { join } from "node:path";
import { restartUnderNode22, ensureNpm, Failure, main, quietWrangler, say } from "./bootstrap.mjs";
import { build } from "./build.mjs";

/** Linux keeps files here in memory. A database on disk would measure the disk, which D1 does not depend on. */
const MEMORY = "/dev/shm";

const CALLERS = 64;
const ROUNDS = 20;
const WARM_UP = 3;
/** Milliseconds that the app takes to answer a token request, at least. */
const ANSWER_TIME = 200;

const MODES = {
  "one Worker": [{ name: "connections" }],
  "two Workers over one database": [{ name: "connections" }, { name: "connections-too" }],
  "without the REFRESHER binding": [{ refresher: false }],
};

/** The database of a test installation is in the folder for temporary files. */
async function withMemoryFolder(body) {
  if (!existsSync(MEMORY)) return body();
  process.env.TMPDIR = mkdtempSync(join(MEMORY, "connections-bench-"));
  try {
    await body();
  } finally {
    rmSync(process.env.TMPDIR, { recursive: true, force: true });
  }
}

async function bench() {
  say(`\n${CALLERS} callers when a token expires, ${ROUNDS} rounds, an app that takes ${ANSWER_TIME} ms. Times are in milliseconds, without the app's time.\n`);
  say("| Workers | callers | p50 | p99 | max | ratio to hot p50 | requests per round | told to wait |");
  say("|---|---|---:|---:|---:|---:|---:|---:|");
  let most = 0;
  for (const [mode, configs] of Object.entries(MODES)) most = Math.max(most, await measure(mode, configs));
  if (most > 1) throw new Failure(`A resolveAtExpiry cost ${most} requests to the app. It must cost one.`);
}

/** Prints one row for each measurement. Returns the highest number of requests that one expiry cost. */
async function measure(mode, configs) {
  const { installation, proxy, id, close } = await setUp(configs);
  const workers = configs.map(({ name }) => installation.server.getWorker(name));
  try {
    await runRounds(WARM_UP, () => resolveConcurrently(installation, id, workers));
    const alone = await runRounds(CALLERS, () => resolveConcurrently(installation, id, workers.slice(0, 1), 1));
    const hot = await runRounds(ROUNDS, () => resolveConcurrently(installation, id, workers));
    await runRounds(WARM_UP, () => resolveAtExpiry(installation, proxy, id, workers));
    const end = await runRounds(ROUNDS, () => resolveAtExpiry(installation, proxy, id, workers));
    const baseline = quantile(hot, 0.5);
    say(formatRow(mode, "one hot resolve alone", alone, baseline));
    say(formatRow(mode, `${CALLERS} hot resolves at once`, hot, baseline));
    say(formatRow(mode, `${CALLERS} when the token expires`, end, baseline));
    return Math.max(...end.map(({ requests }) => requests));
  } finally {
    await close();
  }
}

/** The real OAuth server behind a proxy that delays token requests. */
async function setUp(configs) {
  // Imported late: these need the npm packages and Node 22.
  const [{ writeConfigFile, startInstallation }, { faults, startFaultProxy }, { connectAccount, defineApp, adaptOidcProvider }, { Person }] = await Promise.all(
    ["installation", "fault-proxy", "oauth-servers", "person"].map((name) => import(`../tests/support/${name}.mjs`)),
  );
  const installation = await startInstallation({ accessTokenTtl: 3600, configs: configs.map(writeConfigFile) });
  const oauthServer = adaptOidcProvider(installation);
  const proxy = await startFaultProxy(oauthServer.addresses.token_url);
  proxy.defaultFault = faults.slowToAnswer(ANSWER_TIME);
  await defineApp(installation, oauthServer, "slow", { auth: { refresh_url: proxy.url } });
  const id = await connectAccount(await Person.createSignedIn(installation), oauthServer, "slow", "ada");
  const close = () => Promise.all([installation.close(), proxy.close()]);
  return { installation, proxy, id, close };
}

async function runRounds(count, body) {
  const results = [];
  for (let round = 0; round < count; round += 1) results.push(await body());
  return results;
}

/**
 * All callers ask at once: `{ times, inProgress }`. Any answer other than a token or `refresh_in_progress` ends the
 * benchmark.
 */
async function resolveConcurrently(installation, id, workers, callers = CALLERS) {
  let inProgress = 0;
  const ask = async (_, index) => {
    const began = performance.now();
    const { status, body } = await installation.resolve(id, {}, installation.key, workers[index % workers.length]);
    if (body.code === "refresh_in_progress") inProgress += 1;
    else if (status !== 200) throw new Failure(`A resolve answered ${status} ${body.code}.`);
    return performance.now() - began;
  };
  const times = await Promise.all(Array.from({ length: callers }, ask));
  return { times, inProgress };
}

/** The same with an expired token, without the time that the app took in this round. */
async function resolveAtExpiry(installation, proxy, id, workers) {
  await installation.run("UPDATE connections SET expires_at = unixepoch() - 1, refreshed_at = NULL WHERE id = ?1", id);
  const before = proxy.times.length;
  const { times, inProgress } = await resolveConcurrently(installation, id, workers);
  const answered = proxy.times.slice(before);
  const app = answered.reduce((sum, time) => sum + time, 0);
  return { times: times.map((time) => time - app), inProgress, requests: answered.length };
}

function quantile(results, share) {
  const times = results.flatMap(({ times }) => times).sort((a, b) => a - b);
  return times[Math.min(times.length - 1, Math.floor(times.length * share))];
}

function formatRow(mode, what, results, baseline) {
  const [p50, p99, max] = [0.5, 0.99, 1].map((share) => quantile(results, share));
  const requests = results.every((one) => one.requests === undefined) ? "–" : formatRange(results.map((one) => one.requests));
  const inProgress = results.reduce((sum, one) => sum + one.late, 0);
  return `| ${[mode, what, ...[p50, p99, max].map(Math.round), (p50 / baseline).toFixed(2), requests, inProgress].join(" | ")} |`;
}

const formatRange = (numbers) => [...new Set([Math.min(...numbers), Math.max(...numbers)])].join(" to ");

await main(async () => {
  await ensureNpm();
  const code = await restartUnderNode22(import.meta.url);
  if (code !== undefined) return code;
  Object.assign(process.env, quietWrangler);
  await build();
  await withMemoryFolder(bench);
});
