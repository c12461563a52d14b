// Owns what the tests on the real runtime cannot send: requests and answers whose parts disagree, read by the JavaScript
// of the edge (`src/edge/glue.js`).

import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { batch, cached, requestBody, requestLines, response } from "../../src/edge/glue.js";

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

const readText = async (request) => {
  const bytes = await requestBody(request, LIMIT);
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
  const answer = response(200, "set-cookie:a=b; Path=/\nset-cookie:c=d:e\nx:", "text");
  assert.deepEqual(answer.headers.getSetCookie(), ["a=b; Path=/", "c=d:e"]);
  assert.equal(answer.headers.get("x"), "");
  assert.equal(await answer.text(), "text");
  assert.equal(response(204, "x:y", "").body, null);
  assert.equal(response(304, "x:y", "").body, null);
  assert.throws(() => response(200, "x:a\rb", ""));
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
    const [first, ...empty] = JSON.parse(await batch(database, ["one", "two", "three"], JSON.stringify(values)));
    assert.deepEqual(database.seen, [["one", values[0]], ["two", []], ["three", []]]);
    assert.deepEqual(first, { columns: ["id", "note", "n", "other"], rows: [Object.values(row), ["c", ...Object.values(row).slice(1)]], changes: 2 });
    for (const rows of empty) assert.deepEqual(rows, { columns: [], rows: [], changes: 0 });
  });

  test("a statement that the database refuses rejects, and is not thrown", async () => {
    const broken = { prepare: () => { throw new Error("no such table"); } };
    await assert.rejects(batch(broken, ["one"], "[[]]"), /no such table/);
  });
});

test("entries of the cache come in the order of their names; an empty one is not a missing one", async () => {
  const namespace = { get: async () => new Map([["b", ""], ["a", "text"], ["c", null]]) };
  assert.deepEqual(JSON.parse(await cached(namespace, '["a","b","c","d"]', 30)), ["text", "", null, null]);
});
