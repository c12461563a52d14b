// What a tool does before it installs npm packages.

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { chmodSync, copyFileSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, join } from "node:path";
import { after, test } from "node:test";

import { repoPath } from "../../tools/bootstrap.mjs";

const folder = mkdtempSync(join(tmpdir(), "connections-bootstrap-"));
after(() => rmSync(folder, { recursive: true, force: true }));

/** A clone with this tool alone, and an npm that notes that it was called. */
function makeClone(name) {
  const clone = join(folder, name);
  mkdirSync(join(clone, "tools"), { recursive: true });
  mkdirSync(join(clone, "bin"));
  copyFileSync(repoPath("tools/bootstrap.mjs"), join(clone, "tools/bootstrap.mjs"));
  writeFileSync(join(clone, "package-lock.json"), "{}");
  writeFileSync(join(clone, "bin/npm"), '#!/bin/sh\necho "$@" >> npm-calls\n');
  chmodSync(join(clone, "bin/npm"), 0o755);
  return clone;
}

/** Runs `ensureNpm` there. */
function install(clone) {
  const script = 'import("./tools/bootstrap.mjs").then(({ main, ensureNpm }) => main(ensureNpm))';
  const env = { ...process.env, PATH: [join(clone, "bin"), process.env.PATH].join(delimiter) };
  return spawnSync(process.execPath, ["-e", script], { cwd: clone, env, encoding: "utf8", timeout: 60_000 });
}

const calls = (clone) => (existsSync(join(clone, "npm-calls")) ? readFileSync(join(clone, "npm-calls"), "utf8").trim().split("\n") : []);

test("a linked node_modules is refused before npm could empty the folder behind it", () => {
  const clone = makeClone("linked");
  const other = join(folder, "other/node_modules");
  mkdirSync(other, { recursive: true });
  writeFileSync(join(other, "package.txt"), "kept");
  symlinkSync(other, join(clone, "node_modules"));
  const { status, stderr } = install(clone);
  assert.equal(status, 1);
  assert.match(stderr, /node_modules is a link to .*other\/node_modules/);
  assert.match(stderr, /rm .*linked\/node_modules/);
  assert.doesNotMatch(stderr, /at .*bootstrap\.mjs/, "no stack");
  assert.deepEqual(calls(clone).filter((call) => call.startsWith("ci")), []);
  assert.equal(readFileSync(join(other, "package.txt"), "utf8"), "kept");
});

test("a link to a folder that is gone is refused, too", () => {
  const clone = makeClone("dangling");
  symlinkSync(join(folder, "nowhere"), join(clone, "node_modules"));
  const { status, stderr } = install(clone);
  assert.equal(status, 1);
  assert.match(stderr, /is a link to/);
});

test("without a link npm is called", () => {
  const clone = makeClone("plain");
  const { stderr } = install(clone);
  // This npm installs nothing, and the tool says so.
  assert.match(stderr, /npm did not install Node 22/);
  assert.equal(calls(clone).filter((call) => call.startsWith("ci")).length, 1);
});
