// Owns `npm run pictures`: makes the screenshots of README and docs from the built Worker with a made-up team's workspace, in
// the light and in the dark. What they show is made at each run, so that they are as the pages are.

import { mkdirSync, writeFileSync } from "node:fs";
import { restartUnderNode22, ensureNpm, Failure, main, quietWrangler, repoPath, say } from "./bootstrap.mjs";
import { build } from "./build.mjs";
import { findChromium } from "./chromium.mjs";
import { shrinkPng } from "./png.mjs";

const FOLDER = repoPath("docs/pictures");
const SCREEN = { width: 1240, height: 860 };
const MOST_BYTES = 80_000;

/** Name, the state that is shown (tests/support/page-states.mjs). */
const PICTURES = [
  ["connections", "connections"],
  ["connection", "connection"],
  ["connect", "connect"],
];

async function takePictures() {
  Object.assign(process.env, quietWrangler, { CHROMIUM: await findChromium() });
  // Imported late: the packages are installed by ensureNpm.
  const { openSite } = await import("../tests/support/browser.mjs");
  const { openState, states, storageOf } = await import("../tests/support/page-states.mjs");
  const { fillTeam } = await import("../tests/support/team.mjs");
  mkdirSync(FOLDER, { recursive: true });
  const site = await openSite();
  try {
    const { connections, people } = await fillTeam(site.installation);
    const world = { ids: connections, cookies: { admin: people.ada.cookies } };
    for (const [name, shown] of PICTURES) {
      const state = states.find((one) => one.name === shown);
      for (const colorScheme of ["light", "dark"]) {
        const context = await site.browser.newContext({ viewport: SCREEN, colorScheme, storageState: storageOf(site, world, state.who) });
        const page = await context.newPage();
        await openState(site, page, world, state);
        const picture = shrinkPng(await page.screenshot());
        if (picture.length > MOST_BYTES) throw new Failure(`${name}-${colorScheme}.png has ${picture.length} bytes, more than ${MOST_BYTES}.`);
        writeFileSync(`${FOLDER}/${name}-${colorScheme}.png`, picture);
        say(`docs/pictures/${name}-${colorScheme}.png (${Math.round(picture.length / 1000)} KB)`);
        await context.close();
      }
    }
  } finally {
    await site.close();
  }
}

await main(async () => {
  await ensureNpm();
  const code = await restartUnderNode22(import.meta.url);
  if (code !== undefined) return code;
  await build();
  await takePictures();
  return 0;
});
