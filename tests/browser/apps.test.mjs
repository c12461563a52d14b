// Owns the pages of the simulated apps in Chromium, on a screen of a phone's width: what a person enters, ticks, reads
// and reaches by keyboard. Only a real browser has focus, descriptions, tab order and overflow.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { chromium } from "playwright-core";
import { startBrowserProxy } from "../support/browser-proxy.mjs";
import { startLifecycleFixture } from "../support/lifecycles.mjs";

const PHONE = { width: 360, height: 740 };
const READ = "https://www.googleapis.com/auth/gmail.readonly";

let proxy, fixture, browser;

before(async () => {
  proxy = await startBrowserProxy();
  proxy.forwardTo({ fetch: (...request) => fixture.installation.server.fetch(...request) });
  fixture = await startLifecycleFixture({ vars: { PUBLIC_URL: proxy.url } });
  for (const file of ["stripe", "telegram", "slack", "gmail"]) await fixture.registerApp(file);
  browser = await chromium.launch({ executablePath: process.env.CHROMIUM, args: ["--no-sandbox"] });
});

after(async () => {
  await browser?.close();
  await fixture?.close();
  await proxy?.close();
});

/** A new phone profile. `done()` fails if the browser reported an error or a page was wider than the screen. */
async function newPerson() {
  const context = await browser.newContext({ viewport: PHONE });
  const page = await context.newPage();
  const complaints = [];
  page.on("console", (message) => message.type() === "error" && !/status of 4(10|22)/.test(message.text()) && complaints.push(message.text()));
  page.on("domcontentloaded", async () => {
    const width = await page.evaluate(() => document.documentElement.scrollWidth).catch(() => 0);
    if (width > PHONE.width) complaints.push(`${new URL(page.url()).pathname} is ${width} wide`);
  });
  return { page, done: async () => (await context.close(), assert.deepEqual(complaints, [])) };
}

async function signIn(page, id) {
  const { url } = await fixture.requestOk("POST", "/v1/sign-in-links", { user: { id, name: `Person ${id}` } });
  await page.goto(url);
  await page.getByRole("button", { name: /sign in/i }).click();
  await page.getByRole("heading", { name: "Connections", level: 1 }).waitFor();
}

const focused = (page) => page.evaluate(() => document.activeElement.getAttribute("name"));
const connectionIdFrom = (page) => /con_[\w-]+/.exec(page.url())[0];

test("a malformed key is explained at its field and not sent back, and a valid key is checked and stored", async () => {
  const { page, done } = await newPerson();
  await signIn(page, "ada");
  await page.goto(`${proxy.url}/oauth/start/sim-stripe`);
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
  const { page, done } = await newPerson();
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
  const { page, done } = await newPerson();
  await signIn(page, "eve");
  await page.goto(`${proxy.url}/oauth/start/sim-slack?auth_method=bot_token`);
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
  const { page, done } = await newPerson();
  await signIn(page, "ada");
  await page.goto(`${proxy.url}/apps/sim-gmail/setup`);
  await page.getByRole("heading", { name: "Set up Gmail" }).waitFor();
  const shown = await page.getByRole("region", { name: /^the redirect uri/i }).innerText();
  const client = { client_id: "gmail-client", client_secret: "gmail-secret-0123456789" };
  const { redirect_uri } = await fixture.requestOk("PUT", "/v1/apps/sim-gmail/client", client);
  assert.equal(shown.trim(), redirect_uri);
  fixture.apps.google.register(client.client_id, { secret: client.client_secret, redirect_uris: [redirect_uri], project: "gmail" });
  await done();
});

test("ticked permissions are requested, withheld ones are named, and one click requests them again", async () => {
  const { page, done } = await newPerson();
  await signIn(page, "ada");
  fixture.apps.google.person = { account: "ada", untick: [READ], deny: false };
  await page.goto(`${proxy.url}/oauth/start/sim-gmail`);
  await page.getByText(/More permissions/).click();
  await page.locator(`input[value="${READ}"]`).check();
  await page.getByRole("button", { name: "Continue to Gmail" }).click();
  await page.getByText("Connected as ada@example.test.").waitFor();
  await page.getByRole("heading", { name: "Missing permissions" }).waitFor();
  const id = connectionIdFrom(page);
  assert.deepEqual((await fixture.getConnection(id)).scopes.missing, [READ]);

  fixture.apps.google.person = { account: "ada", untick: [], deny: false };
  await page.getByRole("link", { name: "Ask for the missing permissions" }).click();
  await page.getByRole("button", { name: "Continue to Gmail" }).click();
  await page.getByText("Connected as ada@example.test.").waitFor();
  assert.equal(connectionIdFrom(page), id);
  assert.deepEqual((await fixture.getConnection(id)).scopes.missing, []);
  assert.equal(await page.getByText("Missing permissions").count(), 0);
  await done();
});

test("a person who denies access at the app can try again, and no connection is created", async () => {
  const { page, done } = await newPerson();
  await signIn(page, "denier");
  fixture.apps.google.person = { account: "mallory", untick: [], deny: true };
  const before = (await fixture.listConnections("sim-gmail")).length;
  await page.goto(`${proxy.url}/oauth/start/sim-gmail`);
  await page.getByRole("button", { name: "Continue to Gmail" }).click();
  await page.getByRole("link", { name: /try again/i }).click();
  await page.getByRole("button", { name: "Continue to Gmail" }).waitFor();
  assert.equal((await fixture.listConnections("sim-gmail")).length, before);
  await done();
});
