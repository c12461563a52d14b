// Owns the pages of the simulated apps in Chromium, on a screen of a phone's width: what a person enters, ticks, reads
// and reaches by keyboard. Only a real browser has focus, descriptions, tab order and overflow.

import assert from "node:assert/strict";
import { test } from "node:test";
import { excessWidth, lastPart, useBrowser } from "../support/browser.mjs";
import { startLifecycleFixture } from "../support/lifecycles.mjs";

const PHONE = { width: 360, height: 740 };
const READ = "https://www.googleapis.com/auth/gmail.readonly";

let fixture;
const site = useBrowser({
  start: startLifecycleFixture,
  prepare: async (opened) => {
    ({ fixture } = opened);
    for (const file of ["stripe", "telegram", "slack", "gmail"]) await fixture.registerApp(file);
  },
});

/** A profile on a phone. `done()` fails if the browser complained or a page was wider than the screen. */
async function onPhone({ context, page, complaints, open }) {
  page.on("domcontentloaded", async () => {
    const excess = await excessWidth(page).catch(() => 0);
    if (excess > 0) complaints.push(`${new URL(page.url()).pathname} is ${excess} too wide`);
  });
  return { page, open, done: async () => (await context.close(), assert.deepEqual(complaints, [])) };
}

const newGuest = async () => onPhone(await site.newVisitor({ viewport: PHONE }));
const newPerson = async (id) => onPhone(await site.newPerson({ id, viewport: PHONE }));

const focused = (page) => page.evaluate(() => document.activeElement.getAttribute("name"));

test("a malformed key is explained at its field and not sent back, and a valid key is checked and stored", async () => {
  const { page, open, done } = await newPerson("ada");
  await open("/oauth/start/sim-stripe");
  const key = page.getByRole("textbox", { name: "Restricted key" });
  const wrong = `sk_live_${"c".repeat(24)}`;
  const asked = fixture.apps.stripe.requests.length;
  await key.fill(wrong);
  await key.press("Enter");

  const alert = page.getByRole("alert");
  await alert.waitFor();
  assert.match(await page.title(), /^Not accepted/);
  assert.equal((await alert.innerText()).match(/may do everything/g).length, 1, "a mistake is said once");
  await alert.getByRole("link").click();
  assert.equal(await focused(page), "input.api_key");
  assert.equal(await key.inputValue(), "");
  assert.equal(await key.getAttribute("aria-invalid"), "true");
  const described = await key.evaluate((field) => field.getAttribute("aria-describedby").split(" ").map((id) => document.getElementById(id).innerText).join(" "));
  assert.match(described, /may do everything/);
  assert.ok(!(await page.content()).includes(wrong));
  assert.equal(fixture.apps.stripe.requests.length, asked, "the app was not asked");

  await key.fill(`rk_test_${"x".repeat(24)}`);
  await key.press("Enter");
  await page.getByRole("heading", { name: "Stripe simulated did not accept this" }).waitFor();
  await key.fill(fixture.apps.stripe.createKey("ada"));
  await key.press("Enter");
  await page.getByText("Connected as ada (test mode).").waitFor();
  await done();
});

test("a person with a connect link enters a bot token without signing in, and the link is used", async () => {
  const { page, done } = await newGuest();
  const { url } = await fixture.requestOk("POST", "/v1/links", { app: "sim-telegram", user: { id: "guest", name: "Guest" } });
  await page.goto(url);
  await page.getByText("Only continue if you trust them.").waitFor();
  await page.getByText("The connection will belong to Guest.").waitFor();
  await page.getByRole("textbox", { name: "Bot token" }).fill(fixture.apps.telegram.createBot("grace"));
  await page.getByRole("button", { name: "Check and save" }).click();
  await page.getByText("Telegram simulated is connected as @grace_bot.").waitFor();
  assert.ok(!page.url().includes(new URL(url).pathname.split("/").pop()), "the link's secret is out of the address");
  const [made] = await fixture.listConnections("sim-telegram");
  assert.deepEqual([made.user, made.account.label, made.status], [{ id: "guest", name: "Guest" }, "@grace_bot", "connected"]);
  await page.goto(url);
  await page.getByRole("heading", { level: 1, name: "The link has ended" }).waitFor();
  assert.equal((await fixture.listConnections("sim-telegram")).length, 1);
  await done();
});

test("an app with several auth methods links from each one to the others", async () => {
  const { page, open, done } = await newPerson("eve");
  await open("/oauth/start/sim-slack?auth_method=bot_token");
  const ways = page.getByRole("region", { name: "Other ways to connect" }).getByRole("link");
  const names = await ways.allInnerTexts();
  assert.ok(names.length >= 2, names.join());
  await ways.filter({ hasText: /user token/i }).click();
  await page.getByRole("button", { name: "Check and save" }).waitFor();
  assert.match(page.url(), /auth_method=user_token$/);
  assert.deepEqual((await ways.allInnerTexts()).length, names.length);
  await done();
});

test("an app without a client explains how to register one, with the redirect URI", async () => {
  const { page, open, done } = await newPerson("ada");
  await open("/apps/sim-gmail/setup");
  await page.getByRole("heading", { name: "Set up Gmail" }).waitFor();
  const shown = await page.getByRole("group", { name: /^the redirect uri/i }).innerText();
  const client = { client_id: "gmail-client", client_secret: "gmail-secret-0123456789" };
  const { redirect_uri } = await fixture.requestOk("PUT", "/v1/apps/sim-gmail/client", client);
  assert.equal(shown.trim(), redirect_uri);
  fixture.apps.google.register(client.client_id, { secret: client.client_secret, redirect_uris: [redirect_uri], project: "gmail" });
  await done();
});

test("ticked permissions are requested, withheld ones are named, and one click requests them again", async () => {
  const { page, open, done } = await newPerson("ada");
  fixture.apps.google.person = { account: "ada", untick: [READ], deny: false };
  await open("/oauth/start/sim-gmail");
  await page.getByText(/More permissions/).click();
  await page.locator(`input[value="${READ}"]`).check();
  await page.getByRole("button", { name: "Continue to Gmail" }).click();
  await page.getByText("Connected as ada@example.test.").waitFor();
  await page.getByRole("heading", { name: "Missing permissions" }).waitFor();
  const id = lastPart(page);
  assert.deepEqual((await fixture.getConnection(id)).scopes.missing, [READ]);

  fixture.apps.google.person = { account: "ada", untick: [], deny: false };
  await page.getByRole("link", { name: "Ask for the missing permissions" }).click();
  await page.getByRole("button", { name: "Continue to Gmail" }).click();
  await page.getByText("Connected as ada@example.test.").waitFor();
  assert.equal(lastPart(page), id);
  assert.deepEqual((await fixture.getConnection(id)).scopes.missing, []);
  assert.equal(await page.getByText("Missing permissions").count(), 0);
  await done();
});

test("a person who denies access at the app can try again, and no connection is created", async () => {
  const { page, open, done } = await newPerson("denier");
  fixture.apps.google.person = { account: "mallory", untick: [], deny: true };
  const before = (await fixture.listConnections("sim-gmail")).length;
  await open("/oauth/start/sim-gmail");
  await page.getByRole("button", { name: "Continue to Gmail" }).click();
  await page.getByRole("link", { name: /try again/i }).click();
  await page.getByRole("button", { name: "Continue to Gmail" }).waitFor();
  assert.equal((await fixture.listConnections("sim-gmail")).length, before);
  await done();
});
