// Owns what a machine needs before anything can be built, run or tested: npm packages, the Wasm target, command line
// tools that cargo compiles, and Python packages for one server of the tests. Starts on a plain Node 20, so it imports
// only Node's own modules. Does not install rustup, Node or Python: the error says how to install them.

import { AsyncLocalStorage } from "node:async_hooks";
import { spawn, spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, lstatSync, mkdirSync, readFileSync, readlinkSync, rmSync, writeFileSync } from "node:fs";
import { homedir } from "node:os";
import { delimiter, dirname, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";

export const root = dirname(dirname(fileURLToPath(import.meta.url)));
export const repoPath = (...parts) => join(root, ...parts);

/** wrangler needs Node 22. This one comes from npm, independent of the system. */
export const node22 = repoPath("node_modules/.bin/node");

const WORKER_BUILD = "0.8.7";
const CARGO_DENY = "0.20.2";
const WASM_TARGET = "wasm32-unknown-unknown";

/** An error for a person: `main` prints its message without a stack. */
export class Failure extends Error {}

/** Where the output of a step goes if several steps run in parallel. Without a step it goes to the terminal. */
const outputTarget = new AsyncLocalStorage();

/** Runs `body` and passes everything that it and its commands print to `write`. */
export const redirectOutput = (write, body) => outputTarget.run(write, body);

export const print = (text) => (outputTarget.getStore() ?? ((piece) => process.stdout.write(piece)))(text);
export const say = (text = "") => print(`${text}\n`);

/** Runs a tool and ends the process. Prints the message of a Failure, and any other error with its stack. */
export async function main(body) {
  try {
    process.exit((await body()) ?? 0);
  } catch (error) {
    console.error(error instanceof Failure ? `\n${error.message}` : error);
    process.exit(1);
  }
}

// ---- running commands

/** Runs a command and shows its output. A non-zero exit code is a Failure. */
export async function run(command, args, { env, cwd = root, hint } = {}) {
  const code = outputTarget.getStore()
    ? (await capture(command, args, { env, cwd, onOutput: print })).code
    : await waitForExit(spawnChild(command, args, { cwd, env, stdio: ["ignore", "inherit", "inherit"] }));
  if (code !== 0) throw new Failure(`This failed (exit ${code}): ${formatCommand(command, args)}${hint ? `\n${hint}` : ""}`);
}

/** Runs a command and returns its output: `{ code, output }`. A non-zero exit code does not throw. */
export async function capture(command, args, { env, cwd = root, onOutput = () => {} } = {}) {
  const running = spawnChild(command, args, { cwd, env, stdio: ["ignore", "pipe", "pipe"] });
  let output = "";
  for (const stream of [running.stdout, running.stderr]) {
    stream.setEncoding("utf8").on("data", (chunk) => {
      output += chunk;
      onOutput(chunk);
    });
  }
  return { code: await waitForExit(running), output };
}

/** Starts a child process that finds this project's commands and ends with this process. */
export function spawnChild(command, args, { env, ...options }) {
  const started = spawn(command, args, { cwd: root, env: addToPath(env), ...options });
  const end = () => started.kill();
  process.once("exit", end);
  started.once("close", () => process.off("exit", end));
  return started;
}

/** The command that starts wrangler on Node 22, without its wrapper process. */
export const wrangler = (...args) => [node22, ["--no-warnings", repoPath("node_modules/wrangler/wrangler-dist/cli.js"), ...args]];

/** Keeps wrangler from using the network for look-ups and from asking questions. */
export const quietWrangler = { CLOUDFLARE_CF_FETCH_ENABLED: "false", WRANGLER_SEND_METRICS: "false", CI: "true" };

function waitForExit(running) {
  return new Promise((resolve, reject) => {
    running.on("error", (error) => reject(new Failure(`Cannot run ${running.spawnfile}: ${error.message}`)));
    running.on("close", (code, signal) => resolve(code ?? signal));
  });
}

const formatCommand = (command, args) => [command, ...args].join(" ").replaceAll(`${root}/`, "");

// node_modules/.bin goes first, so that scripts with `#!/usr/bin/env node` (wasm-opt) run on the Node of this project.
const addToPath = (env) => ({ ...process.env, ...env, PATH: [repoPath("node_modules/.bin"), process.env.PATH].join(delimiter) });

const isAvailable = (command) => spawnSync(command, ["--version"], { cwd: root, stdio: "ignore" }).status === 0;

/**
 * If this process is older than Node 22, runs the script again under Node 22 and returns its exit code. Otherwise
 * undefined.
 */
export async function restartUnderNode22(scriptUrl) {
  if (Number(process.versions.node.split(".")[0]) >= 22) return undefined;
  const args = [fileURLToPath(scriptUrl), ...process.argv.slice(2)];
  // The channel closes when this process ends, and so tells the child.
  const again = spawn(node22, args, { cwd: root, stdio: ["inherit", "inherit", "inherit", "ipc"] });
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.on(signal, () => again.kill(signal));
  const code = await waitForExit(again);
  return Number.isInteger(code) ? code : 1;
}

// ---- npm

/** Installs the npm packages if the lock file is not the one that was installed last. */
export const ensureNpm = memoize(async () => {
  if (isNpmCurrent()) return;
  await withLock(repoPath(".dev/npm.lock"), async () => {
    if (isNpmCurrent()) return;
    refuseLink(repoPath("node_modules"));
    if (!isAvailable("npm")) throw new Failure("npm is missing. Install Node.js 20 or newer together with npm, then try again.");
    say("Installing npm packages (about half a minute)…");
    const { code, output } = await capture("npm", ["ci", "--no-audit", "--no-fund", "--loglevel=error"]);
    if (code !== 0) throw new Failure(`npm ci failed:\n${output}`);
    if (!isAvailable(node22)) throw new Failure("npm did not install Node 22: its install script was blocked. Allow install scripts for the package `node`, then try again.");
    writeFileSync(repoPath("node_modules/.connections-lock"), hashLockFile());
  });
});

/** `npm ci` empties the folder first, also the one behind a link: that of another clone. */
function refuseLink(folder) {
  if (!lstatSync(folder, { throwIfNoEntry: false })?.isSymbolicLink()) return;
  throw new Failure(
    `node_modules is a link to ${readlinkSync(folder)}. Installing packages would delete everything in that folder.\nRemove the link, then try again: rm ${folder}`,
  );
}

const hashLockFile = () => createHash("sha256").update(readFileSync(repoPath("package-lock.json"))).digest("hex");

function isNpmCurrent() {
  const stamp = repoPath("node_modules/.connections-lock");
  return existsSync(stamp) && readFileSync(stamp, "utf8") === hashLockFile();
}

// ---- Rust

/** Makes sure that the Worker can be compiled. Returns the environment and the path of worker-build. */
export async function ensureTools() {
  ensureRust();
  const [wasmBindgen, workerBuild] = await Promise.all([ensureWasmBindgen(), ensureWorkerBuild(), ensureNpm()]);
  await removeIntermediates();
  return {
    workerBuild,
    // worker-build would download all three from places that are not package registries.
    env: { WASM_BINDGEN_BIN: wasmBindgen, WASM_OPT_BIN: repoPath("node_modules/binaryen/bin/wasm-opt"), ESBUILD_BIN: repoPath("node_modules/esbuild/bin/esbuild") },
  };
}

/** Makes sure that cargo can run tests as Wasm under Node. Returns the environment for it. */
export async function ensureWasmTestRunner() {
  const [wasmBindgen] = await Promise.all([ensureWasmBindgen(), ensureNpm()]);
  await removeIntermediates();
  return { CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUNNER: join(dirname(wasmBindgen), "wasm-bindgen-test-runner") };
}

/** Makes sure that cargo is installed. Native tests need nothing else. */
export function ensureRust() {
  const how = "Install Rust with rustup (https://rustup.rs), open a new terminal and try again.";
  if (spawnSync("cargo", ["--version"], { stdio: "ignore" }).error) throw new Failure(`cargo is missing. ${how}`);
  if (!isAvailable("cargo")) throw new Failure("cargo does not run with the toolchain in rust-toolchain.toml. To see why: cargo --version");
  if (hasWasmTarget()) return;
  if (!isAvailable("rustup")) throw new Failure(`Rust has no ${WASM_TARGET} target, and rustup is not installed to add it. ${how}`);
  const added = spawnSync("rustup", ["target", "add", WASM_TARGET], { cwd: root, stdio: "inherit" });
  if (added.status !== 0) throw new Failure(`rustup could not add the target: rustup target add ${WASM_TARGET}`);
}

function hasWasmTarget() {
  const answer = spawnSync("rustc", ["--print", "target-libdir", "--target", WASM_TARGET], { cwd: root, encoding: "utf8" });
  return answer.status === 0 && existsSync(answer.stdout.trim());
}

/** The command line tool and the library must have the same version: that of Cargo.lock. */
function wasmBindgenVersion() {
  const found = /name = "wasm-bindgen"\nversion = "([^"]+)"/.exec(readFileSync(repoPath("Cargo.lock"), "utf8"));
  if (!found) throw new Failure("Cargo.lock has no wasm-bindgen. Create it with: cargo generate-lockfile");
  return found[1];
}

// Without its features it cannot download browsers, which are not needed, and needs no TLS.
const ensureWasmBindgen = memoize(() =>
  ensureCargoTool("wasm-bindgen-cli", wasmBindgenVersion(), "wasm-bindgen", ["--no-default-features", "--bin", "wasm-bindgen", "--bin", "wasm-bindgen-test-runner"]),
);

const ensureWorkerBuild = memoize(() => ensureCargoTool("worker-build", WORKER_BUILD, "worker-build", ["--bin", "worker-build"]));

/** Makes sure that cargo-deny is installed for `npm run audit`. Returns its path. */
export async function ensureCargoDeny() {
  const path = await ensureCargoTool("cargo-deny", CARGO_DENY, "cargo-deny");
  await removeIntermediates();
  return path;
}

/** The tools run for seconds and take minutes to compile. Optimising them would cost more time than it saves. */
const UNOPTIMISED = {
  CARGO_PROFILE_RELEASE_OPT_LEVEL: "0",
  CARGO_PROFILE_RELEASE_LTO: "off",
  CARGO_PROFILE_RELEASE_CODEGEN_UNITS: "16",
  CARGO_PROFILE_RELEASE_DEBUG: "0",
};

/** Outside the repository, because every clone needs the same tools and each takes minutes to compile. */
const findToolsFolder = () => process.env.CONNECTIONS_TOOLS || join(process.env.XDG_CACHE_HOME || join(homedir(), ".cache"), "connections-tools");

const compiling = () => join(findToolsFolder(), "compiling.lock");
const intermediates = () => join(findToolsFolder(), "target");

/** The folder has a gigabyte that only compiling another tool would use. */
async function removeIntermediates() {
  if (existsSync(intermediates())) await withLock(compiling(), async () => rmSync(intermediates(), { recursive: true, force: true }));
}

async function ensureCargoTool(crate, version, binary, options = []) {
  const folder = join(findToolsFolder(), `${crate}-${version}`);
  const path = join(folder, "bin", process.platform === "win32" ? `${binary}.exe` : binary);
  if (existsSync(path)) return path;
  // One lock for all tools: they are compiled in one folder, because they share most of their crates.
  await withLock(compiling(), async () => {
    if (existsSync(path)) return;
    say(`Compiling ${crate} ${version} into ${folder}: memoize per machine, a minute or two…`);
    await cargoInstall(crate, version, folder, options);
  });
  if (!existsSync(path)) throw new Failure(`cargo installed ${crate} ${version}, but ${path} is missing. Delete ${folder} and try again.`);
  return path;
}

async function cargoInstall(crate, version, folder, options) {
  const env = { ...UNOPTIMISED, CARGO_TARGET_DIR: intermediates() };
  const install = (...extra) =>
    capture("cargo", ["install", crate, "--version", `=${version}`, "--root", folder, "--quiet", ...options, ...extra], { cwd: findToolsFolder(), env });
  const first = await install("--locked");
  if (first.code === 0) return;
  // A crate's own lock file can name a dependency that the registry in use does not have. Its version ranges often
  // still fit.
  const second = await install();
  if (second.code !== 0) throw new Failure(`cargo could not install ${crate} ${version}:\n${first.output}\n${second.output}${explainOpenSsl(second.output)}`);
}

const explainOpenSsl = (output) =>
  /openssl-sys/.test(output) ? "\nOn Linux worker-build needs the headers of OpenSSL, and pkg-config (Debian: sudo apt-get install libssl-dev pkg-config)." : "";

// ---- Python

/** What the Django OAuth server of the tests needs, in exact versions. */
const DJANGO_PACKAGES = repoPath("tests/support/django/requirements.txt");
const PYTHON_INSTALL_HINT = "Install Python 3.10 or newer with pip (Debian: sudo apt-get install python3 python3-pip python3-venv), then try again.";

/** Makes sure that the packages of the Django OAuth server are installed: `{ python, env }` to start it with. */
export async function ensureDjango() {
  const version = pythonVersion();
  const packages = createHash("sha256").update(readFileSync(DJANGO_PACKAGES)).digest("hex").slice(0, 12);
  const folder = join(findToolsFolder(), `django-${version}-${packages}`);
  const complete = join(folder, "complete");
  if (!existsSync(complete)) {
    await withLock(`${folder}.lock`, async () => {
      if (existsSync(complete)) return;
      say("Installing the Django OAuth server from PyPI (a few seconds, memoize per machine)…");
      rmSync(folder, { recursive: true, force: true });
      mkdirSync(folder, { recursive: true });
      writeFileSync(complete, await installPackages(folder));
    });
  }
  return readFileSync(complete, "utf8") === "venv"
    ? { python: join(folder, "venv/bin/python"), env: {} }
    : { python: "python3", env: { PYTHONPATH: join(folder, "site") } };
}

function pythonVersion() {
  const asked = spawnSync("python3", ["-c", "import sys; print('%d.%d' % sys.version_info[:2]); sys.exit(sys.version_info < (3, 10))"], { encoding: "utf8" });
  if (asked.error) throw new Failure(`python3 is missing; the tests need it for a second OAuth server. ${PYTHON_INSTALL_HINT}`);
  if (asked.status !== 0) throw new Failure(`python3 is version ${asked.stdout.trim() || "unknown"}, which is too old. ${PYTHON_INSTALL_HINT}`);
  return asked.stdout.trim();
}

/**
 * A virtual environment if Python can create one (some systems package `ensurepip` separately), otherwise a plain
 * folder of packages.
 */
async function installPackages(folder) {
  const install = (python, ...where) =>
    capture(python, ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input", ...where, "-r", DJANGO_PACKAGES], { cwd: folder });
  const venv = await capture("python3", ["-m", "venv", "venv"], { cwd: folder });
  const first = venv.code === 0 ? await install(join(folder, "venv/bin/python")) : venv;
  if (first.code === 0) return "venv";
  const second = await install("python3", "--target", join(folder, "site"));
  if (second.code === 0) return "site";
  throw new Failure(`The Django OAuth server of the tests could not be installed. ${PYTHON_INSTALL_HINT}\n${first.output}\n${second.output}`);
}

// ---- locks

/** All callers in this process share the first call and its result. */
function memoize(body) {
  let first;
  return () => (first ??= body());
}

/** Runs `body` while no other process of this machine holds the same lock file. */
export async function withLock(path, body) {
  mkdirSync(dirname(path), { recursive: true });
  for (let told = false; !takeLock(path); await sleep(500)) {
    if (told || readLockOwner(path) === process.pid) continue;
    say(`Waiting for another process (if none is running, delete ${path})…`);
    told = true;
  }
  const release = () => rmSync(path, { force: true });
  process.once("exit", release);
  try {
    return await body();
  } finally {
    process.off("exit", release);
    release();
  }
}

function takeLock(path) {
  try {
    writeFileSync(path, String(process.pid), { flag: "wx" });
    return true;
  } catch (error) {
    if (error.code !== "EEXIST") throw error;
    if (!isLockOwnerAlive(path)) rmSync(path, { force: true });
    return false;
  }
}

/** Undefined if the lock does not exist. 0 if the file is empty, because the lock is just being written. */
function readLockOwner(path) {
  try {
    return Number(readFileSync(path, "utf8"));
  } catch (error) {
    if (error.code === "ENOENT") return undefined;
    throw error;
  }
}

function isLockOwnerAlive(path) {
  const pid = readLockOwner(path);
  if (pid === undefined) return false;
  try {
    if (pid) process.kill(pid, 0);
    return true;
  } catch (error) {
    return error.code === "EPERM";
  }
}
