// Owns the steps that cross between the platform and Wasm most often, so that each of them is one crossing with one text.
// Refuses decisions: what a request means and what an answer says is decided in Rust.
//
// What takes time tells a function of Rust how it ended: `settle(number, true, value)` or `settle(number, false, error)`.

// Rust runs its tasks by this function. The runtime's own makes an object for each of them; a settled promise does not.
const settled = Promise.resolve();
globalThis.queueMicrotask = (task) => void settled.then(task);

const follow = (promise, settle, number) =>
  void promise.then(
    (value) => settle(number, true, value),
    (error) => settle(number, false, error),
  );

/** The same, with undefined after so many milliseconds. What settles later than that finds nobody who waits. */
function followWithin(milliseconds, promise, settle, number) {
  const timer = setTimeout(() => settle(number, true, undefined), milliseconds);
  const end = (isValue, outcome) => {
    clearTimeout(timer);
    settle(number, isValue, outcome);
  };
  promise.then(
    (value) => end(true, value),
    (error) => end(false, error),
  );
}

/**
 * What is read of a request, as lines: its method, its URL, "body" if it has one, then `name:value` for each of the named
 * headers that was sent. No header value and no URL holds a line break (RFC 9110 5.5).
 */
export function requestLines(request, names) {
  let lines = `${request.method}\n${request.url}\n${request.body === null ? "" : "body"}`;
  const headers = request.headers;
  for (const name of names) {
    const value = headers.get(name);
    if (value !== null) lines += `\n${name}:${value}`;
  }
  return lines;
}

/**
 * The bytes of a request's body; undefined where it is longer than the limit. A body on a connection is never longer than
 * the length that the request names. That of another Worker may be.
 */
export const requestBody = (request, limit, settle, number) => follow(readBody(request, limit), settle, number);

async function readBody(request, limit) {
  const length = request.headers.get("content-length");
  if (length !== null) {
    if (Number(length) > limit) return undefined;
    const bytes = new Uint8Array(await request.arrayBuffer());
    return bytes.length > limit ? undefined : bytes;
  }
  const chunks = [];
  let size = 0;
  for await (const chunk of request.body) {
    size += chunk.length;
    if (size > limit) return undefined;
    chunks.push(chunk);
  }
  return new Uint8Array(await new Blob(chunks).arrayBuffer());
}

/** Headers by their lines: most answers have the same ones. */
const known = new Map();
const MOST_KNOWN = 50;
const OF_ONE_ANSWER = /^(?:set-cookie|location|etag):/m;

function readHeaders(lines) {
  const headers = new Headers();
  for (const line of lines.split("\n")) {
    const colon = line.indexOf(":");
    headers.append(line.slice(0, colon), line.slice(colon + 1));
  }
  return headers;
}

function headersOf(lines) {
  const found = known.get(lines);
  if (found) return found;
  const headers = readHeaders(lines);
  if (!OF_ONE_ANSWER.test(lines)) {
    if (known.size >= MOST_KNOWN) known.clear();
    known.set(lines, headers);
  }
  return headers;
}

/**
 * An answer. Its headers are `name:value` lines; one name may come several times. `id` is the value of `x-request-id`. A
 * 204 and a 304 have no body (Fetch, "null body status").
 */
export function response(status, headers, id, body) {
  const answer = new Response(status === 204 || status === 304 ? null : body, { status, headers: headersOf(headers) });
  if (id !== "") answer.headers.set("x-request-id", id);
  return answer;
}

// Bodies that pass through. A body is named by what carries it: a request, a response, or its bytes if it was kept.

/** All headers of a request, as `name:value` lines. */
export const allHeaderLines = (request) => headerLinesOf(request.headers);

function headerLinesOf(headers) {
  let lines = "";
  for (const [name, value] of headers) lines += `${lines === "" ? "" : "\n"}${name}:${value}`;
  return lines;
}

const bodyOf = (carrier) => (carrier instanceof ArrayBuffer ? carrier : (carrier?.body ?? null));

export const keepBody = (carrier, settle, number) => follow(carrier.arrayBuffer(), settle, number);

export const discard = (carrier) => void bodyOf(carrier)?.cancel?.().catch(() => {});

/** Bytes that are moved at once where they are counted. */
const PIECE = 65_536;

/**
 * The same bytes, up to the limit, for a body whose length nobody names. `fail` is told where they do not end well: there are
 * more, or they break off. Whoever receives them has to break off too, because an end in chunks looks like any other end.
 */
function limited(body, limit, fail) {
  const { readable, writable } = new IdentityTransformStream();
  const writer = writable.getWriter();
  move(readerOf(body), writer, limit).catch((error) => fail(error, writer));
  return readable;
}

/** Reads into one piece of memory again and again, where the body can. */
function readerOf(body) {
  try {
    const reader = body.getReader({ mode: "byob" });
    let piece = new ArrayBuffer(PIECE);
    return {
      read: () => reader.read(new Uint8Array(piece)),
      written: ({ buffer }) => (piece = buffer),
      cancel: (error) => reader.cancel(error),
    };
  } catch {
    const reader = body.getReader();
    return { read: () => reader.read(), written: () => {}, cancel: (error) => reader.cancel(error) };
  }
}

async function move(reader, writer, limit) {
  try {
    for (let size = 0; ; ) {
      const { value, done } = await reader.read();
      if (done) return await writer.close();
      size += value.byteLength;
      if (size > limit) throw new RangeError("too large");
      await writer.write(value);
      reader.written(value);
    }
  } catch (error) {
    reader.cancel(error).catch(() => {});
    throw error;
  }
}

/**
 * Sends a request: settles with the response once its headers are there, or with the text "timeout" or "too_large". Of the
 * response's body nothing is read, and nothing is decoded.
 */
export const pass = (url, method, headerLines, carrier, length, limit, milliseconds, settle, number) =>
  follow(sendThrough(url, method, headerLines, carrier, length, limit, milliseconds), settle, number);

async function sendThrough(url, method, headerLines, carrier, length, limit, milliseconds) {
  const broken = new AbortController();
  let body = bodyOf(carrier);
  // An app that gets no end of the request does not take what it has for all of it.
  if (body !== null && length < 0) body = limited(body, limit, (error) => broken.abort(error));
  const signal = AbortSignal.any([AbortSignal.timeout(milliseconds), broken.signal]);
  try {
    const headers = readHeaders(headerLines);
    return await fetch(url, { method, headers, body, signal, redirect: "manual", encodeResponseBody: "manual" });
  } catch (error) {
    if (broken.signal.reason instanceof RangeError) return "too_large";
    if (error?.name === "TimeoutError") return "timeout";
    throw error;
  }
}

/** A response as lines: its status, "body" if it has one, then its headers. */
export const responseLines = (response) => `${response.status}\n${response.body === null ? "" : "body"}\n${headerLinesOf(response.headers)}`;

/** An answer with the body of an app's response. */
export function passedResponse(status, headerLines, id, carrier, isCounted, limit) {
  const headers = readHeaders(headerLines);
  headers.set("x-request-id", id);
  const given = bodyOf(carrier);
  const body = given !== null && isCounted ? limited(given, limit, (error, writer) => writer.abort(error).catch(() => {})) : given;
  return new Response(body, { status, headers, encodeBody: "manual" });
}

/**
 * Runs statements in one transaction. Values are JSON: one list for each statement. So is what comes out; the rows of a
 * statement share the names of their columns.
 */
export const batch = (database, statements, values, milliseconds, settle, number) =>
  followWithin(milliseconds, runBatch(database, statements, values), settle, number);

async function runBatch(database, statements, values) {
  const lists = JSON.parse(values);
  const results = await database.batch(statements.map((sql, index) => database.prepare(sql).bind(...lists[index])));
  return JSON.stringify(results.map(statementResult));
}

function statementResult({ results, meta }) {
  const rows = results ?? [];
  const columns = rows.length === 0 ? [] : Object.keys(rows[0]);
  return { columns, rows: rows.map((row) => Object.values(row)), changes: meta?.changes ?? 0 };
}

/** Writes a data point: blobs as lines, and one number. What fails is lost. */
export function writeDataPoint(dataset, index, blobs, milliseconds) {
  try {
    dataset.writeDataPoint({ indexes: [index], blobs: blobs.split("\n"), doubles: [milliseconds] });
  } catch {
    // Nobody waits for it.
  }
}

/** The values under several keys of a KV namespace, as a JSON list; null where there is none. */
export const cached = (namespace, keys, cacheTtl, milliseconds, settle, number) =>
  followWithin(milliseconds, readCached(namespace, keys, cacheTtl), settle, number);

async function readCached(namespace, keys, cacheTtl) {
  const names = JSON.parse(keys);
  const found = await namespace.get(names, { type: "text", cacheTtl });
  return JSON.stringify(names.map((name) => found.get(name) ?? null));
}

/** Sends an e-mail, as JSON. */
export const sendEmail = (binding, email, milliseconds, settle, number) =>
  followWithin(milliseconds, sendOne(binding, email), settle, number);

async function sendOne(binding, email) {
  await binding.send(JSON.parse(email));
  return true;
}

/** The code of an error, without its text: that may name an address. */
export const errorCode = (error) => String(error?.code ?? "").slice(0, 60);

/** Sends messages to a queue: their bodies, as a JSON list. */
export const send = (queue, bodies, milliseconds, settle, number) =>
  followWithin(milliseconds, sendAll(queue, bodies), settle, number);

async function sendAll(queue, bodies) {
  await queue.sendBatch(JSON.parse(bodies).map((body) => ({ body })));
  return true;
}
