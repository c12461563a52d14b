// Owns the process of the runtime: finds the one that runs the Worker, kills it (SIGKILL), and waits until it has
// exited. wrangler's harness then starts another over the same files. Import this file before the harness starts,
// because it watches which processes are started. Kills all of them when this process exits.

import childProcess from "node:child_process";
import { once } from "node:events";

/** A process with this binding runs the Worker. wrangler's own proxy is a Worker too, without it. */
const WORKER_BINDING = "REFRESHER";
const started = new Set();
let runtime;

// These tests kill the runtime on purpose, so wrangler need not report it.
process.env.WRANGLER_LOG ??= "none";

const spawn = childProcess.spawn;
childProcess.spawn = (...args) => {
  const child = spawn(...args);
  started.add(child);
  child.once("exit", () => started.delete(child));
  // The runtime gets its configuration, with all bindings, in one write to its standard input.
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

/** Kills the runtime and waits until it has exited. */
export async function killRuntime() {
  const victim = runtime;
  if (!victim || victim.exitCode !== null || victim.signalCode !== null) throw new Error("There is no runtime to kill.");
  const gone = once(victim, "exit");
  victim.kill("SIGKILL");
  await gone;
  return victim.pid;
}
