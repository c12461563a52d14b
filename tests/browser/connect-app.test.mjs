// Owns the pages before and after an app in Chromium, with and without scripts, by keyboard and on the screen of a phone:
// the catalogue, the choice of a way to connect, the question about another account, a link for somebody else.

import assert from "node:assert/strict";
import { test } from "node:test";
import { excessWidth, useBrowser } from "../support/browser.mjs";

const NARROW = { width: 320, height: 720 };

const site = useBrowser();

const shownTiles = (page) => page.locator("#apps a.tile:visible");

test("the catalogue narrows as one types, and says how many are found", async () => {
  const { context, page, open } = await site.newPerson();
  await open("/connect");
  const all = await shownTiles(page).count();
  assert.ok(all > 20, `${all}`);
  await page.getByRole("searchbox", { name: "Search apps" }).pressSequentially("google files");
  assert.equal(await shownTiles(page).count(), 1);
  assert.match(await shownTiles(page).first().innerText(), /Google Drive/);
  assert.equal(await page.locator("#live").innerText(), "Apps found: 1");
  assert.equal(await page.getByRole("heading", { name: "Popular" }).isVisible(), true);
  await page.getByRole("searchbox").fill("no such app");
  await page.getByText("No app matches this search.").waitFor();
  await page.getByRole("link", { name: "Show all apps" }).click();
  assert.equal(await shownTiles(page).count(), all);
  await page.getByLabel("Category").selectOption("email");
  await page.waitForURL(/category=email/);
  assert.ok((await shownTiles(page).count()) < all);
  await context.close();
});

test("by keyboard a category is taken with the button, so that each of them can be reached", async () => {
  const { context, page, open } = await site.newPerson({ id: "arrows" });
  await open("/connect");
  await page.getByLabel("Category").focus();
  const chosen = () => page.getByLabel("Category").inputValue();
  for (const letter of ["e", "f"]) await page.keyboard.press(letter);
  assert.ok(await chosen(), "the key selects a category");
  assert.equal(new URL(page.url()).search, "", "and the page stays");
  const category = await chosen();
  await page.keyboard.press("Tab");
  await page.keyboard.press("Enter");
  await page.waitForURL(`**/connect?*category=${category}*`);
  await context.close();
});

test("without scripts the search is a form, and a person connects by keyboard", async () => {
  const { context, page, open } = await site.newPerson({ id: "plain", javaScriptEnabled: false });
  await open("/connect");
  await page.getByRole("searchbox", { name: "Search apps" }).fill("acme");
  await page.keyboard.press("Enter");
  await page.waitForURL(/q=acme/);
  assert.equal(await page.locator("#apps a.tile").count(), 1);
  await page.locator("#apps a.tile").focus();
  await page.keyboard.press("Enter");
  await page.getByRole("heading", { level: 1, name: "Connect Acme" }).waitFor();
  await page.getByRole("button", { name: "Continue to Acme" }).focus();
  await page.keyboard.press("Enter");
  await page.locator("input[name=login]").waitFor();
  await context.close();
});

test("what is not set up is asked of an admin, whom one click leads to the set-up", async () => {
  const member = await site.newPerson({ id: "asker" });
  await member.open("/connect");
  await member.page.getByRole("link", { name: /^Gmail/ }).click();
  await member.page.getByRole("heading", { level: 1, name: "How do you want to connect Gmail?" }).waitFor();
  const request = await member.page.getByRole("group", { name: /Send this to an admin/ }).innerText();
  const [address] = /http\S+/.exec(request);
  assert.equal(await member.page.locator("form:not([action='/sign-out'])").count(), 0, "nothing can be entered yet");

  const admin = await site.newPerson({ id: "admin", role: "admin" });
  await admin.page.goto(address);
  await admin.page.getByRole("textbox", { name: /Client id/ }).waitFor();
  await admin.open("/oauth/start/gmail");
  await admin.page.getByRole("link", { name: /^Set up/ }).first().click();
  assert.equal(admin.page.url(), address);
  await member.context.close();
  await admin.context.close();
});

test("a link for somebody else can be used after a sign-out, in one step", async () => {
  const { context, page } = await site.newPerson({ id: "host" });
  const link = await site.installation.requestOk("POST", "/v1/links", { app: "acme", user: { id: "gwen", name: "Guest Gwen" } });
  await page.goto(link.url);
  await page.getByRole("heading", { level: 1, name: "This link is for Guest Gwen" }).waitFor();
  await page.getByRole("button", { name: "Sign out and continue" }).click();
  await page.getByText("The connection will belong to Guest Gwen.").waitFor();
  assert.equal(page.url(), link.url);
  await context.close();
});

test("no page of the way is wider than a small phone, in the dark, too", async () => {
  const { context, page, open } = await site.newPerson({ id: "phone", viewport: NARROW, colorScheme: "dark" });
  for (const path of ["/connect", "/connect?q=zzz", "/oauth/start/acme", "/oauth/start/gmail", "/oauth/start/telegram", "/apps/gmail/setup", "/oauth/ended/unknown"]) {
    await open(path);
    assert.equal(await excessWidth(page), 0, path);
    assert.equal(await page.locator("h1").count(), 1, path);
  }
  await context.close();
});
