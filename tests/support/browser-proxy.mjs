// Owns the address at which a real browser reaches the Worker and its static files. The port is known before the Worker starts, because
// PUBLIC_URL must contain it. Requests and answers pass unchanged, with cookies and redirects. Text is compressed for those who accept
// it, as Cloudflare does it, so that a browser counts the bytes that people load.

import { once } from "node:events";
import { createServer } from "node:http";
import { gzipSync } from "node:zlib";

/**
 * Listens on a free port: `{ url, forwardTo(server), intercept(path), holdNextPage(cut), close() }`. Requests are answered
 * after `forwardTo` was called. `intercept` stops the next request whose path begins with `path`, and resolves with its
 * address. `holdNextPage` sends the next page as far as `cut(html)` says, and the rest when the function that it returns is
 * called: as on a slow line.
 */
export async function startBrowserProxy() {
  let behind, intercepted, held;
  const server = createServer(async (request, response) => {
    try {
      if (intercepted && request.url.startsWith(intercepted.path)) {
        intercepted.resolve(`${url}${request.url}`);
        intercepted = undefined;
        return response.writeHead(204).end();
      }
      const answer = await behind.fetch(`${url}${request.url}`, await toFetchOptions(request));
      const body = Buffer.from(await answer.arrayBuffer());
      const isText = /^(text\/|application\/(javascript|json)|image\/svg)/.test(answer.headers.get("content-type") ?? "");
      if (held && /^text\/html/.test(answer.headers.get("content-type") ?? "")) return await sendInTwo(response, answer, body);
      const isAccepted = /\bgzip\b/.test(request.headers["accept-encoding"] ?? "");
      if (!isText || !isAccepted || body.length === 0) return response.writeHead(answer.status, copyHeaders(answer)).end(body);
      response.writeHead(answer.status, { ...copyHeaders(answer), "content-encoding": "gzip" }).end(gzipSync(body));
    } catch (error) {
      response.writeHead(502).end(String(error));
    }
  }).listen(0, "localhost");
  async function sendInTwo(response, answer, body) {
    const { cut, rest } = held;
    held = undefined;
    const first = Buffer.byteLength(cut(String(body)));
    response.writeHead(answer.status, copyHeaders(answer)).write(body.subarray(0, first));
    await rest;
    response.end(body.subarray(first));
  }
  await once(server, "listening");
  const url = `http://localhost:${server.address().port}`;
  return {
    url,
    forwardTo: (to) => (behind = to),
    intercept: (path) => new Promise((resolve) => (intercepted = { path, resolve })),
    holdNextPage: (cut) => {
      const { promise, resolve } = Promise.withResolvers();
      held = { cut, rest: promise };
      return resolve;
    },
    close: async () => {
      server.closeAllConnections();
      server.close();
      await once(server, "close");
    },
  };
}

async function toFetchOptions(request) {
  const chunks = await Array.fromAsync(request);
  const headers = Object.entries(request.headers).filter(([name]) => !HOP_BY_HOP.has(name));
  return { method: request.method, headers, body: chunks.length > 0 ? Buffer.concat(chunks) : undefined, redirect: "manual" };
}

function copyHeaders(answer) {
  const headers = [...answer.headers].filter(([name]) => name !== "set-cookie" && name !== "content-length" && name !== "content-encoding");
  const cookies = answer.headers.getSetCookie();
  return { ...Object.fromEntries(headers), ...(cookies.length > 0 && { "set-cookie": cookies }) };
}

const HOP_BY_HOP = new Set(["connection", "host", "content-length", "transfer-encoding", "keep-alive"]);
