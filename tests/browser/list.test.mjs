// Owns the list of connections, the review and what is done with several connections, in Chromium: with and without scripts, by
// keyboard, on a phone.

import assert from "node:assert/strict";
import { test } from "node:test";
import { useBrowser } from "../support/browser.mjs";

const site = useBrowser();

/** Somebody new, who owns `names`: connections of Telegram that nobody has checked. `done()` fails if the browser complained. */
async function newPerson(names, options = {}) {
  const id = `person-${Math.random().toString(36).slice(2)}`;
  for (const [at, name] of names.entries()) {
    const credential = { type: "bot_token", token: `${100000000 + at}:${id.padEnd(35, "x").slice(0, 35)}` };
    await site.installation.requestOk("POST", "/v1/connections", { app: "telegram", name, user: { id }, credential, check: false });
  }
  const person = await site.newPerson({ id, name: "Ada", ...options });
  return { id, ...person, done: async () => (await person.context.close(), assert.deepEqual(person.complaints, [])) };
}

const rows = (page) => page.locator("tbody a.name").allInnerTexts();

/** Presses Continue until the result is there. With scripts the page goes on by itself. */
async function finish(page, javaScriptEnabled) {
  if (javaScriptEnabled) return page.getByRole("link", { name: "Back to the list" }).waitFor();
  while (await page.getByRole("button", { name: "Continue" }).count()) await page.getByRole("button", { name: "Continue" }).click();
}

for (const javaScriptEnabled of [true, false]) {
  const how = javaScriptEnabled ? "with scripts" : "without scripts";

  test(`a person searches, filters and sorts, ${how}`, async () => {
    const { page, open, done } = await newPerson(["Charlie bot", "alpha bot", "Bravo news"], { javaScriptEnabled });
    await page.getByRole("searchbox", { name: "Search" }).fill("bot telegram");
    await page.keyboard.press("Enter");
    await page.waitForURL(/q=/);
    assert.deepEqual((await rows(page)).sort(), ["Charlie bot", "alpha bot"]);
    await page.getByRole("link", { name: "Show all" }).click();
    await page.getByRole("link", { name: "Connection", exact: true }).click();
    assert.deepEqual(await rows(page), ["alpha bot", "Bravo news", "Charlie bot"]);
    await page.getByRole("link", { name: "Connection", exact: true }).click();
    assert.deepEqual(await rows(page), ["Charlie bot", "Bravo news", "alpha bot"]);
    assert.equal(await page.locator("th[aria-sort=descending]").innerText(), "Connection");
    await page.getByRole("link", { name: /Needs reconnect/ }).click();
    await page.getByRole("heading", { name: "No connection found" }).waitFor();
    await page.getByRole("link", { name: "Show all connections" }).click();
    await page.getByText("Filters").click();
    await page.getByLabel("Status", { exact: true }).selectOption("not_checked");
    await page.getByRole("button", { name: "Apply" }).click();
    await page.getByText("Filters (1)").waitFor();
    assert.equal((await rows(page)).length, 3);
    assert.equal(await page.getByText("Not checked yet").count() > 3, true);
    await done();
  });

  test(`several connections are disconnected, and all come back, ${how}`, async () => {
    const names = Array.from({ length: 8 }, (_, at) => `Bot ${at}`);
    const { page, open, done } = await newPerson([...names, "Stays"], { javaScriptEnabled });
    for (const name of names) await page.getByRole("checkbox", { name: `Select ${name}` }).check();
    if (javaScriptEnabled) await page.locator("[data-count]", { hasText: "8 selected" }).waitFor();
    await page.getByRole("button", { name: "Disconnect…" }).click();
    await page.getByRole("heading", { name: "Disconnect 8 connections?" }).waitFor();
    await page.getByText("No workflow has used any of them.").waitFor();
    await page.getByRole("button", { name: "Disconnect now" }).click();
    await finish(page, javaScriptEnabled);
    await page.getByText("Done: 8 of 8.").waitFor();
    await page.getByRole("button", { name: "Undo all 8" }).click();
    await finish(page, javaScriptEnabled);
    await page.getByText("Done: 8 of 8.").waitFor();
    await page.getByRole("link", { name: "Back to the list" }).click();
    assert.deepEqual((await rows(page)).sort(), [...names, "Stays"]);
    await done();
  });

  test(`a check of several names those that did not answer, ${how}`, async () => {
    const { page, open, done } = await newPerson(["One", "Two", "Three", "Four", "Five", "Six"], { javaScriptEnabled });
    if (javaScriptEnabled) {
      await page.getByRole("checkbox", { name: "Select all on this page" }).check();
    } else {
      for (const box of await page.getByRole("checkbox").all()) if (await box.isVisible()) await box.check();
    }
    await page.locator("form.bulk").getByRole("button", { name: "Check" }).click();
    await finish(page, javaScriptEnabled);
    await page.getByText("0 of 6 checked connections work.").waitFor();
    await page.getByRole("heading", { name: "These need a look" }).waitFor();
    assert.equal(await page.getByText("The app didn’t answer.").count(), 6);
    await page.getByRole("link", { name: "Three" }).click();
    await page.getByRole("heading", { name: "Three" }).waitFor();
    await done();
  });

  test(`the review says what to look at, and everything is fine without it, ${how}`, async () => {
    const { page, open, done } = await newPerson(["Bot"], { javaScriptEnabled });
    await page.getByRole("link", { name: "Review" }).click();
    const group = page.getByRole("region", { name: /Not checked yet/ });
    await group.getByRole("link", { name: "Bot" }).waitFor();
    await group.getByRole("checkbox", { name: "Select Bot" }).check();
    await group.locator("form.bulk").getByRole("button", { name: "Check" }).click();
    await page.getByText("0 of 1 checked connections work.").waitFor();
    await page.getByRole("link", { name: "Back to the list" }).click();
    await page.getByRole("heading", { name: "Review", level: 1 }).waitFor();
    const nobody = await newPerson([], { javaScriptEnabled });
    await nobody.open("/review");
    await nobody.page.getByRole("heading", { name: "Everything is fine" }).waitFor();
    await done();
  });
}

test("an admin gives several connections to a colleague", async () => {
  const colleague = await newPerson([]);
  const { page, open, done } = await newPerson(["Mine", "Also mine"], { role: "admin" });
  await page.getByRole("checkbox", { name: "Select Mine" }).check();
  await page.getByRole("checkbox", { name: "Select Also mine" }).check();
  await page.getByRole("button", { name: "Change owner…" }).click();
  await page.getByRole("heading", { name: "Change who owns and who uses 2 connections" }).waitFor();
  await page.getByRole("button", { name: "Save" }).click();
  await page.getByText("Choose an owner or who uses them.").first().waitFor();
  await page.getByLabel("Owner").selectOption(`id:${colleague.id}`);
  await page.getByRole("button", { name: "Save" }).click();
  await page.getByText("Done: 2 of 2.").waitFor();
  await colleague.open("/");
  assert.deepEqual((await rows(colleague.page)).sort(), ["Also mine", "Mine"]);
  await done();
});

test("the keyboard reaches rows, menus and the selection, and a menu closes where it was opened", async () => {
  const { page, open, done } = await newPerson(["Bot"]);
  await page.getByRole("checkbox", { name: "Select Bot" }).focus();
  await page.keyboard.press("Space");
  await page.locator("[data-count]", { hasText: "1 selected" }).waitFor();
  assert.equal(await page.locator("#live").innerText(), "1 selected", "a screen reader tells it, because the buttons are far from the box");
  await page.keyboard.press("Tab");
  assert.equal(await page.evaluate(() => document.activeElement.textContent), "Bot");
  await page.keyboard.press("Tab");
  assert.match(await page.evaluate(() => document.activeElement.textContent), /^Check/);
  await page.keyboard.press("Tab");
  await page.keyboard.press("Enter");
  await page.keyboard.press("Tab");
  assert.equal(await page.evaluate(() => document.activeElement.textContent), "Open");
  await page.keyboard.press("Escape");
  assert.equal(await page.evaluate(() => document.activeElement.getAttribute("aria-label")), "More actions: Bot");
  assert.equal(await page.locator("tbody details[open]").count(), 0);
  await page.keyboard.press("Tab");
  assert.equal(await page.evaluate(() => document.activeElement.textContent), "Check");
  await page.keyboard.press("Tab");
  await page.keyboard.press("Enter");
  await page.getByRole("heading", { name: "Disconnect 1 connection?" }).waitFor();
  await done();
});

test("a menu that the keyboard leaves is closed, so that it covers nothing", async () => {
  const { page, open, done } = await newPerson(["Bot", "Other bot"]);
  await page.getByText("More actions: Bot").or(page.getByLabel("More actions: Bot")).first().focus();
  await page.keyboard.press("Enter");
  await page.locator("tbody details[open]").waitFor();
  await page.getByRole("link", { name: "Other bot" }).focus();
  assert.equal(await page.locator("tbody details[open]").count(), 0);
  await done();
});

test("what the keyboard reaches is not behind the buttons for the selected rows", async () => {
  const names = Array.from({ length: 20 }, (_, at) => `Bot ${String(at).padStart(2, "0")}`);
  for (const viewport of [{ width: 1280, height: 600 }, { width: 320, height: 640 }, { width: 320, height: 256 }]) {
    const { page, open, done } = await newPerson(names, { viewport });
    await open("/?sort=name");
    await page.getByRole("checkbox", { name: "Select Bot 00" }).focus();
    await page.keyboard.press("Space");
    for (let tab = 0; tab < 60; tab += 1) {
      await page.keyboard.press("Tab");
      const hidden = await page.evaluate(() => {
        const at = document.activeElement;
        const box = at.getBoundingClientRect();
        const above = document.elementFromPoint(box.x + box.width / 2, box.y + box.height / 2);
        return above?.closest(".bulk") && !at.closest(".bulk") ? at.outerHTML : undefined;
      });
      assert.equal(hidden, undefined, JSON.stringify(viewport));
    }
    await done();
  }
});

test("on paper a connection's page has what is folded on the screen, in dark letters", async () => {
  const { page, done } = await newPerson(["Bot"], { colorScheme: "dark" });
  await page.getByRole("link", { name: "Bot", exact: true }).click();
  const shown = page.getByText("Auth method");
  assert.equal(await shown.isVisible(), false);
  await page.emulateMedia({ media: "print" });
  assert.equal(await shown.evaluate((one) => one.checkVisibility({ contentVisibilityAuto: true })), true);
  assert.match(await page.locator(".quiet").first().evaluate((one) => getComputedStyle(one).color), /^rgb\(\d\d, \d\d, \d\d\d?\)$/);
  assert.equal(await page.getByRole("button", { name: "Check now" }).isVisible(), false);
  await done();
});

test("the pages fit a phone, their targets are large, and nothing is left out", async () => {
  const { page, open, done } = await newPerson(["A connection with a rather long name for a phone", "x"], {
    role: "admin",
    viewport: { width: 320, height: 640 },
  });
  const { id } = await site.installation.requestOk("POST", "/v1/connections", {
    app: "telegram",
    name: "Broken",
    credential: { type: "bot_token", token: `123456789:${"y".repeat(35)}` },
    check: false,
  });
  await site.installation.run("UPDATE connections SET status = 'needs_reconnect', reconnect_reason = 'revoked' WHERE id = ?", id);
  const check = async (what) => {
    assert.equal(await page.evaluate(() => document.documentElement.scrollWidth - innerWidth), 0, what);
    assert.equal(await page.locator("h1").count(), 1, what);
    const small = await page.evaluate(() =>
      [...document.querySelectorAll("main :is(a.button, button, select, input:not([type=checkbox]), label.box, summary, a.name)")]
        .filter((one) => one.checkVisibility({ visibilityProperty: true }))
        .filter((one) => one.getBoundingClientRect().height < 43.5)
        .map((one) => one.outerHTML.slice(0, 80)),
    );
    assert.deepEqual(small, [], what);
  };
  for (const path of ["/", "/?q=nothing", "/?status=not_checked", "/review"]) {
    await open(path);
    await check(path);
  }
  await open("/");
  assert.equal((await rows(page))[0], "Broken");
  await page.getByRole("checkbox", { name: "Select Broken" }).check();
  await page.getByRole("button", { name: "Disconnect…" }).click();
  await page.getByRole("heading", { name: "Disconnect 1 connection?" }).waitFor();
  await check("the question");
  await page.getByRole("button", { name: "Disconnect now" }).click();
  await page.getByText("Done: 1 of 1.").waitFor();
  await check("the result");
  await done();
});
