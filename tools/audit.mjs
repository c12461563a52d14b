// Owns `npm run audit`: whether the crates and npm packages of the lock files may be used. It checks licences, sources
// and duplicates of crates (deny.toml), and the registry's signatures of npm packages. Known vulnerabilities need
// databases that not every machine reaches: .github/workflows/advisories.yml checks them on a schedule. A check that
// could not run is listed as "not run", never as passed. The exit code is 0 if every check that ran has passed, 1 if
// one has failed, and with `--all` 2 if one could not run.

import { fileURLToPath } from "node:url";
import { capture, ensureCargoDeny, ensureRust, Failure, main, say } from "./bootstrap.mjs";

const CRATES = ["bans", "licenses", "sources"];

/** What npm prints if the registry did not answer, or has no signatures. */
const UNREACHABLE =
  /^npm error code (E[A-Z]*(NOTFOUND|REFUSED|RESET|TIMEDOUT|UNREACH)|EAI_AGAIN|ERR_SOCKET_TIMEOUT|E40[345]|E5\d\d)$|no dependencies to audit that were installed from a supported registry/m;

/** The result of one check: `{ state: "passed" | "failed" | "not run", why }`. */
export function judgeCheck({ code, output }) {
  if (code === 0) return { state: "passed" };
  return UNREACHABLE.test(output) ? { state: "not run", why: "the registry did not answer" } : { state: "failed", why: output.trim() };
}

/** Text and exit code for the results, `[name, result]` each. */
export function summarize(results, all) {
  const lines = results.map(([name, { state, why }]) => `${state.padEnd(8)}${name}${why ? `: ${why.includes("\n") ? "see above" : why}` : ""}`);
  const count = (state) => results.filter(([, result]) => result.state === state).length;
  const [failed, left] = [count("failed"), count("not run")];
  lines.push("", `${count("passed")} passed, ${failed} failed, ${left} not run`);
  if (failed > 0) return { code: 1, text: lines.join("\n") };
  if (left > 0) lines.push("A check that was not run proves nothing. Run this on a machine that reaches the registries.");
  return { code: left > 0 && all ? 2 : 0, text: lines.join("\n") };
}

/** The three checks of cargo-deny. They need the crates, and no network once the crates are downloaded. */
async function crates() {
  const notRun = (why) => CRATES.map((check) => [`crates: ${check}`, { state: "not run", why }]);
  const here = await capture("cargo", ["metadata", "--locked", "--offline", "--format-version=1"]);
  if (here.code !== 0) {
    const fetched = await capture("cargo", ["fetch", "--locked"]);
    if (fetched.code !== 0) return notRun("the crates are not downloaded, and their registry did not answer");
  }
  const deny = await ensureCargoDeny().catch((error) => error);
  if (deny instanceof Error) return notRun(`cargo-deny is not installed: ${deny.message.split("\n", 1)[0]}`);
  const results = [];
  for (const check of CRATES) {
    const { code, output } = await capture(deny, ["--locked", "--offline", "check", "--hide-inclusion-graph", check]);
    const result = code === 0 ? { state: "passed" } : { state: "failed", why: output.trim() };
    results.push([`crates: ${check}`, result]);
  }
  return results;
}

/** Whether the npm registry has signed every installed package. */
async function signatures() {
  const asked = await capture("npm", ["audit", "signatures", "--fetch-retries=0"]);
  return [["npm packages: signatures", judgeCheck(asked)]];
}

async function audit(options) {
  const unknown = options.find((option) => option !== "--all");
  if (unknown) throw new Failure(`Unknown option "${unknown}". --all makes the exit code 2 if a check could not run.`);
  ensureRust();
  const results = [...(await crates()), ...(await signatures())];
  for (const [name, { state, why }] of results) if (state === "failed") say(`── ${name}\n${why}\n`);
  const { code, text } = summarize(results, options.includes("--all"));
  say(text);
  return code;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await main(() => audit(process.argv.slice(2)));
