// Owns how the commands of a page of docs/ are run: in one shell, in their order. What they print is compared with what the page
// shows.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { ROOT } from "./installation.mjs";

/**
 * Runs the commands of a page and compares what they print: the number of answers that were compared. `between` gets each
 * answer, to do what a reader does between two commands.
 */
export async function runCommands(page, env, between = () => {}) {
  const blocks = [...readFileSync(join(ROOT, page), "utf8").matchAll(/^```(sh|json)\n(.*?)^```$/gms)].map(([, kind, text]) => ({ kind, text }));
  const cwd = mkdtempSync(join(tmpdir(), "commands-"));
  const shell = startShell({ NODE_NO_WARNINGS: "1", ...env }, cwd);
  try {
    let printed;
    let compared = 0;
    for (const { kind, text } of blocks) {
      if (kind === "json") {
        assertAsShown(parse(printed), JSON.parse(text), text);
        compared += 1;
        continue;
      }
      printed = await shell.run(text);
      await between(parse(printed));
    }
    return compared;
  } finally {
    shell.close();
    rmSync(cwd, { recursive: true });
  }
}

/** A shell that runs one block after the other and keeps its variables. */
function startShell(env, cwd) {
  const shell = spawn("bash", ["-u", "-o", "pipefail"], { env: { ...process.env, ...env }, cwd, stdio: ["pipe", "pipe", "inherit"] });
  let printed = "";
  let check = () => {};
  shell.stdout.setEncoding("utf8").on("data", (more) => {
    printed += more;
    check();
  });
  return {
    /** Runs a block: what it prints. Throws if its last command fails. */
    run(text) {
      const end = /\n?<ended (\d+)>\n$/;
      printed = "";
      shell.stdin.write(`${text}\nprintf '\\n<ended %s>\\n' "$?"\n`);
      return new Promise((resolve, reject) => {
        check = () => {
          const ended = end.exec(printed);
          if (!ended) return;
          const output = printed.slice(0, ended.index);
          if (ended[1] === "0") resolve(output);
          else reject(new Error(`This ended with ${ended[1]}:\n${text}\n${output}`));
        };
        check();
      });
    },
    close: () => shell.kill(),
  };
}

/** Whether an answer is as shown. `…` stands for any text, and a member of that name for further members. */
function assertAsShown(answer, shown, at = "answer") {
  if (typeof shown === "string" && shown.includes("…")) {
    const parts = shown.split("…").map((part) => part.replace(/[.*+?^${}()|[\]\\]/g, "\\$&"));
    return assert.match(String(answer), new RegExp(`^${parts.join(".*")}$`, "s"), at);
  }
  if (Array.isArray(shown)) {
    assert.equal(answer?.length, shown.length, at);
    return shown.forEach((one, index) => assertAsShown(answer[index], one, `${at}[${index}]`));
  }
  if (shown === null || typeof shown !== "object") return assert.equal(answer, shown, at);
  const { "…": more, ...members } = shown;
  if (more === undefined) assert.deepEqual(Object.keys(answer).sort(), Object.keys(members).sort(), at);
  for (const [name, value] of Object.entries(members)) assertAsShown(answer[name], value, `${at}.${name}`);
}

/** JSON, or the text of a single value, which `node -p` prints without quotation marks. */
function parse(printed) {
  try {
    return JSON.parse(printed);
  } catch {
    return printed.trim();
  }
}
