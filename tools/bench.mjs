// Owns `npm run bench`: measures the built Worker beside bare Workers in one run, round by round, so that a busy machine
// disturbs both alike. Prints tables; with --write, writes them to docs/performance.md and the plot to
// docs/performance.svg. Fails if one expiry of a token costs more than one request to the app. Uses no network, and ends
// by itself. With --scale, compares sizes of installations instead (bench/scale.mjs).

import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { cpus, tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import { ensureNpm, Failure, main, quietWrangler, repoPath, restartUnderNode22, say } from "./bootstrap.mjs";
import { build } from "./build.mjs";

/** Linux keeps files here in memory. A database on disk would measure the disk, which D1 does not depend on. */
const MEMORY = "/dev/shm";

const CALLERS = 64;
const FULL = { rounds: 7, seconds: 3, samples: 12, starts: 5, minutes: 30 };
const QUICK = { rounds: 2, seconds: 0.7, samples: 4, starts: 1, minutes: 8 };

const DOCUMENT = repoPath("docs/performance.md");
const PLOT = repoPath("docs/performance.svg");
const BEGIN = "<!-- begin: npm run bench -- --write -->";
const END = "<!-- end -->";

const USAGE = `npm run bench                      measures and prints tables, in about twelve minutes
npm run bench -- --quick           a few seconds for each case
npm run bench -- --only TEXT       the cases whose name contains TEXT, and the bare Workers
npm run bench -- --against FOLDER  this build beside the one in another dist/; both need the same database schema
npm run bench -- --write           also writes docs/performance.md and docs/performance.svg
npm run bench -- --scale           installations of 1,000, 100,000 and 1,000,000 connections instead; --sizes 1000,100000 for
                                   others. Needs 4 GB of memory for a million. With --write, writes docs/scale.md`;

/** A new folder, which is deleted at the end. */
function makeFolder() {
  const folder = mkdtempSync(join(existsSync(MEMORY) ? MEMORY : tmpdir(), "connections-bench-"));
  process.once("exit", () => rmSync(folder, { recursive: true, force: true }));
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.once(signal, () => process.exit(1));
  return folder;
}

async function compareSizes({ sizes, quick, write: isWritten }) {
  // Imported late: it needs the npm packages.
  const { benchScale, SIZES } = await import("./bench/scale.mjs");
  endAfter(60);
  const settings = quick ? { rounds: 2, seconds: 0.5 } : { rounds: 5, seconds: 1 };
  await benchScale({ sizes: sizes ?? SIZES, folder: makeFolder(), ...settings, write: isWritten, show: showProgress });
}

async function bench(options) {
  // Imported late: these need the npm packages.
  const [{ CASES, casesAgainst, workersOf }, { startInstallation, APP_TIME }, { compileLoadGenerator, measureSizes, measureStart, Meter }, report] = await Promise.all(
    ["cases", "installation", "measure", "report"].map((name) => import(`./bench/${name}.mjs`)),
  );
  const chosen = CASES.filter(({ name, worker = "" }) => worker.startsWith("bare-") || name.includes(options.only));
  const cases = options.against ? casesAgainst(chosen) : chosen;
  const folder = makeFolder();
  endAfter(options.minutes);

  showProgress("preparing");
  const loadGenerator = await compileLoadGenerator(folder);
  const installation = await startInstallation(workersOf(cases), folder, options.against && resolve(options.against));
  const meter = new Meter(installation, { folder, loadGenerator, seconds: options.seconds });
  const counts = await countCalls(meter, cases);
  const results = await measureRounds(meter, cases, options);
  await installation.close();
  showProgress("starting");
  const start = await measureStart(folder, options.starts);
  showProgress();

  const settings = { ...options, appTime: APP_TIME, workerd: versionOf("workerd"), processors: `${cpus().length} × ${cpus()[0].model.trim()}` };
  const text = report.formatReport({ callers: CALLERS, cases, results, counts, sizes: measureSizes(), start, settings });
  say(`\n${text}\n`);
  if (options.write) write(text, report.formatPlot(cases, results));
  const requests = Math.max(0, ...cases.filter(({ kind }) => kind === "burst").flatMap((one) => results.get(one).map((round) => round.requests)));
  if (requests > 1) throw new Failure(`One expiry of a token cost ${requests} requests to the app. It must cost one.`);
}

/** What one call of each case asks for. */
async function countCalls(meter, cases) {
  const counts = new Map();
  for (const one of cases.filter(({ worker, counted = worker === "connections" }) => counted)) {
    showProgress(`counting: ${one.name}`);
    counts.set(one, await meter.count(one));
  }
  return counts;
}

/** The results of each case, one for each round. The first round warms up: isolates compile and optimise their code. */
async function measureRounds(meter, cases, { rounds, samples }) {
  const measureOnce = {
    load: (one) => meter.measureLoad(one, CALLERS),
    single: (one) => meter.measureSingle(one, samples),
    burst: (one) => meter.measureBurst(one),
    scheduled: (one) => meter.measureScheduled(one),
  };
  const results = new Map(cases.map((one) => [one, []]));
  for (let round = 0; round <= rounds; round += 1) {
    for (const one of cases) {
      showProgress(`round ${round} of ${rounds}: ${one.name}${one.callers ? `, ${one.callers} callers` : ""}`);
      const result = await measureOnce[one.kind](one);
      if (round > 0) results.get(one).push(result);
    }
  }
  return results;
}

/** Replaces what is between the marks in the document. */
function write(text, plot) {
  const document = readFileSync(DOCUMENT, "utf8");
  const [begin, end] = [document.indexOf(BEGIN), document.indexOf(END)];
  if (begin < 0 || end < begin) throw new Failure(`${DOCUMENT} has no lines "${BEGIN}" and "${END}".`);
  writeFileSync(DOCUMENT, `${document.slice(0, begin)}${BEGIN}\n\n${text}\n\n${document.slice(end)}`);
  writeFileSync(PLOT, plot);
  say("docs/performance.md and docs/performance.svg are written.");
}

/** One line that is written over; a line for each step where nobody looks on. */
function showProgress(text = "") {
  if (process.stderr.isTTY) process.stderr.write(`\r\x1b[2K${text}`);
  else if (text) process.stderr.write(`${text}\n`);
}

/** Ends the benchmark if it takes far longer than it should. */
function endAfter(minutes) {
  const timer = setTimeout(() => {
    console.error(`\nThe benchmark took longer than ${minutes} minutes and was ended.`);
    process.exit(1);
  }, minutes * 60_000);
  timer.unref();
}

const versionOf = (name) => JSON.parse(readFileSync(repoPath("node_modules", name, "package.json"), "utf8")).version;

/** Numbers of connections, from the smallest. */
function readSizes(text) {
  const sizes = text?.split(",").map(Number);
  if (sizes?.some((size) => !Number.isInteger(size) || size < 100)) throw new Error(`--sizes ${text} are no numbers of 100 or more, with commas between them.`);
  return sizes?.sort((a, b) => a - b);
}

function readOptions() {
  const flags = { quick: { type: "boolean" }, write: { type: "boolean" }, only: { type: "string", default: "" }, against: { type: "string" }, scale: { type: "boolean" }, sizes: { type: "string" }, help: { type: "boolean" } };
  try {
    const { values } = parseArgs({ options: flags });
    if (values.write && (values.only || values.against)) throw new Error("--write needs all cases and the bare Workers.");
    if (values.against && !existsSync(join(values.against, "index.js"))) throw new Error(`${values.against} has no built Worker.`);
    if (values.sizes && !values.scale) throw new Error("--sizes is for --scale.");
    return { ...(values.quick ? QUICK : FULL), ...values, sizes: readSizes(values.sizes) };
  } catch (error) {
    throw new Failure(`${error.message}\n\n${USAGE}`);
  }
}

await main(async () => {
  const options = readOptions();
  if (options.help) {
    say(USAGE);
    return undefined;
  }
  await ensureNpm();
  const code = await restartUnderNode22(import.meta.url);
  if (code !== undefined) return code;
  Object.assign(process.env, quietWrangler);
  await build();
  await (options.scale ? compareSizes(options) : bench(options));
});
