// Owns the static files on the real runtime: their headers, that the Worker does not run for them, and that they stand
// before nothing that the Worker answers.

import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, suite, test } from "node:test";
import { assetAddress } from "../../tools/assets.mjs";
import { PUBLIC_URL, ROOT, startInstallation } from "../support/installation.mjs";
import { Person } from "../support/person.mjs";

const TYPES = { css: "text/css; charset=utf-8", js: "text/javascript; charset=utf-8", svg: "image/svg+xml" };
/** What every static file has, also one without a hash in its address. */
const COMMON = {
  "content-security-policy": "default-src 'none'; frame-ancestors 'none'; base-uri 'none'",
  "cross-origin-opener-policy": "same-origin",
  "referrer-policy": "same-origin",
  "x-content-type-options": "nosniff",
  "x-frame-options": "DENY",
};

const read = (name) => readFileSync(join(ROOT, "assets", name));
const files = readdirSync(join(ROOT, "assets")).map((name) => ({ name, address: assetAddress(name, read(name)) }));

function assertHeaders(answer, expected, path) {
  for (const [name, value] of Object.entries({ ...COMMON, ...expected })) assert.equal(answer.headers.get(name), value, `${name} of ${path}`);
  // An answer of the Worker has one.
  assert.equal(answer.headers.get("x-request-id"), null, path);
}

suite("static files", () => {
  let installation;
  before(async () => (installation = await startInstallation()));
  after(() => installation.close());

  /** A request as it comes from outside: the platform looks for a file before the Worker is asked. */
  const request = (path, init) => installation.request(path, init, installation.server);

  test("each file has its content and type, and may be kept for ever", async () => {
    assert.ok(files.length >= 3);
    for (const { name, address } of files) {
      const answer = await request(address);
      assert.deepEqual([answer.status, answer.text], [200, read(name).toString()], address);
      const expected = {
        "content-type": TYPES[name.split(".")[1]],
        "cache-control": "public, max-age=31536000, immutable",
        "cross-origin-resource-policy": "same-origin",
      };
      assertHeaders(answer, expected, address);
    }
  });

  test("the pages name existing files only", async () => {
    const ada = await Person.createSignedIn(installation);
    for (const { html } of [await ada.get("/"), await new Person(installation).get("/connect/nothing")]) {
      const named = [...html.matchAll(/(?:href|src)="(\/assets\/[^"#]*)/g)].map(([, address]) => address);
      assert.ok(named.length >= 2, html);
      for (const address of named) assert.ok(files.some((file) => file.address === address), address);
    }
  });

  test("an unknown file is not found, and nobody keeps that answer", async () => {
    const [first] = files;
    for (const path of ["/assets/", "/assets/style.css", "/assets/style.000000000000.css", "/_headers", `${first.address}/`, "/style.css"]) {
      const { status, headers } = await request(path);
      assert.deepEqual([status, headers.get("cache-control")], [404, "no-store"], path);
    }
    assert.equal((await request(first.address, { method: "POST", body: "x" })).status, 405);
  });

  test("the API's description is the file of the repository, and is confirmed by its ETag", async () => {
    const answer = await request("/openapi.json");
    assert.equal(answer.status, 200);
    assert.deepEqual(JSON.parse(answer.text), JSON.parse(readFileSync(join(ROOT, "src/http/openapi.json"), "utf8")));
    assertHeaders(answer, { "content-type": "application/json; charset=utf-8", "cache-control": "public, max-age=0, must-revalidate" }, "/openapi.json");
    const etag = answer.headers.get("etag");
    assert.match(etag, /^"\w+"$/);
    const again = await request("/openapi.json", { headers: { "if-none-match": etag } });
    assert.deepEqual([again.status, again.text], [304, ""]);
    const head = await request("/openapi.json", { method: "HEAD" });
    assert.deepEqual([head.status, head.text, head.headers.get("etag")], [200, "", etag]);
    const written = await request("/openapi.json", { method: "POST", body: "x" });
    assert.equal(written.status, 405);
  });

  test("no route of the API or of the pages is answered by a file", async () => {
    const { paths } = JSON.parse(readFileSync(join(ROOT, "src/http/openapi.json"), "utf8"));
    const asked = Object.keys(paths).filter((path) => path !== "/openapi.json");
    assert.ok(asked.length > 40);
    for (const path of asked) {
      const { headers } = await request(path.replace(/\{\w+\}/g, "x"));
      assert.ok(headers.get("x-request-id"), path);
    }
  });

  test("files are served during maintenance, so that its page looks like the others", async () => {
    await installation.restart({ vars: { PUBLIC_URL, DEV_LOOPBACK: "1", MAINTENANCE: "1" } });
    assert.equal((await request("/")).status, 503);
    for (const { address } of files) assert.equal((await request(address)).status, 200, address);
  });
});
