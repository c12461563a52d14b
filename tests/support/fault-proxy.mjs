// Owns faults between the Worker and an app: a reverse proxy for one address of the app. A test queues faults for the
// next requests, before or after the app has handled them. Without a queued fault it forwards everything unchanged.
// Never claims what the app did: the app's own log says that.

import { once } from "node:events";
import { createServer } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";

/**
 * Starts a proxy for the address `upstream`. `queueFault(fault)` sets what happens to the next request. `times` has the
 * milliseconds that each request took. `waitUntilIdle()` waits for running requests, also for those whose caller has
 * stopped waiting. `requestsElsewhere` counts requests that followed a redirect.
 */
export async function startFaultProxy(upstream) {
  const queuedFaults = [];
  const running = new Set();
  const proxy = { times: [], defaultFault: forwardUnchanged, requestsElsewhere: 0, queueFault: (fault) => queuedFaults.push(fault) };
  const elsewhere = await listen("127.0.0.1", (_, response) => {
    proxy.requestsElsewhere += 1;
    response.end("{}");
  });
  const listener = await listen("localhost", (request, response) => {
    const handled = handle(request, response).finally(() => running.delete(handled));
    running.add(handled);
  });

  async function handle(request, response) {
    const began = performance.now();
    const body = Buffer.concat(await Array.fromAsync(request));
    const fault = queuedFaults.shift() ?? proxy.defaultFault;
    await fault({ act: () => forward(upstream, request, body), response, elsewhere: elsewhere.url });
    proxy.times.push(performance.now() - began);
  }

  return Object.assign(proxy, {
    url: `${listener.url}${new URL(upstream).pathname}`,
    waitUntilIdle: () => Promise.all(running),
    close: () => Promise.all([listener.close(), elsewhere.close()]),
  });
}

async function forwardUnchanged({ act, response }) {
  send(response, await act());
}

/** The faults. After a fault that calls `act` first, the app has rotated the token. */
export const faults = {
  slowToAct: (ms) => async (at) => {
    await sleep(ms);
    await forwardUnchanged(at);
  },
  slowToAnswer: (ms) => async ({ act, response }) => {
    const answer = await act();
    await sleep(ms);
    send(response, answer);
  },
  /** Headers and half of the body, then the connection breaks. */
  brokenBody: async ({ act, response }) => {
    const { status, headers, body } = await act();
    // The connection must not be kept alive: the client would wait for the other half.
    response.writeHead(status, { ...headers, "content-length": body.length, connection: "close" });
    response.write(body.subarray(0, body.length / 2), () => response.destroy());
  },
  /** Half of the body, sent as a complete body. */
  halfBody: async ({ act, response }) => {
    const answer = await act();
    send(response, { ...answer, body: answer.body.subarray(0, answer.body.length / 2) });
  },
  noAnswer: async ({ act, response }) => {
    await act();
    response.destroy();
  },
  noConnection: async ({ response }) => response.destroy(),
  errorBefore: async ({ response }) => send(response, SERVER_ERROR),
  errorAfter: async ({ act, response }) => {
    await act();
    send(response, SERVER_ERROR);
  },
  tooMany: (seconds) => async ({ response }) =>
    send(response, { status: 429, headers: { "retry-after": String(seconds) }, body: Buffer.from("Slow down") }),
  htmlBefore: async ({ response }) => send(response, HTML_PAGE),
  htmlAfter: async ({ act, response }) => {
    await act();
    send(response, HTML_PAGE);
  },
  /** A redirect to another host, which accepts everything. */
  redirect: (status) => async ({ response, elsewhere }) => send(response, { status, headers: { location: `${elsewhere}/token` }, body: Buffer.of() }),
};

const SERVER_ERROR = { status: 500, headers: { "content-type": "text/html" }, body: Buffer.from("<h1>Internal Server Error</h1>") };
const HTML_PAGE = { status: 200, headers: { "content-type": "text/html" }, body: Buffer.from("<!doctype html><h1>Back soon</h1>") };

const send = (response, { status, headers, body }) => response.writeHead(status, headers).end(body);

async function forward(upstream, request, body) {
  const headers = Object.entries(request.headers).filter(([name]) => !HOP_BY_HOP.has(name));
  const answer = await fetch(upstream, { method: request.method, headers, body, redirect: "manual" });
  const kept = [...answer.headers].filter(([name]) => !HOP_BY_HOP.has(name));
  return { status: answer.status, headers: Object.fromEntries(kept), body: Buffer.from(await answer.arrayBuffer()) };
}

const HOP_BY_HOP = new Set(["connection", "host", "content-length", "transfer-encoding", "keep-alive"]);

async function listen(host, answer) {
  const server = createServer(answer).listen(0, host);
  await once(server, "listening");
  return {
    url: `http://${host}:${server.address().port}`,
    close: async () => {
      server.closeAllConnections();
      server.close();
      await once(server, "close");
    },
  };
}
