// Owns how `npm run bench` measures a case: calls by the load generator, counts by the counting Worker, sizes of the
// build, and CPU time of the runtime. Throws if an answer has an unexpected status. Never decides what is measured.

import { readdirSync, readFileSync, writeFileSync, mkdtempSync, rmSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { gzipSync } from "node:zlib";
import { capture, Failure, repoPath } from "../bootstrap.mjs";
import { startRuntime } from "./runtime.mjs";

/** The status of `refresh_in_progress`: the caller tries again. */
const COME_AGAIN = 503;

/** Compiles the load generator, for less than a second. */
export async function compileLoadGenerator(folder) {
  const path = join(folder, "load");
  const { code, output } = await capture("cc", ["-O2", "-o", path, repoPath("tools/bench/load.c")]);
  if (code !== 0) throw new Failure(`The C compiler could not compile tools/bench/load.c:\n${output}`);
  return path;
}

export class Meter {
  /** `loadGenerator` is its path; `seconds` is how long it runs each time; `folder` is for its files. */
  constructor(installation, { folder, loadGenerator, seconds }) {
    Object.assign(this, { installation, folder, loadGenerator, seconds });
    this.requests = new Map();
  }

  /** Calls per second of many callers; times and CPU time of one. */
  async measureLoad(one, callers) {
    const { cpu } = this.installation.runtime;
    const request = await this.prepareOnce(one);
    const crowd = await this.send(one, request, { connections: callers });
    const before = cpu();
    const alone = await this.send(one, request, { connections: 1 });
    const spent = before === undefined ? undefined : (cpu() - before) / alone.requests;
    return { perSecond: crowd.requests / crowd.seconds, p50: alone.p50, p99: alone.p99, cpu: spent };
  }

  /** Times of single calls, in microseconds. */
  async measureSingle(one, samples) {
    const times = [];
    for (let sample = 0; sample < samples; sample += 1) {
      const request = await one.prepare(this.installation);
      times.push((await this.send(one, request, { connections: 1, maximum: 1 })).p50);
      await sleep(20);
    }
    return times;
  }

  /** Many callers at once: their times without the app's, in microseconds, and its requests. */
  async measureBurst(one) {
    const { installation } = this;
    const request = await one.prepare(installation);
    const before = installation.proxy.times.length;
    const { callers: connections, workers } = one;
    const cold = await this.send({ ...one, expect: [200, COME_AGAIN] }, request, { workers, connections, maximum: connections });
    const asked = installation.proxy.times.slice(before);
    const app = asked.reduce((sum, time) => sum + time * 1000, 0);
    const hot = await this.send(one, request, { workers, connections, maximum: connections });
    const [p50, p99, max] = [cold.p50, cold.p99, cold.max].map((time) => time - app);
    return { p50, p99, max, hot: hot.p50, requests: asked.length, toldToWait: cold.statuses[COME_AGAIN] ?? 0 };
  }

  /** How long a scheduled run takes, in microseconds, with the way from this process and back. */
  async measureScheduled(one, name = one.worker) {
    await one.prepare(this.installation);
    const worker = await this.installation.runtime.miniflare.getWorker(name);
    const began = performance.now();
    const { outcome } = await worker.scheduled({ cron: "*/5 * * * *", scheduledTime: new Date() });
    if (outcome !== "ok") throw new Failure(`${one.name} ended with ${outcome}.`);
    return (performance.now() - began) * 1000;
  }

  /** What one call asks of bindings and apps: `{ before, all }`. A few calls first, so that an isolate has seen it. */
  async count(one) {
    for (let time = 0; time < 3; time += 1) await this.callCounting(one);
    await this.settledCounts();
    await this.callCounting(one);
    return this.settledCounts();
  }

  async callCounting(one) {
    if (one.kind === "scheduled") return this.measureScheduled(one, "counting");
    const request = one.kind === "load" ? await this.prepareOnce(one) : await one.prepare(this.installation);
    return this.send(one, request, { workers: ["counting"], connections: 1, maximum: 1 });
  }

  /** The counts, when what is done after the answer has ended. */
  async settledCounts() {
    await sleep(400);
    return JSON.parse((await this.installation.request("/bench/counts", {}, "counting")).text);
  }

  async prepareOnce(one) {
    if (!this.requests.has(one)) this.requests.set(one, await one.prepare(this.installation));
    return this.requests.get(one);
  }

  /** Runs the load generator. */
  async send(one, request, { workers = [one.worker], connections, maximum = 0 }) {
    const file = join(this.folder, "request");
    writeFileSync(file, request);
    const ports = workers.map((worker) => this.installation.runtime.ports[worker]).join(",");
    const { code, output } = await capture(this.loadGenerator, [ports, file, `${connections}`, `${this.seconds}`, `${maximum}`]);
    if (code !== 0) throw new Failure(`${one.name}: ${output}`);
    const result = JSON.parse(output);
    const expected = [one.expect ?? 200].flat().map(String);
    const unexpected = Object.keys(result.statuses).filter((status) => !expected.includes(status));
    if (unexpected.length > 0) throw new Failure(`${one.name} answered ${unexpected.join(", ")}: ${await this.explain(request, workers[0])}`);
    return result;
  }

  /** What the Worker answers to a request, to show it in an error. */
  async explain(request, worker) {
    const [head, body] = request.split("\r\n\r\n");
    const [line, ...headers] = head.split("\r\n");
    const [method, path] = line.split(" ");
    const fields = headers.map((header) => header.split(": ")).filter(([name]) => !["Host", "Content-Length"].includes(name));
    const { status, text } = await this.installation.request(path, { method, headers: fields, body: body || undefined }, worker);
    return `${status} ${text.slice(0, 500)}`;
  }
}

/** Sizes in bytes: of the Wasm file and of the JavaScript around it. */
export function measureSizes() {
  const read = (ending) => readFileSync(repoPath("dist", readdirSync(repoPath("dist")).find((file) => file.endsWith(ending))));
  const wasm = read(".wasm");
  const sizes = { Wasm: wasm, JavaScript: read("index.js") };
  return Object.entries(sizes).map(([name, bytes]) => ({ name, raw: bytes.length, gzip: gzipSync(bytes, { level: 9 }).length }));
}

/**
 * CPU time until the first answer, in microseconds, beyond that of a Worker that answers a constant: the median of some
 * starts of both. Undefined if the system cannot tell.
 */
export async function measureStart(folder, starts) {
  const differences = [];
  for (let start = 0; start < starts; start += 1) {
    const [ours, constant] = [await startOnce("connections", folder), await startOnce("bare-constant", folder)];
    if (ours === undefined) return undefined;
    differences.push(ours - constant);
  }
  return median(differences);

  async function startOnce(name) {
    const store = mkdtempSync(join(folder, "start-"));
    const variables = { ENCRYPTION_KEYS: `k1:${Buffer.alloc(32, 7).toString("base64")}`, ADMIN_KEY: "a-key-that-nobody-uses-for-anything" };
    const runtime = await startRuntime([name], { folder: store, variables });
    try {
      const answer = await fetch(`http://127.0.0.1:${runtime.ports[name]}/v1/connections/con_none/resolve`, { method: "POST", body: "{}" });
      await answer.text();
      return runtime.cpu();
    } finally {
      await runtime.close();
      rmSync(store, { recursive: true, force: true });
    }
  }
}

export function median(numbers) {
  const sorted = numbers.filter((one) => one !== undefined).sort((a, b) => a - b);
  return sorted.length === 0 ? undefined : (sorted[Math.floor((sorted.length - 1) / 2)] + sorted[Math.ceil((sorted.length - 1) / 2)]) / 2;
}
