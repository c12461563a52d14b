// Owns that the commands of docs/integrate.md, proxy.md, webhooks.md and app-events.md are true: they run in one shell, in their order, against the
// real build over HTTP, and each answer that a page shows is what they print. A person uses the links in between.

import assert from "node:assert/strict";
import { test } from "node:test";
import { startBrowserProxy } from "../support/browser-proxy.mjs";
import { runCommands } from "../support/doc-commands.mjs";
import { acmeDefinition, CLIENT_ID, createWorkspace, startInstallation } from "../support/installation.mjs";
import { Person, pathOf } from "../support/person.mjs";

/** Runs a test with an installation that answers over HTTP. */
async function withInstallation(run) {
  const installation = await startInstallation({ workspace: false });
  const proxy = await startBrowserProxy();
  proxy.forwardTo(installation.worker);
  try {
    await run(installation, proxy.url);
  } finally {
    await proxy.close();
    await installation.close();
  }
}

test("every command of docs/integrate.md works, and prints what the page shows", () =>
  withInstallation(async (installation, url) => {
    const { oauth, adminKey, clientSecret } = installation;
    const logins = ["ada", "grace"];
    const env = { URL: url, ADMIN_KEY: adminKey, ISSUER: oauth.issuer, CLIENT_ID, CLIENT_SECRET: clientSecret };
    const compared = await runCommands("docs/integrate.md", env, async (answer) => {
      // What the reader does between two commands: register the address, and open the link.
      if (answer.redirect_uri) oauth.addRedirectUri(CLIENT_ID, answer.redirect_uri);
      if (typeof answer === "string" && answer.includes("/connect/")) {
        await new Person(installation).completeFlow(pathOf(answer), { login: logins.shift() });
      }
    });
    assert.deepEqual([compared >= 9, logins], [true, []]);
  }));

test("every command of docs/proxy.md works, and prints what the page shows", () =>
  withInstallation(async (installation, url) => {
    const app = acmeDefinition(installation.oauth, { request: { base_url: `${installation.oauth.issuer}/` } });
    Object.assign(installation, await createWorkspace(installation, "Acme Corp", app));
    await (await Person.createSignedIn(installation)).connect();
    assert.equal(await runCommands("docs/proxy.md", { URL: url, KEY: installation.key }), 5);
  }));

for (const [page, answers] of [
  ["docs/webhooks.md", 5],
  ["docs/app-events.md", 6],
]) {
  test(`every command of ${page} works, and prints what the page shows`, () =>
    withInstallation(async (installation, url) => {
      Object.assign(installation, await createWorkspace(installation, "Acme Corp", acmeDefinition(installation.oauth)));
      assert.equal(await runCommands(page, { URL: url, KEY: installation.key }), answers);
    }));
}
