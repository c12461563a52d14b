// Owns what the tests on the real runtime cannot send: requests and answers whose parts disagree, read by the JavaScript
// of the edge (`src/edge/glue.js`).

import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { allHeaderLines, batch, cached, discard, keepBody, passedResponse, requestBody, requestLines, response, responseLines } from "../../src/edge/glue.js";

const LIMIT = 8;

/** A request with a body in chunks, whatever length its header names. */
function createRequest({ headers = {}, chunks } = {}) {
  const state = { read: 0 };
  async function* body() {
    for (const text of chunks) {
      state.read += 1;
      yield new TextEncoder().encode(text);
    }
  }
  const whole = () => new TextEncoder().encode(chunks.join("")).buffer;
  return { state, method: "POST", url: "https://a.example/x?y", headers: new Headers(headers), body: chunks ? body() : null, arrayBuffer: async () => whole() };
}

/** How what was begun ends, as Rust is told. */
const settle = (begin, ...values) =>
  new Promise((resolve, reject) => {
    const number = 7;
    begin(...values, (told, isValue, outcome) => (told === number && isValue ? resolve(outcome) : reject(outcome)), number);
  });

const runBatch = (database, statements, values, milliseconds = 1000) => settle(batch, database, statements, values, milliseconds);

const readText = async (request) => {
  const bytes = await settle(requestBody, request, LIMIT);
  return bytes && new TextDecoder().decode(bytes);
};

suite("the body of a request", () => {
  test("is whole up to the limit, with and without a length", async () => {
    for (const headers of [{}, { "content-length": "8" }]) assert.equal(await readText(createRequest({ headers, chunks: ["1234", "5678"] })), "12345678");
    assert.equal(await readText(createRequest({ headers: { "content-length": "0" }, chunks: [] })), "");
  });

  test("is refused over the limit, whatever length was named", async () => {
    for (const length of ["9", "2", "", "x", "-1"]) {
      assert.equal(await readText(createRequest({ headers: { "content-length": length }, chunks: ["12345", "6789"] })), undefined, length);
    }
  });

  test("is not read on after the limit", async () => {
    const request = createRequest({ chunks: ["12345", "6789", "0", "1"] });
    assert.equal(await readText(request), undefined);
    assert.equal(request.state.read, 2);
  });
});

test("a request's headers are read as they were sent: empty, twice, with colons", () => {
  const request = createRequest({ headers: [["Authorization", "Bearer a:b:c"], ["X-B", ""], ["cookie", "a=1"], ["Cookie", "b=2"], ["Other", "no"]] });
  const names = ["authorization", "cookie", "origin", "x-b"];
  const cookies = request.headers.get("cookie");
  assert.equal(requestLines(request, names), `POST\nhttps://a.example/x?y\n\nauthorization:Bearer a:b:c\ncookie:${cookies}\nx-b:`);
  assert.equal(requestLines(createRequest({ chunks: [] }), []), "POST\nhttps://a.example/x?y\nbody");
});

test("an answer keeps each cookie apart, and a 204 has no body", async () => {
  const answer = response(200, "set-cookie:a=b; Path=/\nset-cookie:c=d:e\nx:", "", "text");
  assert.deepEqual(answer.headers.getSetCookie(), ["a=b; Path=/", "c=d:e"]);
  assert.equal(answer.headers.get("x"), "");
  assert.equal(answer.headers.get("x-request-id"), null);
  assert.equal(await answer.text(), "text");
  assert.equal(response(204, "x:y", "", "").body, null);
  assert.equal(response(304, "x:y", "", "").body, null);
  assert.throws(() => response(200, "x:a\rb", "", ""));
});

test("answers with the same headers have nothing else in common", () => {
  const answers = ["one", "two"].map((id) => response(200, "x:y", id, ""));
  answers[0].headers.set("x", "changed");
  assert.deepEqual(answers.map(({ headers }) => headers.get("x-request-id")), ["one", "two"]);
  assert.equal(answers[1].headers.get("x"), "y");
  const [first, second] = ["c=1", "c=2"].map((cookie) => response(200, `x:y\nset-cookie:${cookie}`, "", ""));
  assert.deepEqual([...first.headers.getSetCookie(), ...second.headers.getSetCookie()], ["c=1", "c=2"]);
});

suite("rows of the database", () => {
  const createDatabase = (results) => {
    const seen = [];
    return { seen, prepare: (sql) => ({ bind: (...values) => seen.push([sql, values]) }), batch: async () => results };
  };

  test("keep the order of their columns, nulls, NULs and the largest whole number", async () => {
    const row = { id: "a\u0000b", note: null, n: 2 ** 53, other: "\u2028☃" };
    const database = createDatabase([{ results: [row, { ...row, id: "c" }], meta: { changes: 2 } }, { meta: {} }, { results: [] }]);
    const values = [["a\u0000b", null, 9_007_199_254_740_992], [], []];
    const [first, ...empty] = JSON.parse(await runBatch(database, ["one", "two", "three"], JSON.stringify(values)));
    assert.deepEqual(database.seen, [["one", values[0]], ["two", []], ["three", []]]);
    assert.deepEqual(first, { columns: ["id", "note", "n", "other"], rows: [Object.values(row), ["c", ...Object.values(row).slice(1)]], changes: 2 });
    for (const rows of empty) assert.deepEqual(rows, { columns: [], rows: [], changes: 0 });
  });

  test("a statement that the database refuses rejects, and is not thrown", async () => {
    const broken = { prepare: () => { throw new Error("no such table"); } };
    await assert.rejects(runBatch(broken, ["one"], "[[]]"), /no such table/);
  });

  test("a batch that takes too long ends with nothing", (context) => {
    context.mock.timers.enable({ apis: ["setTimeout"] });
    const slow = { ...createDatabase(), batch: () => new Promise((resolve) => setTimeout(resolve, 40, [{ results: [] }])) };
    const told = [];
    batch(slow, ["one"], "[[]]", 5, (...outcome) => told.push(outcome), 1);
    context.mock.timers.tick(4);
    assert.deepEqual(told, []);
    context.mock.timers.tick(1);
    assert.deepEqual(told, [[1, true, undefined]]);
  });
});

test("entries of the cache come in the order of their names; an empty one is not a missing one", async () => {
  const namespace = { get: async () => new Map([["b", ""], ["a", "text"], ["c", null]]) };
  assert.deepEqual(JSON.parse(await settle(cached, namespace, '["a","b","c","d"]', 30, 1000)), ["text", "", null, null]);
});

suite("what passes through", () => {
  test("all headers of a request and of a response are read, with colons and empty values", () => {
    const headers = new Headers([
      ["B", "1:2"],
      ["a", ""],
    ]);
    assert.equal(allHeaderLines({ headers }), "a:\nb:1:2");
    assert.equal(responseLines({ status: 204, body: null, headers }), "204\n\na:\nb:1:2");
    assert.equal(responseLines({ status: 200, body: {}, headers: new Headers() }), "200\nbody\n");
  });

  test("a kept body is its bytes, and ending what has no body does nothing", async () => {
    const kept = await settle(keepBody, { arrayBuffer: async () => new Uint8Array([1, 2]).buffer });
    assert.deepEqual([...new Uint8Array(kept)], [1, 2]);
    let ended = 0;
    discard({ body: { cancel: async () => (ended += 1) } });
    for (const nothing of [kept, null, { body: null }]) discard(nothing);
    assert.equal(ended, 1);
  });

  test("an answer has its own headers, those of its lines, and no body where there is none", async () => {
    const answer = passedResponse(204, "a:1\nb:2:3", "id-1", null, false, 10);
    assert.deepEqual([...answer.headers], [["a", "1"], ["b", "2:3"], ["x-request-id", "id-1"]]);
    assert.equal(answer.body, null);
    const carrier = new Response("text");
    assert.equal(await passedResponse(200, "a:1", "id-2", carrier, false, 10).text(), "text");
  });
});
