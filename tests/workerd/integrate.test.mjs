// Owns that docs/integrate.md is true: its commands run in one shell, in their order, against the real build over HTTP, and
// each answer that the page shows is what they print. A person uses the links in between.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { startBrowserProxy } from "../support/browser-proxy.mjs";
import { CLIENT_ID, ROOT, startInstallation } from "../support/installation.mjs";
import { Person, pathOf } from "../support/person.mjs";

/** The blocks of the page: `{ kind, text }`, in order. */
const blocks = [...readFileSync(join(ROOT, "docs/integrate.md"), "utf8").matchAll(/^```(sh|json)\n(.*?)^```$/gms)].map(([, kind, text]) => ({ kind, text }));

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

test("every command of docs/integrate.md works, and prints what the page shows", async () => {
  const installation = await startInstallation({ workspace: false });
  const proxy = await startBrowserProxy();
  proxy.forwardTo(installation.server);
  const { oauth, adminKey, clientSecret } = installation;
  const cwd = mkdtempSync(join(tmpdir(), "integrate-"));
  const shell = startShell(
    { URL: proxy.url, ADMIN_KEY: adminKey, ISSUER: oauth.issuer, CLIENT_ID, CLIENT_SECRET: clientSecret, NODE_NO_WARNINGS: "1" },
    cwd,
  );
  const logins = ["ada", "grace"];
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
      const answer = parse(printed);
      // What the reader does between two commands: register the address, and open the link.
      if (answer.redirect_uri) oauth.addRedirectUri(CLIENT_ID, answer.redirect_uri);
      if (typeof answer === "string" && answer.includes("/connect/")) {
        await new Person(installation).completeFlow(pathOf(answer), { login: logins.shift() });
      }
    }
    assert.deepEqual([compared >= 9, logins], [true, []]);
  } finally {
    shell.close();
    await proxy.close();
    await installation.close();
    rmSync(cwd, { recursive: true });
  }
});
