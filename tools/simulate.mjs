// Owns `npm run simulate`: runs seeds of the simulation and shows the progress. `-- --seeds 1000000`, `--from N`,
// `--seconds N`, `--step N`; `-- --seed N` runs one seed and prints all its steps.

import { capture, ensureRust, Failure, main, say } from "./bootstrap.mjs";

const OPTIONS = { seeds: "SIMULATE_SEEDS", from: "SIMULATE_FROM", step: "SIMULATE_STEP", seconds: "SIMULATE_SECONDS", seed: "SIMULATE_SEED" };
const BAR = 40;

const CARGO = ["test", "--locked", "--profile", "simulation", "--test", "simulation"];

/** Reads `--name number` pairs into the environment that the simulation reads. */
function environment(args) {
  const env = { SIMULATE_PACE: "1" };
  for (let at = 0; at < args.length; at += 2) {
    const name = OPTIONS[args[at].replace(/^--/, "")];
    if (!name || !/^\d+$/.test(args[at + 1] ?? "")) {
      throw new Failure("Usage: npm run simulate -- [--seeds N | --seconds N] [--from N] [--step N]\n       npm run simulate -- --seed N");
    }
    env[name] = args[at + 1];
  }
  return env;
}

/** `progress: 5000 of 1000000 seeds in 12 s` as a bar. Without a goal only the numbers. */
function bar(line) {
  const [, done, goal, seconds] = /^progress: (\d+)(?: of (\d+))? seeds in (\d+) s$/.exec(line) ?? [];
  if (!done) return undefined;
  const rate = Math.round(done / Math.max(1, seconds));
  if (!goal) return `${done} seeds, ${rate}/s`;
  const share = done / goal;
  const left = Math.ceil((goal - done) / Math.max(1, rate) / 60);
  return `[${"#".repeat(Math.round(share * BAR)).padEnd(BAR, ".")}] ${(share * 100).toFixed(1)} %  ${done}/${goal} seeds, ${rate}/s, ${left} min left`;
}

/** Shows progress on one line of a terminal, elsewhere as a line every half minute. */
function show(text) {
  let rest = "";
  let told = 0;
  return (chunk) => {
    const lines = (rest + chunk).split("\n");
    rest = lines.pop();
    for (const line of lines) {
      const drawn = bar(line);
      if (!drawn) text(line);
      else if (process.stdout.isTTY) process.stdout.write(`\r\x1b[2K${drawn}`);
      else if (Date.now() - told > 30_000) {
        told = Date.now();
        say(drawn);
      }
    }
  };
}

await main(async () => {
  const env = environment(process.argv.slice(2));
  ensureRust();
  say("Compiling the simulation…");
  const prefix = process.stdout.isTTY ? "\r\x1b[2K" : "";
  const { code } = await capture("cargo", [...CARGO, "no_seed_violates_an_invariant", "--", "--nocapture"], {
    env,
    onOutput: show((line) => say(`${prefix}${line}`)),
  });
  return code;
});
