// Owns the build of a Worker: worker-build writes it to build/, its static files go to build/assets/, and wrangler bundles
// it into dist/, as a deployment uploads it. Does not build again if no input has changed.

import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { BUILT_ASSETS, buildAssets } from "./assets.mjs";
import { repoPath, ensureTools, main, quietWrangler, run, say, withLock, wrangler } from "./bootstrap.mjs";
import { NAMED, withoutNames } from "./sizes.mjs";

const INPUTS = ["src", "assets", "catalog", "migrations", "Cargo.toml", "Cargo.lock", "rust-toolchain.toml", "wrangler.toml", "package-lock.json", "tools/build.mjs", "tools/assets.mjs", "tools/bootstrap.mjs", "tools/sizes.mjs"];
const STAMP = repoPath("build/.inputs");

/**
 * Makes build/ and dist/ up to date. A quick build is larger and slower, and is in build/ only. It is enough for `npm
 * start`, never for tests or a deployment. An up-to-date full build also counts as a quick one.
 */
export async function build({ quick = false } = {}) {
  const { env, workerBuild } = await ensureTools();
  await withLock(repoPath(".dev/build.lock"), async () => {
    const inputs = hashInputs();
    if (isEnough(readStamp(), inputs, quick)) return say("The Worker is up to date.");
    for (const outdated of [STAMP, repoPath("dist")]) rmSync(outdated, { recursive: true, force: true });
    await compile(workerBuild, env, quick ? ["--profile", "quick"] : ["--release"]);
    buildAssets(readFileSync(repoPath("build/index_bg.wasm")));
    if (!quick) await bundle();
    writeFileSync(STAMP, formatStamp(inputs, quick));
  });
}

async function compile(workerBuild, env, profile) {
  say("Compiling the Worker…");
  // A stack trace of worker-build itself helps nobody.
  await run(workerBuild, profile, { env: { ...env, RUST_LIB_BACKTRACE: "0" }, hint: "See the compiler's messages above." });
}

/**
 * Keeps the names of functions in a file of their own. They are a fifth of what would be uploaded, and only a stack trace
 * needs them: `npm run sizes -- --function NUMBER`.
 */
function separateNames() {
  const wasm = repoPath("build/index_bg.wasm");
  const named = readFileSync(wasm);
  writeFileSync(NAMED, named);
  writeFileSync(wasm, withoutNames(named));
}

async function bundle() {
  separateNames();
  mkdirSync(repoPath("dist"), { recursive: true });
  await run(...wrangler("deploy", "--dry-run", "--outdir", "dist"), { env: { ...quietWrangler, WRANGLER_LOG: "warn" } });
  reportSize();
}

const formatStamp = (inputs, quick) => `${inputs} ${quick ? "quick" : "full"}`;

/** Whether a build with this stamp can be used: same inputs, and a full build unless a quick one is enough. */
export const isEnough = (stamp, inputs, quick) => stamp === formatStamp(inputs, false) || (quick && stamp === formatStamp(inputs, true));

/** The stamp of the build in build/ (and dist/ for a full one), or undefined if it is incomplete. */
function readStamp() {
  const stamp = [STAMP, repoPath("build/index.js"), BUILT_ASSETS].every((path) => existsSync(path)) ? readFileSync(STAMP, "utf8") : undefined;
  return stamp?.endsWith(" full") && !existsSync(repoPath("dist/index.js")) ? undefined : stamp;
}

/** Hashes content and not times: a fresh clone or another branch changes times without changing content. */
function hashInputs() {
  const hash = createHash("sha256");
  for (const file of INPUTS.flatMap(listFiles)) hash.update(`${file}\0`).update(readFileSync(repoPath(file))).update("\0");
  return hash.digest("hex");
}

function listFiles(path) {
  if (!existsSync(repoPath(path))) return [];
  if (!statSync(repoPath(path)).isDirectory()) return [path];
  return readdirSync(repoPath(path)).sort().flatMap((name) => listFiles(join(path, name)));
}

function reportSize() {
  const wasm = readdirSync(repoPath("dist")).find((name) => name.endsWith(".wasm"));
  if (!wasm) return;
  const bytes = readFileSync(repoPath("dist", wasm));
  say(`Wasm: ${kib(bytes.length)}, gzip ${kib(gzipSync(bytes).length)}.`);
}

const kib = (bytes) => `${Math.round(bytes / 1024)} KiB`;

if (process.argv[1] === fileURLToPath(import.meta.url)) await main(() => build());
