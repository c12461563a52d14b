// Owns the connect flow in Chromium. A browser enforces what a script does not: the content security policy on forms
// and on redirects after them, SameSite and HttpOnly cookies, frames, and the Origin header under our referrer policy.

import assert from "node:assert/strict";
import { test } from "node:test";
import { allow, lastPart, startOtherSite, useBrowser } from "../support/browser.mjs";

const site = useBrowser();

test("a person signs in, connects, checks, renames and disconnects without browser errors", async () => {
  const { page, complaints } = await site.newPerson();
  await page.getByRole("link", { name: "Connect an app" }).first().click();
  await page.getByRole("link", { name: /^Acme/ }).click();
  await page.getByRole("button", { name: "Continue to Acme" }).click();
  await allow(page, "ada");
  await page.getByText("Connected as ada@example.test.").waitFor();
  assert.match(page.url(), new RegExp(`^${site.url}/connections/con_[\\w-]+\$`), "a clean address, without code and state");

  await page.getByRole("button", { name: "Check now" }).click();
  await page.getByText("Checked: it works.").waitFor();
  await page.getByText("Rename", { exact: true }).click();
  await page.getByLabel(/name of this connection/i).fill("Ops <b>account</b>");
  await page.getByRole("button", { name: "Save name" }).click();
  await page.getByRole("heading", { name: "Ops <b>account</b>" }).waitFor();

  await page.getByText("More actions").locator("..").click();
  await page.getByRole("link", { name: /Disconnect/ }).click();
  await page.getByRole("button", { name: /Disconnect/ }).click();
  await page.getByText("is disconnected. We revoke its access").waitFor();
  await page.locator("#notice").getByRole("button", { name: "Revoke now" }).click();
  await page.getByText("The app confirmed that the access is revoked.").waitFor();
  assert.equal(await page.getByText("Ops <b>account</b>").count(), 0);
  assert.deepEqual(complaints, []);
});

test("a reconnect with another account shows a question and changes nothing until the person switches", async () => {
  const { page, open } = await site.newPerson({ id: "eve" });
  await open("/connect");
  await page.getByRole("link", { name: /^Acme/ }).click();
  await page.getByRole("button", { name: "Continue to Acme" }).click();
  await allow(page, "grace");
  await page.getByText("Connected as grace@example.test.").waitFor();
  const id = lastPart(page);

  await page.getByText("More actions").locator("..").click();
  await page.getByRole("link", { name: "Reconnect" }).click();
  await page.getByRole("button", { name: "Continue to Acme" }).click();
  await allow(page, "mallory");
  await page.locator("button[value=switch]").waitFor();
  const asked = await page.locator("main").innerText();
  assert.match(asked, /grace@example\.test/);
  assert.match(asked, /mallory@example\.test/);
  const before = await site.installation.requestOk("GET", `/v1/connections/${id}`);
  assert.equal(before.account.id, "grace");

  await page.locator("button[value=switch]").click();
  await page.getByText("Connected as mallory@example.test.").waitFor();
  const now = await site.installation.requestOk("GET", `/v1/connections/${id}`);
  assert.deepEqual([now.account.id, now.generation], ["mallory", 2]);
});

test("a flow that was started in one browser is refused in another before any request to the app", async () => {
  const attacker = await site.newPerson({ id: "attacker" });
  const victim = await site.newPerson({ id: "victim" });
  await attacker.open("/oauth/start/acme");
  await attacker.page.getByRole("button", { name: "Continue to Acme" }).click();
  await attacker.page.locator("input[name=login]").waitFor();

  // The attacker withholds the app's answer from the Worker and lets the victim deliver it.
  const tokens = site.installation.oauth.requests.authorization_code ?? 0;
  const kept = site.proxy.intercept("/oauth/callback/");
  await allow(attacker.page, "ada");
  const callback = await kept;
  await victim.page.goto(callback);
  assert.match(victim.page.url(), /\/oauth\/ended\/other-browser$/);
  assert.equal(site.installation.oauth.requests.authorization_code ?? 0, tokens);
  const made = await site.installation.db.prepare("SELECT count(*) AS n FROM connections WHERE user_id IN ('attacker', 'victim')").first("n");
  assert.equal(made, 0);
});

test("scripts cannot read cookies, and no page can be framed", async () => {
  const { page, context } = await site.newPerson({ id: "cookie" });
  const [cookie] = (await context.cookies()).filter(({ name }) => name === "cx_session");
  assert.deepEqual([cookie.httpOnly, cookie.sameSite], [true, "Lax"]);
  assert.equal(await page.evaluate(() => document.cookie), "");

  const other = await context.newPage();
  await other.route("http://frame.test/", (route) => route.fulfill({ contentType: "text/html", body: `<iframe src="${site.url}/"></iframe>` }));
  await other.goto("http://frame.test/");
  const frame = other.frames().find((one) => one !== other.mainFrame());
  assert.equal(await frame.evaluate(() => location.href), "chrome-error://chromewebdata/");
});

/** A page of an embedding product at an origin of its own, which keeps each message that it gets. */
const startProduct = () =>
  startOtherSite(`<!doctype html><button>Connect</button><script>
    const told = [];
    addEventListener("message", ({ origin, data }) => told.push({ origin, data }));
    document.querySelector("button").onclick = () => { window.opened = window.open(location.hash.slice(1), "connect", "popup"); };
  </script>`);

/** Opens a link in a popup of a product's page. */
async function openPopup(context, product, url) {
  const opener = await context.newPage();
  await opener.goto(`${product.origin}/#${url}`);
  const opening = context.waitForEvent("page");
  await opener.getByRole("button", { name: "Connect" }).click();
  return { opener, popup: await opening };
}

test("a popup tells the page that opened it, and nobody at another origin", async () => {
  const [product, other] = [await startProduct(), await startProduct()];
  try {
    await site.installation.requestOk("PATCH", "/v1/workspace", { allowed_origins: [product.origin] });
    const makeLink = () => site.installation.requestOk("POST", "/v1/links", { app: "acme", popup: { origin: product.origin } });

    const { context } = await site.newVisitor();
    const made = await makeLink();
    const { opener, popup } = await openPopup(context, product, made.url);
    await popup.getByRole("button", { name: "Continue to Acme" }).click();
    const closed = popup.waitForEvent("close");
    await allow(popup, "ada");
    await closed;
    await opener.waitForFunction(() => told.length > 0);
    const link = await site.installation.requestOk("GET", `/v1/links/${made.id}`);
    assert.equal(link.status, "used");
    const data = { type: "connections:link", link: made.id, status: "connected", connection: link.connection };
    assert.deepEqual(await opener.evaluate(() => told), [{ origin: site.url, data }]);

    // A page of another origin has got hold of a link. It learns nothing.
    const stranger = await site.newVisitor();
    const stolen = await makeLink();
    const { opener: listening, popup: window } = await openPopup(stranger.context, other, stolen.url);
    await window.getByRole("button", { name: "Continue to Acme" }).click();
    await allow(window, "grace");
    for (let tries = 0; (await site.installation.requestOk("GET", `/v1/links/${stolen.id}`)).status !== "used" && tries < 100; tries += 1) {
      await listening.waitForTimeout(100);
    }
    await listening.waitForTimeout(500);
    assert.deepEqual(await listening.evaluate(() => told), []);

    // Without an opener the page says what to do, and its policy stops no script of ours.
    const alone = await site.newVisitor();
    await alone.page.goto((await makeLink()).url);
    await alone.page.getByRole("button", { name: "Continue to Acme" }).click();
    await allow(alone.page, "linus");
    await alone.page.getByText("You can close this window.").waitFor();
    assert.deepEqual(alone.complaints, []);

    // Other pages of ours give an opener no handle.
    const signedOut = await site.newVisitor();
    const { opener: before } = await openPopup(signedOut.context, product, `${site.url}/oauth/ended/expired`);
    await before.waitForFunction(() => window.opened.closed);
  } finally {
    product.close();
    other.close();
  }
});
