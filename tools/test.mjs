// Owns `npm test`: everything that must hold, in the order in which a mistake shows soonest. Stops at the first step
// that fails, and its last line counts the tests. `npm test -- native`, `-- simulation`, `-- simulators`, `-- workerd` or `-- browser` run
// a part.
// Refuses to skip: a part without tests fails.

import { existsSync, readdirSync } from "node:fs";
import { delimiter, join } from "node:path";
import { at, capture, ensureDjango, ensureNpm, ensureRust, Failure, main, node22, quietWrangler, run, say, wasmTests } from "./bootstrap.mjs";
import { build } from "./build.mjs";

const PARTS = {
  native: [
    ["format", () => run("cargo", ["fmt", "--check"], { hint: "cargo fmt puts it right." })],
    ["lints", () => run("cargo", ["clippy", "--locked", "--all-targets", "--test", "simulation", "--", "-D", "warnings"])],
    ["lints for Wasm", () => run("cargo", ["clippy", "--locked", "--lib", "--target", "wasm32-unknown-unknown", "--", "-D", "warnings"])],
    // With them the catalogue's, tests/catalogue: a text that is out of date fails, UPDATE_GOLDEN=1 writes it anew.
    ["native tests", () => cargoTests([], { UPDATE_GOLDEN: undefined })],
    ["tests of the tools", () => nodeTests("tests/tools")],
    ["vectors in Wasm", async () => cargoTests(["--no-default-features", "--target", "wasm32-unknown-unknown", "--test", "vectors"], await wasmTests())],
  ],
  simulation: [["simulation", () => cargoTests(["--profile", "simulation", "--test", "simulation", "--", "--nocapture", "--test-threads=1"])]],
  simulators: [["simulated apps", () => nodeTests("tests/apps")]],
  workerd: [
    ["build", build],
    ["a second OAuth server", ensureDjango],
    ["tests on workerd", () => nodeTests("tests/workerd")],
  ],
  browser: [
    ["build", build],
    ["tests in Chromium", async () => nodeTests("tests/browser", { CHROMIUM: await chromium() })],
  ],
};

const total = { passed: 0, failed: 0 };
const summary = [];

async function test(parts) {
  ensureRust();
  for (const [name, step] of stepsOf(parts)) {
    if (!(await took(name, step))) break;
  }
  say(`\n${summary.join("\n")}\n\n${total.passed} passed, ${total.failed} failed`);
  return total.failed === 0 ? 0 : 1;
}

function stepsOf(parts) {
  const steps = parts.flatMap((part) => PARTS[part]);
  // The build stands in two parts and is needed once.
  return steps.filter(([name], index) => steps.findIndex(([other]) => other === name) === index);
}

/** Runs one step and notes how it went; a failure that counted no test counts as one. */
async function took(name, step) {
  say(`\n── ${name}`);
  const start = Date.now();
  const before = total.failed;
  const error = await step().then(() => undefined, (reason) => reason);
  if (error) console.error(error instanceof Failure ? error.message : error);
  if (error && total.failed === before) total.failed += 1;
  const held = total.failed === before;
  summary.push(`${held ? "ok    " : "FAILED"}  ${name} (${((Date.now() - start) / 1000).toFixed(1)} s)`);
  return held;
}

async function cargoTests(options, env) {
  const before = total.passed;
  const { code, output } = await shown("cargo", ["test", "--locked", "--no-fail-fast", ...options], env);
  count(output, /^test result: .*? (\d+) passed; (\d+) failed/gm);
  if (code !== 0) throw new Failure("cargo test failed.");
  // The runner of Wasm calls it a success when it finds no test.
  if (total.passed === before) throw new Failure("cargo test ran no test.");
}

async function nodeTests(folder, env) {
  const files = existsSync(at(folder)) ? readdirSync(at(folder)).filter((name) => name.endsWith(".test.mjs")) : [];
  if (files.length === 0) throw new Failure(`There are no tests in ${folder}.`);
  const options = ["--no-warnings", "--test", "--test-reporter=spec", "--test-concurrency=2", "--test-timeout=180000", "--test-force-exit"];
  const paths = files.sort().map((name) => join(folder, name));
  const { code, output } = await shown(node22, [...options, ...paths], { ...quietWrangler, ...env });
  count(output, /^ℹ pass (\d+)\nℹ fail (\d+)/gm);
  if (code !== 0) throw new Failure(`Tests in ${folder} failed. One file alone: node_modules/.bin/node --test ${paths[0]}`);
}

const shown = (command, args, env) => capture(command, args, { env, onOutput: (text) => process.stdout.write(text) });

function count(output, pattern) {
  for (const [, passed, failed] of output.matchAll(pattern)) {
    total.passed += Number(passed);
    total.failed += Number(failed);
  }
}

// ---- a browser

/** The path of a Chromium; on Debian as root it is installed when there is none. */
async function chromium() {
  if (process.env.CHROMIUM) return process.env.CHROMIUM;
  const found = inPath("chromium", "chromium-browser", "google-chrome");
  if (found) return found;
  if (process.getuid?.() !== 0 || !inPath("apt-get")) {
    throw new Failure("The browser tests need Chromium. Install it (Debian: sudo apt-get install chromium), or name one: CHROMIUM=/path/to/chrome npm test");
  }
  say("Installing Chromium from Debian (a minute or two)…");
  await aptGet("update");
  await aptGet("install", "-y", "--no-install-recommends", "chromium");
  return inPath("chromium");
}

async function aptGet(...args) {
  const { code, output } = await capture("apt-get", ["-q", ...args], { env: { DEBIAN_FRONTEND: "noninteractive" } });
  if (code !== 0) throw new Failure(`apt-get ${args.join(" ")} failed:\n${output}`);
}

const inPath = (...names) => names.flatMap((name) => process.env.PATH.split(delimiter).map((folder) => join(folder, name))).find(existsSync);

await main(async () => {
  const asked = process.argv.slice(2);
  const unknown = asked.find((part) => !PARTS[part]);
  if (unknown) throw new Failure(`There is no part "${unknown}". Parts: ${Object.keys(PARTS).join(", ")}.`);
  await ensureNpm();
  return test(asked.length > 0 ? asked : Object.keys(PARTS));
});
