// Owns the rule which address a static file has. src/http/assets.rs holds the program to the same rule.

import assert from "node:assert/strict";
import { test } from "node:test";
import { assetAddress, findMissing } from "../../tools/assets.mjs";

test("an address has the first twelve digits of the content's SHA-256", () => {
  assert.equal(assetAddress("app.css", "body { margin: 0; }\n"), "/assets/app.eac0e790573f.css");
});

test("a build finds addresses of the program that no file has", () => {
  const style = assetAddress("style.css", "");
  const program = (...addresses) => Buffer.from(`\0asm…${addresses.join("")}\xff`);
  assert.deepEqual(findMissing(program(style, "/assets/not-hashed.css"), [style]), []);
  assert.deepEqual(findMissing(program(style, "/assets/app.0123456789ab.js", style), [style]), ["/assets/app.0123456789ab."]);
  assert.deepEqual(findMissing(program(`${style}next`, "svgtext"), [style]), [], "texts stand without a gap");
  assert.deepEqual(findMissing(program(), []), []);
});
