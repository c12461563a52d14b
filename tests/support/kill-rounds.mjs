// Owns the kill test: twenty connections with expired tokens, callers who resolve them, and a runtime that is killed at
// a moment chosen by a seed. Then a new runtime starts over the same data, and every connection is judged. The app's
// log says what was lost, and the database says what was stored. What these two do not explain is a violation. Answers
// of the Worker are judged and never used as evidence.

import { setTimeout as sleep } from "node:timers/promises";
import { killRuntime } from "./runtime-process.mjs";
import { CLIENT_ID, startInstallation } from "./installation.mjs";
import { connectionIdFrom, Person } from "./person.mjs";
import { ACCESS_TOKEN_TTL, startRotatingApp } from "./rotating-app.mjs";

const CONNECTIONS = 20;
const CALLERS = 2;
/** How long a lease is valid, in seconds: 60 s, or half of a shorter grace period, plus 6 s. */
const leaseSeconds = (grace) => (grace ? Math.min(Math.max(Math.floor(grace / 2), 10), 60) : 60) + 6;
/** No round takes longer, in milliseconds, even on a busy machine. */
const ROUND_TIMEOUT = 120_000;
/** No caller waits longer. The Worker promises an answer within ten seconds. */
const CALLER_TIMEOUT = 30_000;
/** A request that was sent arrives within this time, or never. */
const ARRIVAL_TIMEOUT = 5000;
/** How many people are at the app at once. */
const CONCURRENT_CONSENTS = 5;

/** What a refresh was doing when the runtime was killed, in the order of the steps. */
export const PHASES = ["no lease yet", "lease written, request not sent", "request at the app", "token rotated, not stored", "token stored, not answered", "idle"];
const [BEFORE_LEASE, LEASED, IN_FLIGHT, ROTATED, STORED, IDLE] = PHASES;

/**
 * Starts the test: `{ runRound, results, close, installation }`.
 *
 * - `grace`: grace period of the app, in seconds. 0 is strict.
 * - `seed`: decides the moments of the kills and the app's delays. How far the Worker is at such a moment depends on
 *   the machine.
 */
export async function startKillTest({ grace = 0, seed = 1 }) {
  const random = createRandom(seed);
  const app = await startRotatingApp({ id: grace ? "graceful" : "strict", grace, random: createRandom(seed + 1) });
  const installation = await startInstallation({});
  const results = { rounds: 0, kills: 0, hits: countPhases(), phases: countPhases(), recovered: countPhases(), losses: countPhases(), violations: [] };
  const test = { app, installation, random, results, lease: leaseSeconds(grace) };
  await installation.requestOk("POST", "/v1/apps", app.definition);
  await installation.requestOk("PUT", `/v1/apps/${app.definition.id}/client`, { client_id: CLIENT_ID, client_secret: "a-secret" });
  test.person = await Person.createSignedIn(installation);
  const accounts = Array.from({ length: CONNECTIONS }, (_, index) => `account${index}`);
  test.connections = await mapInBatches(accounts, async (account) => ({
    account,
    id: connectionIdFrom(await completeConsent(test, `/oauth/start/${app.definition.id}`, account)),
  }));
  return {
    installation,
    results,
    runRound: (options) => withTimeout(ROUND_TIMEOUT, `Round ${results.rounds + 1}`, () => runRound(test, options)),
    async close() {
      await installation.close();
      app.close();
    },
  };
}

/**
 * Runs one round: all tokens expired, some waves of callers that end in a kill, a last wave without a kill. Then each
 * connection is judged, and lost ones are reconnected. `kills: 0` kills nothing. `moment: { reached: 10 }` kills as
 * soon as ten requests have reached the app.
 */
async function runRound(test, { kills = test.random() < 0.25 ? 2 : 1, moment } = {}) {
  const { app, installation, results } = test;
  app.log.length = installation.answers.length = installation.outbound.requests.length = 0;
  installation.server.clearLogs();
  await advanceTime(test, ACCESS_TOKEN_TTL + test.lease);
  const first = app.wave;
  const waves = [await readState(test)];
  for (let kill = 0; kill < kills; kill += 1) {
    waves.push(await runKilledWave(test, moment ?? pickKillMoment(test)));
    await advanceTime(test, test.lease);
  }
  const answers = await resolveAll(test, { killed: false });
  waves.push({ ...(await readState(test)), answers });
  app.wave += 1;

  results.rounds += 1;
  results.kills += kills;
  const met = waves.slice(1, -1).map(() => new Set());
  for (const connection of test.connections) {
    const history = readHistory(test, connection, waves, first);
    history.phases.forEach((phase, wave) => {
      met[wave].add(phase);
      results.phases[phase] += 1;
    });
    const { loss, permanent, violations } = judgeConnection(history);
    if (loss) results[permanent ? "losses" : "recovered"][loss] += 1;
    results.violations.push(...violations.map((what) => `round ${results.rounds}, ${connection.account}: ${what}`));
  }
  for (const phases of met) for (const phase of phases) results.hits[phase] += 1;
  await reconnectLost(test);
}

// ---- running a round

/**
 * Early, or after a number of requests has reached the app, or after a number of callers got an answer. Then up to 100
 * ms later.
 */
function pickKillMoment({ random }) {
  const [kind, much, later] = [random(), random(), random() * 100];
  if (kind < 0.2) return { later: much * 500 };
  return kind < 0.7 ? { reached: much * CONNECTIONS, later } : { answered: much * CONNECTIONS * CALLERS, later };
}

/** All callers ask at once. The runtime is killed while they wait. */
async function runKilledWave(test, { reached = 0, answered = 0, later = 0 }) {
  const { app, installation } = test;
  const wave = { answered: 0, killed: false };
  const isTime = () => app.log.filter((entry) => entry.wave === app.wave).length >= reached && wave.answered >= answered;
  const asked = resolveAll(test, wave);
  const everybody = asked.then(() => true);
  while (!isTime() && !(await Promise.race([everybody, sleep(1)])));
  await sleep(later);
  wave.killed = true;
  const at = Date.now();
  await killRuntime();
  app.dropClients();
  const answers = await asked;
  await waitForPendingRequests(test);
  ({ DB: installation.db, CACHE: installation.kv } = await installation.worker.getEnv());
  // Nobody has called the new runtime yet, so this is what the killed runtime left.
  return { ...(await readState(test)), answers, at };
}

/**
 * Waits until the app has handled what the killed runtime had sent. The time between kills is longer than a request may
 * take.
 */
async function waitForPendingRequests({ app, installation }) {
  await sleep(20);
  const start = Date.now();
  while (app.busy > 0 || (app.log.length < installation.outbound.to("/token").length && Date.now() - start < ARRIVAL_TIMEOUT)) await sleep(5);
  app.wave += 1;
}

/**
 * Several callers resolve every connection. Returns the answers by connection, without those that the kill cut off.
 */
async function resolveAll({ connections, installation }, wave) {
  const one = async (id) => {
    try {
      const answer = await withTimeout(CALLER_TIMEOUT, `An answer for ${id}`, () => installation.resolve(id));
      wave.answered += 1;
      return answer;
    } catch (error) {
      return wave.killed ? undefined : { status: 0, body: { code: String(error) } };
    }
  };
  const all = connections.map(async ({ id }) => [id, await Promise.all(Array.from({ length: CALLERS }, () => one(id)))]);
  return new Map((await Promise.all(all)).map(([id, answers]) => [id, answers.filter(Boolean)]));
}

/** The database rows, and the serial number of the newest token at the app. */
async function readState({ app, installation, connections }) {
  const { results } = await installation.db.prepare("SELECT * FROM connections").all();
  const rows = new Map(results.map((row) => [row.id, row]));
  return { rows, newest: new Map(connections.map(({ account, id }) => [id, app.families.get(account).newest])) };
}

/**
 * Lets time pass without waiting: all times in the database move into the past, and the app's clock moves forward. So a
 * lease that a kill left ends, and so does the app's grace period.
 */
async function advanceTime({ app, installation }, seconds) {
  const columns = ["connected_at", "expires_at", "refreshed_at", "refresh_expires_at", "lease_expires_at", "next_attempt_at", "checked_at", "next_check_at"];
  await installation.run(`UPDATE connections SET ${columns.map((name) => `${name} = max(${name} - ?1, 0)`).join(", ")}`, seconds);
  await installation.run("UPDATE oauth_clients SET backoff_until = max(backoff_until - ?1, 0)", seconds);
  app.advance(seconds);
}

/** A person reconnects what was lost, so that the next round begins with working connections. */
async function reconnectLost(test) {
  const { rows } = await readState(test);
  const lost = test.connections.filter(({ account, id }) => rows.get(id).status !== "connected" || !test.app.families.get(account).active);
  await mapInBatches(lost, ({ account, id }) => completeConsent(test, `/connections/${id}/reconnect`, account));
}

/** Completes a consent. The app would redirect back at once, so its page is not opened. */
async function completeConsent({ person }, path, account) {
  const asked = new URL(await person.startFlow(path)).searchParams;
  const back = new URL(asked.get("redirect_uri"));
  back.search = new URLSearchParams({ code: account, state: asked.get("state") });
  return person.followCallback(back.href);
}

// ---- judging a round

/** Everything that happened to one connection in a round, wave by wave. */
function readHistory({ app }, { id, account }, [before, ...waves], first) {
  const start = before.rows.get(id);
  const history = { account, family: app.families.get(account), serial: before.newest.get(id), phases: [], waves: [] };
  let stored = 0;
  waves.forEach(({ rows, newest, answers, at }, index) => {
    const row = rows.get(id);
    const wave = {
      row,
      asked: app.log.filter((entry) => entry.account === account && entry.wave === first + index),
      answers: answers.get(id),
      storedBefore: history.serial + stored,
      stored: history.serial + row.version - start.version,
      newest: newest.get(id),
      handedOut: answers.get(id).map(({ body }) => app.serialOf(body?.credential?.access_token)).filter((serial) => serial !== undefined),
    };
    stored = row.version - start.version;
    history.waves.push(wave);
    if (at !== undefined) history.phases.push(findPhase(wave, at));
  });
  return history;
}

function findPhase({ row, asked, answers, stored, storedBefore }, killedAt) {
  if (stored > storedBefore) return answers.length === CALLERS ? IDLE : STORED;
  if (answers.length === CALLERS) return IDLE;
  if (asked.some(({ outcome, at }) => outcome !== "dropped" && at <= killedAt)) return ROTATED;
  if (asked.length > 0) return IN_FLIGHT;
  return row.lease_attempt_id ? LEASED : BEFORE_LEASE;
}

/** Whether a token was lost and why, and every rule that was violated. */
function judgeConnection({ family, phases, waves }) {
  const violations = [];
  const expect = (holds, what) => holds || violations.push(what);
  const presented = new Map();
  let loss;
  waves.forEach((wave, index) => {
    const { asked, row, stored, storedBefore, handedOut } = wave;
    expect(asked.length <= 1, `${asked.length} requests to the app from one runtime`);
    for (const { hash, outcome } of asked) {
      expect(presented.get(hash) ?? true, "a token was sent twice without a recorded attempt");
      expect(outcome === "rotated" || outcome === "dropped" || loss !== undefined, `the app answered "${outcome}", though no answer had been lost`);
      // What the database had recorded at the kill. A later attempt may have recorded the token as ambiguous.
      presented.set(hash, stored > storedBefore || [row.lease_token_hash, row.ambiguous_token_hash].includes(hash));
      expect(presented.get(hash) || index === waves.length - 1, "the app got a request without a lease in the database");
    }
    expect(Math.max(0, ...handedOut) <= stored, "a caller got a token that was not stored");
    if (index < waves.length - 1) {
      // After a loss, the app may have refused the lost token before the next kill.
      expect(wave.answers.every(({ status, body }) => status === 200 || (loss && isLostRotation({ status, body }))), `a caller was refused before the kill: ${describeAnswers(wave.answers)}`);
      if (asked.some(({ outcome }) => outcome === "rotated") && stored < wave.newest) loss ??= phases[index];
    }
  });
  const { row, answers, stored, newest, handedOut } = waves.at(-1);
  const permanent = loss !== undefined && stored < newest;
  if (permanent) {
    expect(!family.active, "the app still accepts a token that was given up");
    expect(answers.every(isLostRotation) && row.reconnect_reason === "lost_rotation", `a lost answer was reported as ${describeAnswers(answers)}, and ${row.reconnect_reason} in the database`);
  } else {
    expect(family.active, "the grant was revoked, and no answer was lost");
    expect(row.status === "connected" && answers.every(({ status }) => status === 200), `wrongly marked: ${describeAnswers(answers)}`);
    expect(stored === newest, `${stored} is stored, ${newest} is the newest`);
    expect(handedOut.every((serial) => serial === newest), `${handedOut} were returned, ${newest} is the newest`);
  }
  return { loss, permanent, violations };
}

const isLostRotation = ({ status, body }) => status === 409 && body.code === "needs_reconnect" && body.reason === "lost_rotation";
const describeAnswers = (answers) => [...new Set(answers.map(({ status, body }) => [status, body?.code, body?.reason].filter(Boolean).join(" ")))].join(", ");

// ---- helpers

const countPhases = () => Object.fromEntries(PHASES.map((phase) => [phase, 0]));

/** Maps in small batches. */
async function mapInBatches(all, body) {
  const made = [];
  for (let index = 0; index < all.length; index += CONCURRENT_CONSENTS) made.push(...(await Promise.all(all.slice(index, index + CONCURRENT_CONSENTS).map(body))));
  return made;
}

async function withTimeout(milliseconds, what, body) {
  const late = new AbortController();
  const tooLate = sleep(milliseconds, undefined, { signal: late.signal }).then(() => {
    throw new Error(`${what} took longer than ${milliseconds / 1000} s.`);
  });
  try {
    return await Promise.race([body(), tooLate]);
  } finally {
    late.abort();
    tooLate.catch(() => {});
  }
}

/** A small random number generator (mulberry32): the same numbers for the same seed. */
function createRandom(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}
