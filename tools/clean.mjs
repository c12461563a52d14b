// Owns `npm run clean`: removes what a build makes again. With `-- --data` also the local database and its keys, which
// belong together: neither is of any use without the other. Refuses to remove the tools that clones share.

import { rmSync } from "node:fs";
import { repoPath, say } from "./bootstrap.mjs";

const MADE = ["build", "dist", "target", "node_modules"];
const DATA = [".wrangler", ".dev", ".dev.vars"];

const folders = process.argv.includes("--data") ? [...MADE, ...DATA] : MADE;
for (const folder of folders) rmSync(repoPath(folder), { recursive: true, force: true });
say(`Removed ${folders.join(", ")}.`);
