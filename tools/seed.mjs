// Owns `npm run seed`: fills a database of this machine with connections whose credentials open, by examples/seed.rs.
// Without --file, that of `npm start`, which must not run. Never reaches a database that is not a local file.

import { existsSync, readdirSync, readFileSync, readlinkSync, realpathSync } from "node:fs";
import { parseArgs } from "node:util";
import { ensureRust, Failure, main, repoPath, run, say } from "./bootstrap.mjs";

const LOCAL = repoPath(".wrangler/state/v3/d1/miniflare-D1DatabaseObject");
const MOST = 5_000_000;

const USAGE = `npm run seed -- --connections 100000 [--workspaces 50] [--file DATABASE.sqlite]

Adds connections with credentials, uses and events to the database of npm start, which must not be running. Workspaces
that are there come first; more are made until there are as many as --workspaces says.

--file     another SQLite file with this program's tables. ENCRYPTION_KEYS of the environment seals; without it,
           the key ring of .dev.vars`;

/** Fills a SQLite file. */
export async function seed(file, { connections, workspaces, keyRing }) {
  ensureRust();
  const now = String(Math.floor(Date.now() / 1000));
  const args = ["run", "--quiet", "--locked", "--example", "seed", "--", file, String(connections), String(workspaces), now];
  await run("cargo", args, { env: { ENCRYPTION_KEYS: keyRing } });
}

/** The database of `npm start`. */
function findLocal() {
  const files = existsSync(LOCAL) ? readdirSync(LOCAL).filter((name) => /^[0-9a-f]{64}\.sqlite$/.test(name)) : [];
  if (files.length !== 1) throw new Failure(`${LOCAL} has ${files.length} databases, not one. Run npm start once, and stop it; or name a file with --file.`);
  return `${LOCAL}/${files[0]}`;
}

/** Whether a process has the file open, as a running Worker has. Only Linux tells. */
function isInUse(file) {
  const path = realpathSync(file);
  const list = (folder) => {
    try {
      return readdirSync(folder);
    } catch {
      return [];
    }
  };
  const opens = (link) => {
    try {
      return readlinkSync(link) === path;
    } catch {
      return false;
    }
  };
  const processes = list("/proc").filter((name) => /^\d+$/.test(name));
  return processes.some((id) => list(`/proc/${id}/fd`).some((fd) => opens(`/proc/${id}/fd/${fd}`)));
}

function readKeyRing() {
  const file = repoPath(".dev.vars");
  const found = process.env.ENCRYPTION_KEYS ?? (existsSync(file) && /^\s*ENCRYPTION_KEYS\s*=\s*["']?(.*?)["']?\s*$/m.exec(readFileSync(file, "utf8"))?.[1]);
  if (!found) throw new Failure("There is no key ring: run npm start once, or set ENCRYPTION_KEYS.");
  return found;
}

function readNumber(name, text, most) {
  const number = Number(text);
  if (Number.isInteger(number) && number > 0 && number <= most) return number;
  throw new Failure(`--${name} ${text} is no number from 1 to ${most}.`);
}

function readOptions() {
  const flags = { connections: { type: "string" }, workspaces: { type: "string", default: "1" }, file: { type: "string" }, help: { type: "boolean" } };
  try {
    return parseArgs({ options: flags }).values;
  } catch (error) {
    throw new Failure(`${error.message}\n\n${USAGE}`);
  }
}

if (process.argv[1] === repoPath("tools/seed.mjs")) {
  await main(async () => {
    const options = readOptions();
    if (options.help || !options.connections) {
      say(USAGE);
      return options.help ? 0 : 1;
    }
    const connections = readNumber("connections", options.connections, MOST);
    const workspaces = readNumber("workspaces", options.workspaces, 10_000);
    const file = options.file ?? findLocal();
    if (!existsSync(file)) throw new Failure(`${file} does not exist.`);
    if (isInUse(file)) throw new Failure(`Another process uses ${file}. Stop npm start first.`);
    await seed(file, { connections, workspaces, keyRing: readKeyRing() });
    say(`${connections} connections were added to ${file}.`);
    return 0;
  });
}
