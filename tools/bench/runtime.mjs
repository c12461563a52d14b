// Owns the runtime of `npm run bench`: workerd with the built Worker and the bare Workers it is compared with, over one
// database and one cache. Every Worker has a socket of its own, without wrangler's proxy. Uses no network: outbound
// requests reach only the ports of this machine that were named.

import { chmodSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { repoPath } from "../bootstrap.mjs";

export const PUBLIC_URL = "http://localhost:8787";

/** The quotas of wrangler.toml would refuse a benchmark's calls after some seconds. */
const NO_QUOTA = { limit: 1_000_000_000, period: 60 };
const LIMITS = ["FAILED_AUTHENTICATION_LIMIT", "CALL_LIMIT", "COSTLY_CALL_LIMIT", "PROXIED_REQUEST_LIMIT"];

/** The Workers that can be started. `bare-` Workers are files of tools/bench/bare/; `other` is a build in another folder. */
const WORKERS = {
  connections: () => builtWorker(),
  "connections-too": () => builtWorker(),
  "connections-without-object": () => builtWorker({ object: false }),
  "connections-without-limits": () => builtWorker({ limits: false }),
  "connections-forgetting": () => builtWorker({ wrapper: "forgetting.js" }),
  counting: () => builtWorker({ wrapper: "counting.js" }),
  other: (_, folder) => builtWorker({ folder }),
  "bare-constant": bareWorker,
  "bare-d1": bareWorker,
  "bare-kv": bareWorker,
  "bare-fetch": bareWorker,
  "bare-replay": bareWorker,
};

/** The built Worker with its bindings; `wrapper` is a module of this folder that stands before it. */
function builtWorker({ object = true, limits = true, wrapper, folder = repoPath("dist") } = {}) {
  const files = readdirSync(folder);
  const modules = ["index.js", files.find((file) => file.endsWith(".wasm"))].map((file) => ({
    type: file.endsWith(".wasm") ? "CompiledWasm" : "ESModule",
    path: join(folder, file),
  }));
  if (wrapper) modules.unshift({ type: "ESModule", path: join(folder, wrapper), contents: readFileSync(repoPath("tools/bench", wrapper), "utf8") });
  return {
    modulesRoot: folder,
    modules,
    ...(object && { durableObjects: { REFRESHER: { className: "Refresher", useSQLite: true } } }),
    ...(limits && { ratelimits: Object.fromEntries(LIMITS.map((name, index) => [name, { namespace_id: `${index + 1}`, simple: NO_QUOTA }])) }),
  };
}

function bareWorker(name) {
  const folder = repoPath("tools/bench/bare");
  return { modulesRoot: folder, modules: [{ type: "ESModule", path: join(folder, `${name}.js`) }] };
}

/** Forwards outbound requests to servers of this machine. */
const outboundWorker = (ports) => ({
  name: "outbound",
  modules: true,
  script: `export default { fetch: (request, env) => env["PORT_" + new URL(request.url).port]?.fetch(request) ?? new Response("not on this machine", { status: 502 }) };`,
  serviceBindings: Object.fromEntries(ports.map((port) => [`PORT_${port}`, { external: { address: `127.0.0.1:${port}`, http: {} } }])),
});

/**
 * Starts workerd with the Workers of these names: `{ ports, miniflare, cpu, memory, close }`. `cpu()` is the CPU time of its
 * process in microseconds, `memory()` the memory that it has in bytes; undefined if the system cannot tell.
 *
 * - `folder`: keeps what the Workers store.
 * - `variables`: of the built Worker.
 * - `outboundPorts`: ports of this machine that the Workers may reach.
 * - `otherBuild`: the folder of the Worker `other`.
 */
export async function startRuntime(names, { folder, variables = {}, outboundPorts = [], otherBuild }) {
  const [{ convertV4MiniflareOptions, Miniflare, Log, LogLevel }, { default: { default: workerd } }] = await Promise.all([import("miniflare"), import("workerd")]);
  const settings = readFileSync(repoPath("wrangler.toml"), "utf8");
  const shared = {
    compatibilityDate: /^compatibility_date = "([^"]*)"/m.exec(settings)[1],
    compatibilityFlags: /^compatibility_flags = (\[.*\])/m.exec(settings)[1].match(/[a-z_0-9]+/g),
    d1Databases: { DB: "bench" },
    kvNamespaces: { CACHE: "bench" },
    unsafeDirectSockets: [{ host: "127.0.0.1", port: 0 }],
    outboundService: "outbound",
  };
  const workers = names.map((name) => ({ ...shared, bindings: { PUBLIC_URL, DEV_LOOPBACK: "1", ...variables }, ...WORKERS[name](name, otherBuild), name }));
  process.env.MINIFLARE_WORKERD_PATH = writeQuietWorkerd(folder, workerd);
  const before = new Set(childProcesses());
  const miniflare = new Miniflare(
    convertV4MiniflareOptions({
      workers: [...workers, outboundWorker(outboundPorts)],
      resourcePersistencePath: folder,
      defaultPersistRoot: folder,
      enableDevRegistry: false,
      log: new Log(LogLevel.ERROR),
      logRequests: false,
      cf: false,
    }),
  );
  await miniflare.ready;
  const pid = childProcesses().find((one) => !before.has(one));
  const ports = {};
  for (const name of names) ports[name] = Number((await miniflare.unsafeGetDirectURL(name)).port);
  return { ports, miniflare, cpu: () => cpuTime(pid), memory: () => residentMemory(pid), close: () => miniflare.dispose() };
}

/** The Worker logs a line for each call. To read and print them here would take the time of a core from the callers. */
function writeQuietWorkerd(folder, workerd) {
  const path = join(folder, "workerd.sh");
  writeFileSync(path, `#!/bin/sh\nexec "${workerd}" "$@" >/dev/null\n`);
  chmodSync(path, 0o755);
  return path;
}

/** Ids of the processes that this one started; none if the system cannot tell. */
function childProcesses() {
  try {
    return readFileSync(`/proc/${process.pid}/task/${process.pid}/children`, "utf8").split(" ").filter(Boolean).map(Number);
  } catch {
    return [];
  }
}

/** Microseconds of CPU time, from the ticks of /proc (see proc(5)): a hundred a second. */
function cpuTime(pid) {
  if (pid === undefined) return undefined;
  const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
  const [user, system] = stat.slice(stat.lastIndexOf(")") + 2).split(" ").slice(11, 13).map(Number);
  return (user + system) * 10_000;
}

/** Bytes of memory that a process has (see proc(5)). */
function residentMemory(pid) {
  if (pid === undefined) return undefined;
  return Number(/^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))[1]) * 1024;
}
