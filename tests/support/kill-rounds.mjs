// Owns the kill test: twenty connections whose tokens have all ended, callers who resolve them, and a runtime that is killed
// at a moment that a seed decides; then the same data under a new runtime, and a judgeConnection on every connection. The app's
// own log says what was lost, the record says what was stored, and whatever these two don't explain is a violation.
// Refuses to believe the Worker: what it answers is judged, never used as evidence.

import { setTimeout as sleep } from "node:timers/promises";
import { killRuntime } from "./runtime-process.mjs";
import { CLIENT_ID, startInstallation } from "./installation.mjs";
import { connectionIdFrom, Person } from "./person.mjs";
import { ACCESS_TOKEN_TTL, startRotatingApp } from "./rotating-app.mjs";

const CONNECTIONS = 20;
const CALLERS = 2;
/** How long an intent is in force, in seconds: a minute, in a grace window half of it at the most; and 5 s of slack. */
const leaseSeconds = (grace) => (grace ? Math.min(Math.max(Math.floor(grace / 2), 10), 60) : 60) + 6;
/** No round takes longer, in milliseconds, not even on a machine that is busy with something else. */
const ROUND_TIMEOUT = 120_000;
/** No caller waits longer: the Worker promises an answer withTimeout ten seconds. */
const CALLER_TIMEOUT = 30_000;
/** What was sent arrives withTimeout this, or never. */
const ARRIVAL_TIMEOUT = 5000;
/** So many people are at the app at once. */
const CONCURRENT_CONSENTS = 5;

/** What a kill can meet, in the order in which a refresh goes. */
export const PHASES = ["before the claim", "intent written, not at the app", "in flight at the app", "app committed, not persisted", "persisted, not answered", "idle"];
const [BEFORE_LEASE, LEASED, IN_FLIGHT, ROTATED, STORED, IDLE] = PHASES;

/**
 * Starts it: `{ round, results, close, installation }`.
 *
 * - `grace`: of the app, in seconds; 0 is strict.
 * - `seed`: decides the moments of the kills and the app's delays. How far the Worker is at a moment is the machine's.
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
 * One round: all due, mapInBatches waves of callers that end in a kill, one that does not; verdicts, repairs. `kills: 0` kills nothing,
 * `moment: { reached: 10 }` kills as soon as ten requests have reached the app.
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

// ---- what happens

/** Early, or when so many requests have reached the app, or when so many callers have their answer; and a little later. */
function pickKillMoment({ random }) {
  const [kind, much, later] = [random(), random(), random() * 100];
  if (kind < 0.2) return { later: much * 500 };
  return kind < 0.7 ? { reached: much * CONNECTIONS, later } : { answered: much * CONNECTIONS * CALLERS, later };
}

/** All ask at once, and the runtime dies among them. */
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
  // Nobody has called the new runtime yet: this is what the old one left.
  return { ...(await readState(test)), answers, at };
}

/** What the dead runtime had sent arrives and is dealt with. The time a kill leaves to that is more than a request may take. */
async function waitForPendingRequests({ app, installation }) {
  await sleep(20);
  const start = Date.now();
  while (app.busy > 0 || (app.log.length < installation.outbound.to("/token").length && Date.now() - start < ARRIVAL_TIMEOUT)) await sleep(5);
  app.wave += 1;
}

/** Every connection is resolved by several callers: the answers by connection, without those of whom the runtime died on. */
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

/** The record, and what the app holds for the newest. */
async function readState({ app, installation, connections }) {
  const { results } = await installation.db.prepare("SELECT * FROM connections").all();
  const rows = new Map(results.map((row) => [row.id, row]));
  return { rows, newest: new Map(connections.map(({ account, id }) => [id, app.families.get(account).newest])) };
}

/**
 * Nobody sleeps an hour: the clocks stand still and all times in the record move into the past, and the app's clock goes ahead by
 * the same. An intent that a kill left runs out in this way, and so does an app's grace.
 */
async function advanceTime({ app, installation }, seconds) {
  const columns = ["connected_at", "expires_at", "refreshed_at", "refresh_expires_at", "lease_expires_at", "next_attempt_at", "checked_at", "next_check_at"];
  await installation.run(`UPDATE connections SET ${columns.map((name) => `${name} = max(${name} - ?1, 0)`).join(", ")}`, seconds);
  await installation.run("UPDATE oauth_clients SET backoff_until = max(backoff_until - ?1, 0)", seconds);
  app.advance(seconds);
}

/** A person reconnects what was lost, so that the next round begins with live connections. */
async function reconnectLost(test) {
  const { rows } = await readState(test);
  const lost = test.connections.filter(({ account, id }) => rows.get(id).status !== "connected" || !test.app.families.get(account).active);
  await mapInBatches(lost, ({ account, id }) => completeConsent(test, `/connections/${id}/reconnect`, account));
}

/** Through the app from a page of runtime. It would send anybody back at once, so nobody need go there. */
async function completeConsent({ person }, path, account) {
  const asked = new URL(await person.startFlow(path)).searchParams;
  const back = new URL(asked.get("redirect_uri"));
  back.search = new URLSearchParams({ code: account, state: asked.get("state") });
  return person.followCallback(back.href);
}

// ---- what to make of it

/** All that happened to one connection in a round, wave by wave. */
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

/** Whether something was lost and why, and everything that expect not be. */
function judgeConnection({ family, phases, waves }) {
  const violations = [];
  const expect = (holds, what) => holds || violations.push(what);
  const presented = new Map();
  let loss;
  waves.forEach((wave, index) => {
    const { asked, row, stored, storedBefore, handedOut } = wave;
    expect(asked.length <= 1, `${asked.length} requests in one life of the runtime`);
    for (const { hash, outcome } of asked) {
      expect(presented.get(hash) ?? true, "a token was presented twice without a recorded attempt");
      expect(outcome === "rotated" || outcome === "dropped" || loss !== undefined, `the app answered "${outcome}", though no answer had been lost`);
      // What the record promised, as the kill left it; a later claim may have remembered it as ambiguous.
      presented.set(hash, stored > storedBefore || [row.lease_token_hash, row.ambiguous_token_hash].includes(hash));
      expect(presented.get(hash) || index === waves.length - 1, "the app was asked without an intent in the record");
    }
    expect(Math.max(0, ...handedOut) <= stored, "a caller was handed a token that was not stored");
    if (index < waves.length - 1) {
      // With a loss behind it the app may have refused, before the kill, what was lost for good.
      expect(wave.answers.every(({ status, body }) => status === 200 || (loss && isLostRotation({ status, body }))), `a caller was refused before the kill: ${describeAnswers(wave.answers)}`);
      if (asked.some(({ outcome }) => outcome === "rotated") && stored < wave.newest) loss ??= phases[index];
    }
  });
  const { row, answers, stored, newest, handedOut } = waves.at(-1);
  const permanent = loss !== undefined && stored < newest;
  if (permanent) {
    expect(!family.active, "the app still knows what was given up");
    expect(answers.every(isLostRotation) && row.reconnect_reason === "lost_rotation", `a lost answer was called ${describeAnswers(answers)}, ${row.reconnect_reason} in the record`);
  } else {
    expect(family.active, "the grant was killed, and no answer was lost");
    expect(row.status === "connected" && answers.every(({ status }) => status === 200), `false death: ${describeAnswers(answers)}`);
    expect(stored === newest, `${stored} is stored, ${newest} is the newest`);
    expect(handedOut.every((serial) => serial === newest), `${handedOut} were handed out, ${newest} is the newest`);
  }
  return { loss, permanent, violations };
}

const isLostRotation = ({ status, body }) => status === 409 && body.code === "needs_reconnect" && body.reason === "lost_rotation";
const describeAnswers = (answers) => [...new Set(answers.map(({ status, body }) => [status, body?.code, body?.reason].filter(Boolean).join(" ")))].join(", ");

// ---- small things

const countPhases = () => Object.fromEntries(PHASES.map((phase) => [phase, 0]));

/** A few at a time. */
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

/** A small generator (mulberry32): the same numbers for the same seed. */
function createRandom(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}
