// Owns `npm run clean`: removes what a build creates. With `-- --data` also the local database and its keys together,
// because each is useless without the other. Does not remove the tools that clones share.

import { rmSync } from "node:fs";
import { repoPath, say } from "./bootstrap.mjs";

const MADE = ["build", "dist", "target", "node_modules"];
const DATA = [".wrangler", ".dev", ".dev.vars"];

const folders = process.argv.includes("--data") ? [...MADE, ...DATA] : MADE;
for (const folder of folders) rmSync(repoPath(folder), { recursive: true, force: true });
say(`Removed ${folders.join(", ")}.`);
