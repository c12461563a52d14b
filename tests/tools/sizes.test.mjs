// Owns what `npm run sizes` says of a Wasm file: the size of each function, and the module that it belongs to.

import assert from "node:assert/strict";
import { test } from "node:test";
import { crateOf, modulePath, nameFunction, readFunctions, withoutNames } from "../../tools/sizes.mjs";

const text = (value) => [value.length, ...Buffer.from(value)];
const section = (id, ...body) => [id, body.length, ...body];

/** One imported function, and two with code: of 3 and of 4 bytes, with their length. */
const FILE = Buffer.from([
  ...[0, 0x61, 0x73, 0x6d, 1, 0, 0, 0],
  ...section(1, 1, 0x60, 0, 0),
  ...section(2, 1, ...text("env"), ...text("import"), 0, 0),
  ...section(3, 2, 0, 0),
  ...section(10, 2, 2, 0, 0x0b, 3, 0, 1, 0x0b),
  ...section(0, ...text("name"), 1, 26, 3, 0, ...text("import"), 1, ...text("one::first"), 2, ...text("two")),
]);

test("a function has the size of its code and the name after the imported ones", () => {
  assert.deepEqual(readFunctions(FILE), [
    { name: "one::first", size: 3 },
    { name: "two", size: 4 },
  ]);
});

test("a function is named by its number in a stack trace, which counts imported functions too", () => {
  assert.equal(nameFunction(FILE, 1), "one::first");
  assert.throws(() => nameFunction(FILE, 3), /no function 3/);
});

test("a file without names keeps everything else", () => {
  const small = withoutNames(FILE);
  assert.equal(small.length, FILE.length - 2 - 5 - 2 - 26);
  assert.ok(FILE.subarray(0, small.length).equals(small));
});

test("a function belongs to the module that defines it, an implementation to its type", () => {
  const modules = {
    "connections::vault::KeyRing::open": "connections::vault",
    "connections::http::run_route::{closure}": "connections::http",
    "<connections::timeout::Timeout<D,C> as connections::ports::Database>::batch::{closure}": "connections::timeout",
    "<serde_json::de::Deserializer<R> as serde_core::de::Deserializer>::deserialize_struct": "serde_json::de",
    "core::ptr::drop_in_place<connections::app::App>": "connections::app",
    "alloc::vec::Vec<T,A>::push": "alloc::vec",
    "<T as serde_core::de::Deserialize>::deserialize": "serde_core::de",
    memcpy: "(no module)",
  };
  for (const [name, expected] of Object.entries(modules)) assert.equal(modulePath(name), expected, name);
  assert.equal(crateOf("alloc::vec::Vec<T,A>::push"), "alloc");
});
