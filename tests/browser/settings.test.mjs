// Owns the administration in Chromium: what an admin does there, with and without scripts, by keyboard, on a phone.

import assert from "node:assert/strict";
import { test } from "node:test";
import { allow, excessWidth, lastPart, useBrowser } from "../support/browser.mjs";

const site = useBrowser();

const newAdmin = (options) => site.newPerson({ id: "root@example.test", name: "Root", role: "admin", ...options });

for (const javaScriptEnabled of [true, false]) {
  const how = javaScriptEnabled ? "with scripts" : "without scripts";

  test(`an admin makes a key, sees it once, rotates and revokes it, ${how}`, async () => {
    const { page, complaints } = await newAdmin({ javaScriptEnabled });
    await page.getByRole("link", { name: "Settings" }).click();
    await page.getByRole("link", { name: "API keys" }).click();
    await page.getByText("Create an API key").first().click();
    await page.getByLabel("Name", { exact: true }).fill(`Engine ${how}`);
    await page.getByRole("button", { name: "Create an API key" }).click();
    await page.getByRole("heading", { name: "API key created" }).waitFor();
    const key = await page.locator("#key-text").innerText();
    assert.match(key, /^cx_/);
    assert.equal((await site.installation.requestApi("GET", "/v1/connections", undefined, key)).status, 200);
    await page.getByRole("link", { name: "I have stored the key" }).click();
    assert.ok(!(await page.content()).includes(key));
    await page.getByRole("link", { name: `Engine ${how}` }).click();
    await page.getByLabel("How long the old secret still works").selectOption("0");
    await page.getByRole("button", { name: "Create a new secret" }).click();
    const newest = await page.locator("#key-text").innerText();
    assert.deepEqual(
      await Promise.all([key, newest].map(async (one) => (await site.installation.requestApi("GET", "/v1/connections", undefined, one)).status)),
      [401, 200],
    );
    await page.getByRole("link", { name: "I have stored the key" }).click();
    await page.getByRole("link", { name: `Engine ${how}` }).click();
    await page.getByRole("button", { name: "Revoke the key" }).click();
    await page.getByText("is revoked.").waitFor();
    assert.equal((await site.installation.requestApi("GET", "/v1/connections", undefined, newest)).status, 401);
    assert.deepEqual(complaints, []);
  });

  test(`an admin invites somebody, who signs in as an admin and is removed again, ${how}`, async () => {
    const { page, open } = await newAdmin({ javaScriptEnabled });
    await open("/settings/people");
    await page.getByText("Invite somebody").click();
    await page.getByLabel("E-mail address or user id").fill("grace@example.test");
    await page.getByLabel("Name").fill("Grace");
    await page.getByLabel("Role").selectOption("admin");
    await page.getByRole("button", { name: "Create the sign-in link" }).click();
    const url = await page.locator("#link-text").innerText();
    const { page: grace, open: openAsGrace } = await site.newVisitor({ javaScriptEnabled });
    await grace.goto(url);
    await grace.getByRole("button", { name: /sign in/i }).click();
    await grace.getByRole("link", { name: "Settings" }).waitFor();
    await open("/settings/people");
    await page.getByRole("link", { name: "Grace" }).click();
    await page.getByRole("button", { name: "Remove from the workspace" }).click();
    await page.getByText("Grace is removed from the workspace.").waitFor();
    await openAsGrace("/settings/people");
    assert.equal(await grace.getByRole("heading", { name: "People" }).count(), 0);
  });
}

test("an admin tests the client, connects, tries a resolve and finds all of it in the activity", async () => {
  const { page, complaints, open } = await newAdmin();
  await open("/settings/apps");
  await page.getByRole("searchbox", { name: "Search apps" }).fill("acme");
  await page.getByRole("link", { name: /Acme/ }).click();
  await page.getByRole("button", { name: "Test it" }).click();
  await page.getByText("Acme accepts this client").waitFor();
  await page.getByRole("link", { name: "Connect Acme" }).click();
  await page.getByRole("button", { name: "Continue to Acme" }).click();
  await allow(page, "ada");
  await page.getByText("Connected as ada@example.test.").waitFor();
  const id = lastPart(page);
  await open(`/connections/${id}/try`);
  await page.getByRole("button", { name: "Run it" }).click();
  await page.getByRole("heading", { name: /Answer/ }).waitFor();
  const shown = await page.locator("#answer-text").innerText();
  const whole = (await site.installation.resolve(id)).body;
  assert.ok(!shown.includes(whole.credential.access_token), "never the whole token");
  assert.equal(JSON.parse(shown).freshness, "fresh");
  await open("/activity");
  await page.getByRole("rowheader", { name: "Connected" }).first().waitFor();
  const [download] = await Promise.all([page.waitForEvent("download"), page.getByRole("link", { name: "CSV" }).click()]);
  assert.match(download.suggestedFilename(), /^activity-\d{4}-\d\d-\d\d\.csv$/);
  assert.deepEqual(complaints, []);
});

test("a client that the app refuses is said in words, and a refused form keeps what was entered but for the secret", async () => {
  const { page, open } = await newAdmin();
  await open("/settings/apps/slack");
  await page.getByLabel("Client id").fill("12345.67890");
  await page.getByLabel("Secret ends on").fill("2001-01-01");
  await page.getByLabel("Client secret").fill("hunter2-hunter2");
  await page.getByRole("button", { name: "Save the client" }).click();
  await page.getByText("Something has to be corrected").waitFor();
  assert.equal(await page.getByLabel("Client id").inputValue(), "12345.67890");
  assert.equal(await page.getByLabel("Client secret").inputValue(), "");
  assert.ok(!(await page.content()).includes("hunter2"));
});

test("the administration fits a phone, and the keyboard reaches all of it", async () => {
  const { page, open } = await newAdmin({ viewport: { width: 320, height: 640 } });
  const paths = ["apps", "apps/slack", "custom-apps", "new-app", "keys", "links", "people", "sessions", "sign-in", "workspace", "defaults"];
  for (const path of [...paths.map((name) => `/settings/${name}`), "/activity", "/settings/apps/slack/disconnect-all"]) {
    await open(path);
    assert.equal(await excessWidth(page), 0, path);
    assert.equal(await page.locator("h1").count(), 1, path);
  }
  await open("/settings/keys");
  await page.keyboard.press("Tab");
  await page.keyboard.press("Enter");
  assert.equal(await page.evaluate(() => document.activeElement?.id), "main");
  await page.getByText("Create an API key").first().focus();
  await page.keyboard.press("Enter");
  await page.keyboard.press("Tab");
  await page.keyboard.type("By keyboard");
  await page.keyboard.press("Enter");
  await page.getByRole("heading", { name: "API key created" }).waitFor();
});

test("a member finds no administration", async () => {
  const { page, open } = await site.newPerson({ id: "member" });
  assert.equal(await page.getByRole("link", { name: "Settings" }).count(), 0);
  const refused = await open("/settings/keys");
  assert.equal(refused.status(), 403);
  await page.getByRole("heading", { name: "Only an admin may do this" }).waitFor();
});
