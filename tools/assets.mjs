// Owns build/assets/, the static files that the platform serves without running the Worker: each file of assets/ under an
// address with a hash of its content, the API's description, and the headers of all. src/build.rs gives the program the
// same addresses; a build whose program names another one fails.

import { createHash } from "node:crypto";
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { Failure, repoPath } from "./bootstrap.mjs";

export const BUILT_ASSETS = repoPath("build/assets");

/**
 * The headers of all static files. Only a hashed address may be kept for ever. Answers of the Worker have their own
 * headers: these are not added to them.
 */
const HEADERS = `/*
  Content-Security-Policy: default-src 'none'; frame-ancestors 'none'; base-uri 'none'
  Cross-Origin-Opener-Policy: same-origin
  Referrer-Policy: same-origin
  Strict-Transport-Security: max-age=31536000; includeSubDomains
  X-Content-Type-Options: nosniff
  X-Frame-Options: DENY

/assets/*
  Cache-Control: public, max-age=31536000, immutable
  Cross-Origin-Resource-Policy: same-origin

/openapi.json
  Content-Type: application/json; charset=utf-8
`;

/** `/assets/style.0123456789ab.css` for `style.css`, as in src/build.rs. */
export function assetAddress(name, content) {
  const [stem, extension] = name.split(".");
  return `/assets/${stem}.${createHash("sha256").update(content).digest("hex").slice(0, 12)}.${extension}`;
}

/** The files to serve: `[address, content]`. */
function assets() {
  const hashed = readdirSync(repoPath("assets")).map((name) => {
    const content = readFileSync(repoPath("assets", name));
    return [assetAddress(name, content), content];
  });
  return [...hashed, ["/openapi.json", JSON.stringify(JSON.parse(readFileSync(repoPath("src/http/openapi.json"), "utf8")))]];
}

/** Addresses in the program that no file has, without what follows the hash: other texts may follow without a gap. */
export function findMissing(program, addresses) {
  const text = program.toString("latin1");
  const named = [...text.matchAll(/\/assets\/[a-z0-9-]+\.[0-9a-f]{12}\./g)];
  const missing = named.filter(({ index }) => !addresses.some((address) => text.startsWith(address, index)));
  return [...new Set(missing.map(([address]) => address))];
}

/** Writes the files, and compares their addresses with those that the compiled program names. */
export function buildAssets(program) {
  rmSync(BUILT_ASSETS, { recursive: true, force: true });
  const files = assets();
  for (const [address, content] of [...files, ["/_headers", HEADERS]]) {
    const file = join(BUILT_ASSETS, address);
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, content);
  }
  const missing = findMissing(program, files.map(([address]) => address));
  if (missing.length > 0) throw new Failure(`The program names static files that do not exist: ${missing.join(", ")}. src/build.rs and tools/assets.mjs must make the same addresses.`);
}
