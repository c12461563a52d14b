// Owns the proof that the output of parallel steps stays separate, and that a lock has one holder at a time, also
// within one process.

import assert from "node:assert/strict";
import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { capture, print, redirectOutput, run, say, withLock } from "../../tools/bootstrap.mjs";
import { createStepOutput } from "../../tools/step-output.mjs";

/** A step output, and what it has shown so far. */
function shown() {
  let text = "";
  const stepOutput = createStepOutput((more) => (text += more));
  return { stepOutput, text: () => text };
}

test("the first step prints at once, a parallel one when both have ended", () => {
  const { stepOutput, text } = shown();
  const lints = stepOutput.open("lints");
  const build = stepOutput.open("build");
  build.write("b1\n");
  lints.write("l1\n");
  assert.equal(text(), "\n── lints\nl1\n");
  build.close();
  lints.write("l2\n");
  assert.equal(text(), "\n── lints\nl1\nl2\n");
  lints.close();
  assert.equal(text(), "\n── lints\nl1\nl2\n\n── build\nb1\n");
});

test("after the first step has ended, a running step prints at once, after those that have ended", () => {
  const { stepOutput, text } = shown();
  const pages = ["one", "two", "three"].map((name) => stepOutput.open(name));
  pages[1].write("2\n");
  pages[2].write("3\n");
  pages[2].close();
  pages[0].close();
  assert.equal(text(), "\n── one\n\n── three\n3\n\n── two\n2\n");
  pages[1].write("more\n");
  assert.match(text(), /more\n$/);
});

test("at the end a failure is shown while another step runs, and that step is named", () => {
  const { stepOutput, text } = shown();
  stepOutput.open("lints");
  const build = stepOutput.open("build");
  build.write("it failed\n");
  build.close();
  assert.deepEqual(stepOutput.end(), ["lints"]);
  assert.match(text(), /it failed\n$/);
});

test("the output of a step and its commands goes to that step only", async () => {
  const printed = { a: "", b: "" };
  const script = (name) => ["-e", `console.log("${name}1"); setTimeout(() => console.error("${name}2"), 50)`];
  await Promise.all([
    redirectOutput((text) => (printed.a += text), async () => {
      say("a0");
      await run(process.execPath, script("a"));
    }),
    redirectOutput((text) => (printed.b += text), async () => {
      say("b0");
      await capture(process.execPath, script("b"), { onOutput: print });
    }),
  ]);
  assert.deepEqual(printed, { a: "a0\na1\na2\n", b: "b0\nb1\nb2\n" });
});

test("a lock has one holder at a time, and no message says to wait for the own process", async () => {
  const folder = mkdtempSync(join(tmpdir(), "connections-lock-"));
  const lock = join(folder, "lock");
  let holders = 0;
  let most = 0;
  let printed = "";
  const hold = () =>
    withLock(lock, async () => {
      most = Math.max(most, ++holders);
      await new Promise((resolve) => setTimeout(resolve, 20));
      holders -= 1;
    });
  await redirectOutput((text) => (printed += text), () => Promise.all([hold(), hold()]));
  assert.deepEqual([most, printed, existsSync(lock)], [1, "", false]);
  rmSync(folder, { recursive: true });
});
