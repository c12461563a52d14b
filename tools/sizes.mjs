// Owns `npm run sizes`: what the Wasm file of the built Worker consists of. Prints the sizes of its sections, the code of
// each crate and of each module of ours, and the largest functions; with --function, the name of a function by its number
// in a stack trace. Reads the file with names that the build leaves in build/. Changes nothing.

import { existsSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { gzipSync } from "node:zlib";
import { Failure, main, repoPath, say } from "./bootstrap.mjs";

/** The Wasm file as it was compiled. What is uploaded has no names. */
export const NAMED = repoPath("build/names.wasm");

const SECTIONS = ["custom", "type", "import", "function", "table", "memory", "global", "export", "start", "element", "code", "data", "data count", "tag"];
const IMPORT = 2;
const CODE = 10;
const LARGEST = 40;
/** Modules are shown to this depth: `connections::http::page`. */
const DEPTH = 3;

/** Reads bytes and LEB128 numbers one after the other. */
class Reader {
  constructor(bytes, at = 0) {
    Object.assign(this, { bytes, at });
  }

  byte() {
    return this.bytes[this.at++];
  }

  number() {
    let [value, shift, byte] = [0, 0, 0];
    do {
      byte = this.byte();
      value += (byte & 0x7f) * 2 ** shift;
      shift += 7;
    } while (byte & 0x80);
    return value;
  }

  text() {
    const length = this.number();
    return Buffer.from(this.bytes.subarray(this.at, (this.at += length))).toString("utf8");
  }

  limits() {
    const flags = this.byte();
    this.number();
    if (flags & 1) this.number();
  }
}

/** The sections of a Wasm file: `{ id, name, start, body, end }`. */
export function readSections(bytes) {
  const reader = new Reader(bytes, 8);
  const sections = [];
  while (reader.at < bytes.length) {
    const start = reader.at;
    const id = reader.byte();
    const length = reader.number();
    const end = reader.at + length;
    const body = id === 0 ? new Reader(bytes, reader.at) : undefined;
    const name = id === 0 ? body.text() : SECTIONS[id];
    sections.push({ id, name, start, body: body?.at ?? reader.at, end });
    reader.at = end;
  }
  return sections;
}

/** The same file without the names of functions and variables. */
export function withoutNames(bytes) {
  const kept = readSections(bytes).filter(({ id, name }) => !(id === 0 && name === "name"));
  return Buffer.concat([bytes.subarray(0, 8), ...kept.map(({ start, end }) => bytes.subarray(start, end))]);
}

/** How many functions the file imports: the names count them first. */
function countImportedFunctions(bytes, section) {
  const reader = new Reader(bytes, section.body);
  let functions = 0;
  for (let left = reader.number(); left > 0; left -= 1) {
    reader.text();
    reader.text();
    const kind = reader.byte();
    if (kind === 0) {
      reader.number();
      functions += 1;
    } else if (kind === 1) {
      reader.byte();
      reader.limits();
    } else if (kind === 2) {
      reader.limits();
    } else {
      // A global has a type and whether it changes; a tag has an attribute and a type.
      reader.byte();
      reader.number();
    }
  }
  return functions;
}

/** Names of functions by index. */
function readFunctionNames(bytes, section) {
  const names = new Map();
  const reader = new Reader(bytes, section.body);
  while (reader.at < section.end) {
    const kind = reader.byte();
    const length = reader.number();
    const end = reader.at + length;
    if (kind === 1) {
      for (let left = reader.number(); left > 0; left -= 1) {
        const index = reader.number();
        names.set(index, reader.text());
      }
    }
    reader.at = end;
  }
  return names;
}

/** All functions of a file that have code: `[{ name, size }]`. */
export function readFunctions(bytes) {
  const sections = readSections(bytes);
  const find = (wanted) => sections.find(({ name }) => name === wanted);
  if (!find("name")) throw new Failure("The Wasm file has no names of functions.");
  const names = readFunctionNames(bytes, find("name"));
  const imported = find(SECTIONS[IMPORT]) ? countImportedFunctions(bytes, find(SECTIONS[IMPORT])) : 0;
  const reader = new Reader(bytes, find(SECTIONS[CODE]).body);
  const functions = [];
  const count = reader.number();
  for (let index = 0; index < count; index += 1) {
    const start = reader.at;
    const length = reader.number();
    reader.at += length;
    functions.push({ name: shorten(names.get(imported + index) ?? `function ${index}`), size: reader.at - start });
  }
  return functions;
}

/** A name without hashes: `dlmalloc[1f2e…]::malloc::h0123…` becomes `dlmalloc::malloc`. */
const shorten = (name) =>
  name
    .replace(/\[[0-9a-f]{8,16}\]/g, "")
    .replace(/::h[0-9a-f]{16}/g, "")
    .replaceAll("{{closure}}", "{closure}");

/**
 * The module that a function belongs to. What is made for a type of ours (an implementation, a drop) belongs to that type.
 */
export function modulePath(name) {
  const ours = /\bconnections::\w+(::\w+)*/.exec(name)?.[0];
  const path = ours ?? /[a-z_]\w*(::\w+)+/.exec(name)?.[0];
  if (!path) return "(no module)";
  // Types begin with a capital letter. Without a type, the last part is the function itself.
  const parts = path.split("::");
  const type = parts.findIndex((part) => /^[A-Z]/.test(part));
  return parts.slice(0, type < 0 ? -1 : type).filter((part) => part !== "_").join("::");
}

export const crateOf = (name) => modulePath(name).split("::")[0];

function sumBy(functions, keyOf) {
  const sums = new Map();
  for (const { name, size } of functions) {
    const key = keyOf(name);
    const sum = sums.get(key) ?? { size: 0, count: 0 };
    sums.set(key, { size: sum.size + size, count: sum.count + 1 });
  }
  return [...sums].map(([key, sum]) => ({ key, ...sum })).sort((a, b) => b.size - a.size);
}

function printSums(title, sums, whole) {
  say(`\n| ${title} | KiB | share | functions |\n|---|---:|---:|---:|`);
  for (const { key, size, count } of sums) say(`| ${key} | ${kib(size)} | ${((100 * size) / whole).toFixed(1)} % | ${count} |`);
}

const kib = (bytes) => (bytes / 1024).toFixed(1);
const gzipped = (bytes) => gzipSync(bytes, { level: 9 }).length;

function readNamed() {
  if (!existsSync(NAMED)) throw new Failure("There is no built Worker. Build it first: npm run build");
  return readFileSync(NAMED);
}

/** The name of a function by its number, which counts the imported functions too. */
export function nameFunction(bytes, number) {
  const section = readSections(bytes).find(({ name }) => name === "name");
  const name = section && readFunctionNames(bytes, section).get(number);
  if (!name) throw new Failure(`The build has no function ${number}. Build the version that wrote the stack trace.`);
  return shorten(name);
}

function runCommand() {
  const { values } = parseArgs({ options: { function: { type: "string" } } });
  if (values.function === undefined) return report();
  say(nameFunction(readNamed(), Number(values.function)));
}

function report() {
  const bytes = readNamed();
  const small = withoutNames(bytes);
  say(`\n| file | KiB | gzip, KiB |\n|---|---:|---:|`);
  say(`| Wasm with names | ${kib(bytes.length)} | ${kib(gzipped(bytes))} |`);
  say(`| Wasm, as uploaded | ${kib(small.length)} | ${kib(gzipped(small))} |`);
  say("\n| section | KiB | gzip, KiB |\n|---|---:|---:|");
  for (const { name, start, end } of readSections(bytes)) {
    if (end - start >= 1024) say(`| ${name} | ${kib(end - start)} | ${kib(gzipped(bytes.subarray(start, end)))} |`);
  }
  const functions = readFunctions(bytes);
  const whole = functions.reduce((sum, { size }) => sum + size, 0);
  printSums("crate", sumBy(functions, crateOf).filter(({ size }) => size >= 1024), whole);
  const ours = functions.filter(({ name }) => crateOf(name) === "connections");
  const shallow = (name) => modulePath(name).split("::").slice(0, DEPTH).join("::");
  printSums("module of ours", sumBy(ours, shallow).filter(({ size }) => size >= 1024), whole);
  say(`\n| the ${LARGEST} largest functions | KiB |\n|---|---:|`);
  for (const { name, size } of functions.sort((a, b) => b.size - a.size).slice(0, LARGEST)) say(`| \`${name.replaceAll("|", "\\|")}\` | ${kib(size)} |`);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) await main(runCommand);
