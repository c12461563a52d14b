// Owns assets/logos.svg: the logos of the catalogue's apps in one file, made from the package simple-icons (CC0). A logo
// belongs to an app if its title is the app's name, or if its file is called like the app's id. Apps without one get
// their first letter. `node tools/logos.mjs` writes the file; `--check` fails if it is not up to date.

import { readFileSync, readdirSync, writeFileSync } from "node:fs";
import * as icons from "simple-icons";
import { main, repoPath, say } from "./bootstrap.mjs";

const FILE = repoPath("assets/logos.svg");

/** The file for these apps and icons. */
export function drawLogos(apps, available) {
  const byTitle = new Map(available.map((icon) => [icon.title.toLowerCase(), icon]));
  const bySlug = new Map(available.map((icon) => [icon.slug, icon]));
  const symbols = apps.flatMap(({ id, name }) => {
    const icon = byTitle.get(name.toLowerCase()) ?? bySlug.get(id.replaceAll("-", ""));
    return icon ? [`<symbol id="${id}" viewBox="0 0 24 24"><path fill="#${icon.hex}" d="${icon.path}"/></symbol>`] : [];
  });
  return `<svg xmlns="http://www.w3.org/2000/svg">\n${symbols.join("\n")}\n</svg>\n`;
}

function readApps() {
  const files = readdirSync(repoPath("catalog")).filter((name) => name.endsWith(".json")).sort();
  return files.map((name) => JSON.parse(readFileSync(repoPath("catalog", name), "utf8")));
}

await main(() => {
  const drawn = drawLogos(readApps(), Object.values(icons));
  if (!process.argv.includes("--check")) return writeFileSync(FILE, drawn);
  if (readFileSync(FILE, "utf8") !== drawn) throw new Error("assets/logos.svg is not up to date. Run: node tools/logos.mjs");
  say("The logos are up to date.");
});
