// Owns `npm run deploy`: gives the deployment its tools, among them wrangler. The steps are in deployment.mjs.

import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { repoPath, capture, ensureNpm, main, quietWrangler, run, say, wrangler } from "./bootstrap.mjs";
import { build } from "./build.mjs";
import { deploy, readFlags } from "./deployment.mjs";

// A deployment uses Cloudflare's API, so look-ups stay on. Nobody can answer questions here.
const env = { ...quietWrangler, CLOUDFLARE_CF_FETCH_ENABLED: "true" };

await main(async () => {
  const args = process.argv.slice(2);
  // Before anything is installed.
  readFlags(args);
  await ensureNpm();
  await deploy(args, {
    run: (...step) => run(...wrangler(...step), { env }),
    capture: (...step) => capture(...wrangler(...step), { env }),
    read: (name) => readFileSync(repoPath(name), "utf8"),
    list: (folder) => readdirSync(repoPath(folder)).filter((name) => name.endsWith(".sql")),
    write: (name, text) => {
      mkdirSync(dirname(repoPath(name)), { recursive: true });
      writeFileSync(repoPath(name), text);
    },
    remove: (name) => rmSync(repoPath(name), { force: true }),
    build,
    say,
    wait: (seconds) => sleep(seconds * 1000),
    health: (url) => fetch(url).then(({ status }) => status, (error) => error.message),
    publicUrl: process.env.PUBLIC_URL,
  });
});
