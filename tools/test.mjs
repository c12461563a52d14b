// Owns `npm test`. Two lanes run in parallel, because a machine has two cores and most of a compilation uses one:
// cargo's lints and tests, and the build of the Worker with the tests that do not need it. Then the tests that need the
// Worker run alone, because they depend on time. Stops at the first step that fails. The last line counts the tests.
// `npm test -- native`, `-- simulation`, `-- simulators`, `-- workerd` or `-- browser` run a part; `-- --full` (`npm
// run test:full`) adds what takes long: more seeds of the simulation, more kills, every state of the pages. Never skips: a
// part without tests fails.

import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { repoPath, capture, ensureDjango, ensureNpm, ensureRust, Failure, main, node22, print, redirectOutput, quietWrangler, run, say, ensureWasmTestRunner } from "./bootstrap.mjs";
import { build } from "./build.mjs";
import { findChromium } from "./chromium.mjs";
import { createStepOutput } from "./step-output.mjs";

const DENY_WARNINGS = ["--", "-D", "warnings"];
const WASM = ["--target", "wasm32-unknown-unknown"];
/** Seeds of the simulation, run without optimisation: compiling with optimisation takes longer than running so few. */
const SEEDS = 2_000;
/** Further seeds with `--full`, compiled with optimisation. */
const MANY_SEEDS = 150_000;
const KILLS = ["--rounds", "40", "--seed", "7"];

/** Each step: a name, the parts it belongs to, and its function. The steps of a lane run one after the other. */
const CARGO_STEPS = [
  ["format", ["native"], () => run("cargo", ["fmt", "--check"], { hint: "Run: cargo fmt" })],
  ["lints", ["native"], () => run("cargo", ["clippy", "--locked", "--all-targets", ...DENY_WARNINGS])],
  // The simulation is not part of `cargo test`, so `--all-targets` leaves it out, also together with `--test
  // simulation`.
  ["lints of the simulation", ["native"], () => run("cargo", ["clippy", "--locked", "--test", "simulation", ...DENY_WARNINGS])],
  ["lints for Wasm", ["native"], () => run("cargo", ["clippy", "--locked", "--lib", ...WASM, ...DENY_WARNINGS])],
  // These include tests/catalogue. A golden file that is out of date fails; UPDATE_GOLDEN=1 writes it.
  ["native tests", ["native"], () => runCargoTests([], { UPDATE_GOLDEN: undefined })],
  ["documentation", ["native"], buildDocumentation],
  ["simulation", ["simulation"], runSimulation],
  ["vectors in Wasm", ["native"], async () => runCargoTests(["--no-default-features", ...WASM, "--test", "vectors"], await ensureWasmTestRunner())],
];

const WORKER_STEPS = [
  ["npm packages", ["native", "simulators", "workerd", "browser"], ensureNpm],
  ["build", ["workerd", "browser"], () => build()],
  ["tests of the tools", ["native"], () => runNodeTests("tests/tools")],
  ["simulated apps", ["simulators"], () => runNodeTests("tests/apps")],
  ["a second OAuth server", ["workerd"], ensureDjango],
  ["a browser", ["browser"], findChromium],
];

const WORKER_TEST_STEPS = [
  // Three files at once on two cores, because the tests often wait for tokens and time limits.
  ["tests on workerd", ["workerd"], () => runNodeTests("tests/workerd", {}, { atOnce: 3 })],
  ["tests in Chromium", ["browser"], async () => runNodeTests("tests/browser", { CHROMIUM: await findChromium() }, { minutes: 10 })],
];

const FULL_STEPS = [
  ["many seeds", ["simulation"], () => run(process.execPath, [repoPath("tools/simulate.mjs"), "--from", String(SEEDS), "--seeds", String(MANY_SEEDS)])],
  ["every state of the pages", ["browser"], () => runPageStates()],
  ["many kills", ["workerd"], () => run(process.execPath, [repoPath("tools/kill.mjs"), ...KILLS])],
];

const PARTS = ["native", "simulation", "simulators", "workerd", "browser"];

const total = { passed: 0, failed: 0 };
const summary = [];
const stepOutput = createStepOutput((text) => process.stdout.write(text));

async function runParts(parts, full) {
  ensureRust();
  const lane = (steps) => runSteps(steps.filter(([, of]) => of.some((part) => parts.includes(part))));
  await Promise.race([Promise.all([lane(CARGO_STEPS), lane(WORKER_STEPS)]), failure]);
  await lane(WORKER_TEST_STEPS);
  if (full) await lane(FULL_STEPS);
  summary.push(...stepOutput.end().map((name) => `stopped ${name}`));
  say(`\n${summary.join("\n")}\n\n${total.passed} passed, ${total.failed} failed`);
  return total.failed === 0 ? 0 : 1;
}

/** Resolves when a step fails. The steps that run in parallel are not waited for, and end with this process. */
let fail;
const failure = new Promise((resolve) => (fail = resolve));

async function runSteps(steps) {
  for (const [name, , step] of steps) {
    if (total.failed > 0) return;
    if (!(await runStep(name, step))) fail();
  }
}

/** Runs one step and records its result. A failure without a failed test counts as one failed test. */
async function runStep(name, step) {
  const start = Date.now();
  const page = stepOutput.open(name);
  const error = await redirectOutput(page.write, () => Promise.resolve().then(step).then(() => undefined, (reason) => reason));
  if (error) page.write(`${error instanceof Failure ? error.message : error.stack}\n`);
  page.close();
  if (error && total.failed === 0) total.failed = 1;
  summary.push(`${error ? "FAILED" : "ok    "}  ${name} (${((Date.now() - start) / 1000).toFixed(1)} s)`);
  return !error;
}

/** Checks every link in the documentation comments, also in private parts. */
function buildDocumentation() {
  const env = { RUSTDOCFLAGS: `${process.env.RUSTDOCFLAGS ?? ""} -D warnings`.trim() };
  return run("cargo", ["doc", "--locked", "--no-deps", "--lib", "--document-private-items"], { env });
}

function runSimulation() {
  return runCargoTests(["--test", "simulation", "--", "--nocapture", "--test-threads=1"], { SIMULATE_SEEDS: String(SEEDS) });
}

async function runCargoTests(options, env) {
  const { code, output } = await captureShown("cargo", ["test", "--locked", "--no-fail-fast", ...options], env);
  const ran = countTests(output, /^test result: .*? (\d+) passed; (\d+) failed/gm);
  if (code !== 0) throw new Failure("cargo test failed.");
  // The Wasm test runner reports success if it finds no test.
  if (ran === 0) throw new Failure("cargo test ran no test.");
}

async function runNodeTests(folder, env, { atOnce = 2, minutes } = {}) {
  const files = existsSync(repoPath(folder)) ? readdirSync(repoPath(folder)).filter((name) => name.endsWith(".test.mjs")) : [];
  if (files.length === 0) throw new Failure(`${folder} has no tests.`);
  await runNodeFiles(files.sort().map((name) => join(folder, name)), env, { atOnce, minutes });
}

async function runNodeFiles(paths, env, { atOnce = 1, minutes = 6 } = {}) {
  const options = ["--no-warnings", "--test", "--test-reporter=spec", `--test-concurrency=${atOnce}`, `--test-timeout=${minutes * 60_000}`, "--test-force-exit"];
  const { code, output } = await captureShown(node22, [...options, ...paths], { ...quietWrangler, ...env });
  countTests(output, /^ℹ pass (\d+)\nℹ fail (\d+)/gm);
  if (code !== 0) throw new Failure(`Tests failed. To run one file: node_modules/.bin/node --test ${paths[0]}`);
}

/** `npm test` looks at a sample of them. */
const runPageStates = async () => runNodeFiles(["tests/browser/states.test.mjs"], { CHROMIUM: await findChromium(), PAGE_STATES: "all" }, { minutes: 40 });

const captureShown = (command, args, env) => capture(command, args, { env, onOutput: print });

/** Adds the counts of a run to the total. Returns how many tests ran. */
function countTests(output, pattern) {
  const before = total.passed + total.failed;
  for (const [, passed, failed] of output.matchAll(pattern)) {
    total.passed += Number(passed);
    total.failed += Number(failed);
  }
  return total.passed + total.failed - before;
}

await main(async () => {
  const full = process.argv.includes("--full");
  const asked = process.argv.slice(2).filter((word) => word !== "--full");
  const unknown = asked.find((part) => !PARTS.includes(part));
  if (unknown) throw new Failure(`Unknown part "${unknown}". Parts: ${PARTS.join(", ")}.`);
  return runParts(asked.length > 0 ? asked : PARTS, full);
});
