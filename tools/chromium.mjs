// Owns where Chromium is, for tests and pictures.

import { existsSync } from "node:fs";
import { delimiter, join } from "node:path";
import { capture, Failure, say } from "./bootstrap.mjs";

/** The path of Chromium. On Debian as root it is installed if it is missing. */
export async function findChromium() {
  if (process.env.CHROMIUM) return process.env.CHROMIUM;
  const found = findInPath("chromium", "chromium-browser", "google-chrome");
  if (found) return found;
  if (process.getuid?.() !== 0 || !findInPath("apt-get")) {
    throw new Failure("The browser tests need Chromium. Install it (Debian: sudo apt-get install chromium), or set its path: CHROMIUM=/path/to/chrome");
  }
  say("Installing Chromium from Debian (a minute or two)…");
  await aptGet("update");
  await aptGet("install", "-y", "--no-install-recommends", "chromium");
  return findInPath("chromium");
}

async function aptGet(...args) {
  const { code, output } = await capture("apt-get", ["-q", ...args], { env: { DEBIAN_FRONTEND: "noninteractive" } });
  if (code !== 0) throw new Failure(`apt-get ${args.join(" ")} failed:\n${output}`);
}

const findInPath = (...names) => names.flatMap((name) => process.env.PATH.split(delimiter).map((folder) => join(folder, name))).find(existsSync);
