// Owns the runtime's process: finds the one that runs the Worker, kills it without a word (SIGKILL), and waits until it is
// really gone. wrangler's harness then starts another over the same files; until that is ready nothing is answered.
// Import it before the harness starts: it watches which processes are started. Leaves none behind, however this one ends.

import childProcess from "node:child_process";
import { once } from "node:events";

/** Processes that run a Worker with this binding; wrangler's own proxy is a Worker, too, without it. */
const WORKER_BINDING = "REFRESHER";
const started = new Set();
let runtime;

// That a runtime died is no news here.
process.env.WRANGLER_LOG ??= "none";

const spawn = childProcess.spawn;
childProcess.spawn = (...args) => {
  const child = spawn(...args);
  started.add(child);
  child.once("exit", () => started.delete(child));
  // The runtime is told everything, bindings included, in one write to its standard input.
  const { stdin } = child;
  const write = stdin?.write;
  if (write) {
    stdin.write = (config, ...rest) => {
      if (typeof config !== "string" && Buffer.from(config).includes(WORKER_BINDING)) runtime = child;
      return write.call(stdin, config, ...rest);
    };
  }
  return child;
};
process.on("exit", () => started.forEach((child) => child.kill("SIGKILL")));

/** Kills the runtime; answers when it is gone. */
export async function killRuntime() {
  const victim = runtime;
  if (!victim || victim.exitCode !== null || victim.signalCode !== null) throw new Error("There is no runtime to kill.");
  const gone = once(victim, "exit");
  victim.kill("SIGKILL");
  await gone;
  return victim.pid;
}
