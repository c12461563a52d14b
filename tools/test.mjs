// Owns `npm test`: everything that must hold. Two lanes go side by side, because a machine has two cores and most of a
// compilation uses one: cargo's lints and tests for this machine, and the Worker with what needs no Worker. Then come the
// tests that need it, alone, because they watch the time. Stops at the first step that fails, and its last line counts the
// tests. `npm test -- native`, `-- simulation`, `-- simulators`, `-- workerd` or `-- browser` run a part; `-- --full`
// (`npm run test:full`) adds what takes long: more seeds of the simulation, more kills.
// Refuses to skip: a part without tests fails.

import { existsSync, readdirSync } from "node:fs";
import { delimiter, join } from "node:path";
import { repoPath, capture, ensureDjango, ensureNpm, ensureRust, Failure, main, node22, print, redirectOutput, quietWrangler, run, say, ensureWasmTestRunner } from "./bootstrap.mjs";
import { build } from "./build.mjs";
import { createStepOutput } from "./step-output.mjs";

const DENY_WARNINGS = ["--", "-D", "warnings"];
const WASM = ["--target", "wasm32-unknown-unknown"];
/** Seeds of the simulation, played without optimisation: to compile for speed takes longer than to play so few slowly. */
const SEEDS = 2_000;
/** Those after them with `--full`, compiled for speed. */
const MANY_SEEDS = 150_000;
const KILLS = ["--rounds", "40", "--seed", "7"];

/** Each step: a name, the parts it belongs to, and what it does. The steps of a lane run one after the other. */
const CARGO_STEPS = [
  ["format", ["native"], () => run("cargo", ["fmt", "--check"], { hint: "cargo fmt puts it right." })],
  ["lints", ["native"], () => run("cargo", ["clippy", "--locked", "--all-targets", ...DENY_WARNINGS])],
  // It is no test of `cargo test`, so `--all-targets` leaves it out, also beside `--test simulation`.
  ["lints of the simulation", ["native"], () => run("cargo", ["clippy", "--locked", "--test", "simulation", ...DENY_WARNINGS])],
  ["lints for Wasm", ["native"], () => run("cargo", ["clippy", "--locked", "--lib", ...WASM, ...DENY_WARNINGS])],
  // With them the catalogue's, tests/catalogue: a text that is out of date fails, UPDATE_GOLDEN=1 writes it anew.
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
  // Three at once on two cores: much of their time they wait for tokens and time limits to end.
  ["tests on workerd", ["workerd"], () => runNodeTests("tests/workerd", {}, 3)],
  ["tests in Chromium", ["browser"], async () => runNodeTests("tests/browser", { CHROMIUM: await findChromium() })],
];

const FULL_STEPS = [
  ["many seeds", ["simulation"], () => run(process.execPath, [repoPath("tools/simulate.mjs"), "--from", String(SEEDS), "--seeds", String(MANY_SEEDS)])],
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

/** Resolves with the first step that fails: what runs beside it is not waited for, and ends with this process. */
let fail;
const failure = new Promise((resolve) => (fail = resolve));

async function runSteps(steps) {
  for (const [name, , step] of steps) {
    if (total.failed > 0) return;
    if (!(await runStep(name, step))) fail();
  }
}

/** Runs one step and notes how it went; a failure that counted no test counts as one. */
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

/** Every link in a comment leads somewhere, in the private parts, too. */
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
  // The runner of Wasm calls it a success when it finds no test.
  if (ran === 0) throw new Failure("cargo test ran no test.");
}

async function runNodeTests(folder, env, atOnce = 2) {
  const files = existsSync(repoPath(folder)) ? readdirSync(repoPath(folder)).filter((name) => name.endsWith(".test.mjs")) : [];
  if (files.length === 0) throw new Failure(`There are no tests in ${folder}.`);
  const options = ["--no-warnings", "--test", "--test-reporter=spec", `--test-concurrency=${atOnce}`, "--test-timeout=180000", "--test-force-exit"];
  const paths = files.sort().map((name) => join(folder, name));
  const { code, output } = await captureShown(node22, [...options, ...paths], { ...quietWrangler, ...env });
  countTests(output, /^ℹ pass (\d+)\nℹ fail (\d+)/gm);
  if (code !== 0) throw new Failure(`Tests in ${folder} failed. One file alone: node_modules/.bin/node --test ${paths[0]}`);
}

const captureShown = (command, args, env) => capture(command, args, { env, onOutput: print });

/** Adds what a run says of itself to the total; answers how many tests ran. */
function countTests(output, pattern) {
  const before = total.passed + total.failed;
  for (const [, passed, failed] of output.matchAll(pattern)) {
    total.passed += Number(passed);
    total.failed += Number(failed);
  }
  return total.passed + total.failed - before;
}

// ---- a browser

/** The path of a Chromium; on Debian as root it is installed when there is none. */
async function findChromium() {
  if (process.env.CHROMIUM) return process.env.CHROMIUM;
  const found = findInPath("chromium", "chromium-browser", "google-chrome");
  if (found) return found;
  if (process.getuid?.() !== 0 || !findInPath("apt-get")) {
    throw new Failure("The browser tests need Chromium. Install it (Debian: sudo apt-get install chromium), or name one: CHROMIUM=/path/to/chrome npm test");
  }
  say("Installing Chromium from Debian (a minute or two)…");
  await aptGet("update");
  await aptGet("install", "-y", "--no-install-recommends", "chromium");
  return findInPath("chromium");
}

async function aptGet(...args) {
  const { code, output } = await capture("apt-get", ["-q", ...args], { env: { DEBIAN_FRONTEND: "noninteractive" } });
  if (code !== 0) throw new Failure(`apt-get ${args.join(" ")} failed:\n${output}`);
}

const findInPath = (...names) => names.flatMap((name) => process.env.PATH.split(delimiter).map((folder) => join(folder, name))).find(existsSync);

await main(async () => {
  const full = process.argv.includes("--full");
  const asked = process.argv.slice(2).filter((word) => word !== "--full");
  const unknown = asked.find((part) => !PARTS.includes(part));
  if (unknown) throw new Failure(`There is no part "${unknown}". Parts: ${PARTS.join(", ")}.`);
  return runParts(asked.length > 0 ? asked : PARTS, full);
});
