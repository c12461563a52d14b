// Owns `npm run kill`: kills the runtime during refreshes for a number of rounds, and reports what was lost and why.
// `-- --rounds 200 --seed 7 --server strict|grace|both --grace 300`. The seed decides the moments of the kills. How far
// a refresh is at such a moment depends on the machine. Uses no network, and leaves no process running.

import { parseArgs } from "node:util";
import { restartUnderNode22, ensureNpm, Failure, main, quietWrangler, say } from "./bootstrap.mjs";
import { build } from "./build.mjs";

const OPTIONS = {
  rounds: { type: "string", default: "50" },
  seed: { type: "string", default: String(Date.now() % 100_000) },
  server: { type: "string", default: "both" },
  grace: { type: "string", default: "300" },
};

function readOptions() {
  try {
    const { rounds, seed, server, grace } = parseArgs({ options: OPTIONS }).values;
    for (const [name, value] of Object.entries({ rounds, seed, grace })) if (!/^\d+$/.test(value)) throw new Error(`--${name} needs a number`);
    if (!["strict", "grace", "both"].includes(server)) throw new Error("--server takes strict, grace or both");
    const servers = { strict: 0, [`grace ${grace} s`]: Number(grace) };
    const asked = Object.entries(servers).filter(([name]) => server === "both" || name.startsWith(server));
    return { rounds: Number(rounds), seed: Number(seed), asked };
  } catch (error) {
    throw new Failure(error.message);
  }
}

async function runKills({ rounds, seed, asked }) {
  Object.assign(process.env, quietWrangler);
  // Imported late: the packages are installed by ensureNpm.
  const { PHASES, startKillTest } = await import("../tests/support/kill-rounds.mjs");
  say(`Seed ${seed}, ${rounds} rounds.`);
  const all = [];
  // Printed when the process exits, so that Ctrl-C shows the results so far.
  process.once("exit", () => printResults(all, PHASES));
  for (const [server, grace] of asked) await runAtServer(startKillTest, all, { server, grace, rounds, seed });
  return all.some(({ violations, error }) => violations.length > 0 || error) ? 1 : 0;
}

/** The rounds at one server, then one without a kill in which everything must work. */
async function runAtServer(startKillTest, all, { server, grace, rounds, seed }) {
  const killTest = await startKillTest({ grace, seed });
  const results = Object.assign(killTest.results, { server, start: Date.now(), end: undefined });
  all.push(results);
  try {
    for (let round = 1; round <= rounds; round += 1) {
      await killTest.runRound();
      showProgress(`${server}: ${round} of ${rounds} rounds, ${results.kills} kills, ${sum(results.losses)} lost, ${results.violations.length} violations`);
    }
    await killTest.runRound({ kills: 0 });
  } catch (error) {
    results.error = error;
  } finally {
    results.end = Date.now();
    showProgress("");
    await killTest.close();
  }
}

function printResults(all, phases) {
  if (all.length === 0) return;
  showProgress("");
  const row = (name, value) => say(`| ${name} | ${all.map(value).join(" | ")} |`);
  row("", ({ server }) => server);
  say(`|---|${all.map(() => "---:|").join("")}`);
  row("rounds", ({ rounds }) => rounds);
  row("kills", ({ kills }) => kills);
  for (const phase of phases) row(`kills during: ${phase}`, ({ hits }) => hits[phase]);
  for (const phase of phases) row(`connections killed during: ${phase}`, ({ phases: found }) => found[phase]);
  row("answers lost and recovered", ({ recovered }) => sum(recovered));
  for (const phase of phases) if (all.some(({ losses }) => losses[phase])) row(`lost permanently, killed during: ${phase}`, ({ losses }) => losses[phase]);
  row("lost permanently", ({ losses }) => sum(losses));
  row("wrongly marked needs_reconnect", ({ violations }) => violations.filter((what) => what.includes("wrongly marked")).length);
  row("violations", ({ violations }) => violations.length);
  row("seconds per round", ({ start, end = Date.now(), rounds }) => ((end - start) / 1000 / rounds).toFixed(1));
  for (const { server, violations, error } of all) {
    for (const violation of violations.slice(0, 20)) say(`${server}: ${violation}`);
    if (error) say(`${server}: ended early: ${error.stack}`);
  }
}

/** One line on a terminal. Nothing elsewhere, because it would be many lines. */
function showProgress(text) {
  if (process.stdout.isTTY) process.stdout.write(`\r\x1b[K${text}`);
}

const sum = (counts) => Object.values(counts).reduce((all, one) => all + one, 0);

await main(async () => {
  await ensureNpm();
  const code = await restartUnderNode22(import.meta.url);
  if (code !== undefined) return code;
  // runtime-process.mjs ends the runtime with this process.
  for (const event of ["SIGINT", "SIGTERM", "SIGHUP", "disconnect"]) process.on(event, () => process.exit(130));
  const asked = readOptions();
  await build();
  return runKills(asked);
});
