// Owns the way from Rust to a Worker that can be started: worker-build leaves it in build/, wrangler bundles it into
// dist/, as a deploy would upload it. Refuses to build again when nothing that goes in has changed.

import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { repoPath, ensureTools, main, quietWrangler, run, say, withLock, wrangler } from "./bootstrap.mjs";

const INPUTS = ["src", "catalog", "migrations", "Cargo.toml", "Cargo.lock", "rust-toolchain.toml", "wrangler.toml", "package-lock.json", "tools/build.mjs", "tools/bootstrap.mjs"];
const STAMP = repoPath("build/.inputs");

/**
 * Leaves an up-to-date Worker in build/ and dist/. A quick one does the same and is larger and slower: enough for whoever
 * starts it here, never for tests or a deployment, and in build/ only. Where a full one is up to date, it is quick enough.
 */
export async function build({ quick = false } = {}) {
  const { env, workerBuild } = await ensureTools();
  await withLock(repoPath(".dev/build.lock"), async () => {
    const inputs = hashInputs();
    if (isEnough(readStamp(), inputs, quick)) return say("The Worker is up to date.");
    for (const outdated of [STAMP, repoPath("dist")]) rmSync(outdated, { recursive: true, force: true });
    await compile(workerBuild, env, quick ? ["--profile", "quick"] : ["--release"]);
    if (!quick) await bundle();
    writeFileSync(STAMP, formatStamp(inputs, quick));
  });
}

async function compile(workerBuild, env, profile) {
  say("Compiling the Worker…");
  // A stack of worker-build itself tells nobody anything.
  await run(workerBuild, profile, { env: { ...env, RUST_LIB_BACKTRACE: "0" }, hint: "The compiler's messages above say where." });
}

async function bundle() {
  mkdirSync(repoPath("dist"), { recursive: true });
  await run(...wrangler("deploy", "--dry-run", "--outdir", "dist"), { env: { ...quietWrangler, WRANGLER_LOG: "warn" } });
  reportSize();
}

const formatStamp = (inputs, quick) => `${inputs} ${quick ? "quick" : "full"}`;

/** Whether what a stamp tells of is what is asked for: of these inputs, and a full one unless a quick one will do. */
export const isEnough = (stamp, inputs, quick) => stamp === formatStamp(inputs, false) || (quick && stamp === formatStamp(inputs, true));

/** The stamp of what lies in build/ (and dist/, where it is a full one); undefined where that is incomplete. */
function readStamp() {
  const stamp = existsSync(STAMP) && existsSync(repoPath("build/index.js")) ? readFileSync(STAMP, "utf8") : undefined;
  return stamp?.endsWith(" full") && !existsSync(repoPath("dist/index.js")) ? undefined : stamp;
}

/** Content, not times: a fresh clone or a switch of branches changes every time and no content. */
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
