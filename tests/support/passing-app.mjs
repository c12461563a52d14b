// Owns an app that tells how requests arrived: their bytes are hashed and counted, and broken ones are told from whole
// ones. It answers with any status, header and body that the address asks for, and accepts one access token at a time.

import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import { createServer } from "node:http";
import { gzipSync } from "node:zlib";

const PIECE = Buffer.alloc(65_536, "0123456789abcdef");

/** The hash of a body of so many bytes, as this app and its callers send them. */
export function hashOfBody(size) {
  const hash = createHash("sha256");
  for (const piece of piecesOf(size)) hash.update(piece);
  return hash.digest("hex");
}

/** The bytes of a body, in pieces. */
export function* piecesOf(size) {
  for (let at = 0; at < size; at += PIECE.length) yield PIECE.subarray(0, Math.min(PIECE.length, size - at));
}

/** Writes pieces as fast as the other side reads them, until it is gone. */
export async function writePieces(stream, size, ends = true) {
  for (const piece of piecesOf(size)) {
    if (stream.destroyed) return;
    if (!stream.write(piece)) await Promise.race([once(stream, "drain"), once(stream, "close")]);
  }
  if (ends) stream.end();
}

/**
 * Starts the app: `{ origin, definition, requests, token, refreshes, forget, close }`. A request in `requests` has `method`,
 * `url`, `headers`, `size`, `hash`, and `whole`, which says that its end arrived.
 */
export async function startPassingApp() {
  const app = { requests: [], refreshes: 0, token: "first-token" };
  const server = createServer(async (request, response) => {
    if (request.url === "/token") return refresh(request, response);
    const seen = { method: request.method, url: request.url, headers: request.headers, size: 0, whole: false, answered: false };
    app.requests.push(seen);
    response.on("close", () => Object.assign(seen, { answered: response.writableFinished, closed: true }));
    const asked = new URL(request.url, "http://localhost").searchParams;
    if (request.headers.authorization !== `Bearer ${app.token}` && !asked.has("open")) {
      request.resume();
      return response.writeHead(401, { "www-authenticate": 'Bearer error="invalid_token"' }).end("refused");
    }
    const hash = createHash("sha256");
    try {
      for await (const piece of request) {
        seen.size += piece.length;
        hash.update(piece);
      }
    } catch {
      return;
    }
    Object.assign(seen, { whole: request.complete, hash: hash.digest("hex") });
    await answer(asked, seen, response);
  });

  async function refresh(request, response) {
    for await (const _ of request);
    app.refreshes += 1;
    app.token = randomBytes(16).toString("hex");
    const body = { access_token: app.token, refresh_token: `refresh-${app.refreshes}`, token_type: "Bearer", expires_in: 3600 };
    response.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify(body));
  }

  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const origin = `http://localhost:${server.address().port}`;
  return Object.assign(app, {
    origin,
    definition: {
      id: "passing",
      name: "Passing",
      auth: { type: "oauth2", authorize_url: `${origin}/authorize`, token_url: `${origin}/token`, rotation: "strict" },
      scopes: ["read"],
      request: { base_url: `${origin}/api/` },
    },
    /** The token that callers have is refused from now on. */
    forget: () => (app.token = randomBytes(16).toString("hex")),
    close() {
      server.closeAllConnections();
      server.close();
    },
  });
}

async function answer(asked, seen, response) {
  const status = Number(asked.get("status") ?? 200);
  if (asked.has("gzip")) {
    const bytes = gzipSync("hello ".repeat(1000));
    return response.writeHead(200, { "content-type": "text/plain", "content-encoding": "gzip", "content-length": bytes.length }).end(bytes);
  }
  if (asked.has("size")) {
    const size = Number(asked.get("size"));
    response.writeHead(status, { "content-type": "application/octet-stream", ...(!asked.has("chunked") && { "content-length": size }) });
    return seen.method === "HEAD" ? response.end() : writePieces(response, size);
  }
  const headers = { "content-type": "application/json", "set-cookie": "a=b", "x-rate-limit": "7", etag: '"1"' };
  if (asked.has("location")) headers.location = asked.get("location");
  const { method, url, size, hash } = seen;
  response.writeHead(status, headers).end(status === 204 || status === 304 ? undefined : JSON.stringify({ method, url, size, hash }));
}
