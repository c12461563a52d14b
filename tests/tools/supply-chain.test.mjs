// Owns the proof that the lock files pin every package by a hash, from one registry each, that no tool names a
// registry's host, that workflows name actions by commit, and that `npm run audit` never reports a check as passed that
// could not run. No registry is used.

import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { suite, test } from "node:test";
import { judgeCheck, summarize } from "../../tools/audit.mjs";
import { repoPath } from "../../tools/bootstrap.mjs";

const read = (...parts) => readFileSync(repoPath(...parts), "utf8");
const CRATES_IO = "registry+https://github.com/rust-lang/crates.io-index";

suite("the lock files", () => {
  test("Cargo.lock has each crate from crates.io with a checksum, and nothing else but this program", () => {
    const packages = read("Cargo.lock").split("[[package]]\n").slice(1);
    const field = (text, name) => new RegExp(`^${name} = "([^"]*)"$`, "m").exec(text)?.[1];
    assert.ok(packages.length > 100, "the lock file was read");
    const unpinned = packages.filter((text) => field(text, "source") !== CRATES_IO || !/^[0-9a-f]{64}$/.test(field(text, "checksum") ?? ""));
    assert.deepEqual(unpinned.map((text) => field(text, "name")), ["connections"]);
  });

  test("Cargo.lock has none of the crates that deny.toml bans: MD5, another TLS or HTTP client", () => {
    const banned = [...read("deny.toml").matchAll(/\{ crate = "([^"]+)", reason = /g)].map(([, name]) => name).filter((name) => !name.includes("@"));
    for (const name of ["md5", "openssl"]) assert.ok(banned.includes(name), name);
    const names = [...read("Cargo.lock").matchAll(/^name = "([^"]+)"$/gm)].map(([, name]) => name);
    assert.deepEqual(names.filter((name) => banned.includes(name)), []);
    // Some apps sign their events with HMAC-SHA-1: the program verifies that, and no library uses it.
    const users = read("Cargo.lock").split("[[package]]").filter((one) => /^ "sha1",$/m.test(one));
    assert.deepEqual(users.map((one) => /^name = "([^"]+)"$/m.exec(one)[1]), ["connections"]);
  });

  test("package-lock.json has a SHA-512 for each package, also for those of other platforms", () => {
    const { packages, lockfileVersion } = JSON.parse(read("package-lock.json"));
    assert.equal(lockfileVersion, 3);
    const all = Object.entries(packages).filter(([path]) => path !== "");
    assert.ok(all.length > 100, "the lock file was read");
    const unpinned = all.filter(([, { integrity, link }]) => link || !/^sha512-[A-Za-z0-9+/]{86}==$/.test(integrity ?? ""));
    assert.deepEqual(unpinned.map(([path]) => path), []);
  });

  test("package.json names exact versions, and only npm's registry can provide them", () => {
    const { dependencies, devDependencies, overrides } = JSON.parse(read("package.json"));
    assert.equal(dependencies, undefined, "the Worker has no npm package");
    assert.equal(overrides, undefined);
    for (const [name, version] of Object.entries(devDependencies)) assert.match(version, /^\d+\.\d+\.\d+$/, name);
  });

  test("install scripts run for the packages that package.json names, and those alone", () => {
    const { packages } = JSON.parse(read("package-lock.json"));
    const { allowScripts } = JSON.parse(read("package.json"));
    const withScripts = Object.entries(packages).filter(([, one]) => one.hasInstallScript && !one.optional).map(([path]) => path.replace("node_modules/", ""));
    assert.deepEqual(withScripts.sort(), Object.keys(allowScripts).sort());
  });

  test("Python packages have exact versions", () => {
    const lines = read("tests/support/django/requirements.txt").split("\n").filter((line) => line && !line.startsWith("#"));
    assert.ok(lines.length > 0);
    for (const line of lines) assert.match(line, /^[A-Za-z0-9._-]+==[A-Za-z0-9.+!]+$/);
  });
});

test("no tool and no lock file names a registry's host", () => {
  const HOSTS = /registry\.(npmjs|yarnpkg)|npmjs\.org|static\.crates\.io|index\.crates\.io|pypi\.org|pythonhosted|artifactory|github\.com\/[^/]+\/[^/]+\/releases/;
  const scripts = (folder) => readdirSync(repoPath(folder), { recursive: true }).filter((name) => /\.(mjs|js|json|txt|toml|py)$/.test(name)).map((name) => join(folder, name));
  const files = ["Cargo.lock", "Cargo.toml", "package-lock.json", "package.json", ".npmrc", "deny.toml", "rust-toolchain.toml", ...scripts("tools"), ...scripts("tests/support/django")];
  assert.ok(files.length > 15);
  assert.deepEqual(files.filter((file) => HOSTS.test(read(file))), []);
});

test("a workflow names each action by commit, with its version in a comment", () => {
  const workflows = readdirSync(repoPath(".github/workflows")).map((name) => read(".github/workflows", name));
  const uses = workflows.flatMap((text) => [...text.matchAll(/^.*\buses: *(.+)$/gm)].map(([, action]) => action));
  assert.ok(uses.length >= workflows.length);
  assert.deepEqual(uses.filter((action) => !/^[\w-]+\/[\w-]+@[0-9a-f]{40}$/.test(action)), []);
  for (const text of workflows) assert.equal(text.match(/^ *# v\d+\.\d+\.\d+$/gm)?.length, text.match(/\buses:/g).length);
});

suite("npm run audit", () => {
  const passed = { state: "passed" };
  test("distinguishes a failed check from one that could not run", () => {
    assert.equal(judgeCheck({ code: 0, output: "132 packages have verified registry signatures" }).state, "passed");
    assert.equal(judgeCheck({ code: 1, output: "1 package has an invalid registry signature:\n\nleft-pad@1.3.0 (https://example.com/)" }).state, "failed");
    assert.equal(judgeCheck({ code: 1, output: "an output that nobody has seen before" }).state, "failed");
    for (const code of ["ENOTFOUND", "ECONNREFUSED", "ETIMEDOUT", "EAI_AGAIN", "E405", "E503"]) {
      assert.equal(judgeCheck({ code: 1, output: `npm error code ${code}\nnpm error network` }).state, "not run", code);
    }
  });

  test("fails if a check failed, and with --all also if one could not run", () => {
    const left = { state: "not run", why: "the registry did not answer" };
    const broken = { state: "failed", why: "error[banned]: crate 'openssl'\nmore" };
    assert.equal(summarize([["a", passed]], true).code, 0);
    assert.deepEqual([summarize([["a", passed], ["b", left]], false).code, summarize([["a", passed], ["b", left]], true).code], [0, 2]);
    assert.deepEqual([summarize([["a", broken], ["b", left]], false).code, summarize([["a", broken], ["b", left]], true).code], [1, 1]);
    const { text } = summarize([["a", passed], ["b", left], ["c", broken]], false);
    assert.match(text, /^passed {2}a$/m);
    assert.match(text, /^not run b: the registry did not answer$/m);
    assert.match(text, /^failed {2}c: see above$/m);
    assert.match(text, /1 passed, 1 failed, 1 not run/);
  });
});
