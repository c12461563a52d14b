// Owns the connect flow in Chromium. A browser enforces what a script does not: the content security policy on forms
// and on redirects after them, SameSite and HttpOnly cookies, frames, and the Origin header under our referrer policy.

import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:http";
import { after, before, test } from "node:test";
import { chromium } from "playwright-core";
import { startBrowserProxy } from "../support/browser-proxy.mjs";
import { startInstallation } from "../support/installation.mjs";

let proxy, installation, browser;

before(async () => {
  proxy = await startBrowserProxy();
  installation = await startInstallation({ vars: { PUBLIC_URL: proxy.url } });
  proxy.forwardTo(installation.server);
  browser = await chromium.launch({ executablePath: process.env.CHROMIUM, args: ["--no-sandbox"] });
});

after(async () => {
  await browser?.close();
  await installation?.close();
  await proxy?.close();
});

/** A new browser profile that collects the browser's errors. */
async function newPerson() {
  const context = await browser.newContext();
  const page = await context.newPage();
  const complaints = [];
  page.on("console", (message) => message.type() === "error" && complaints.push(message.text()));
  return { context, page, complaints };
}

async function signIn(page, id = "you") {
  const { url } = await installation.requestOk("POST", "/v1/sign-in-links", { user: { id, name: `Person ${id}` } });
  await page.goto(url);
  await page.getByRole("button", { name: /sign in/i }).click();
  await page.getByRole("heading", { name: "Connections", level: 1 }).waitFor();
}

/** From the app's own page to where the app redirects. */
async function allow(page, login) {
  await page.locator("input[name=login]").fill(login);
  await page.locator("button[type=submit], button").first().click();
  await page.locator("button[value=allow]").click();
}

test("a person signs in, connects, checks, renames and disconnects without browser errors", async () => {
  const { page, complaints } = await newPerson();
  await signIn(page);
  await page.getByRole("link", { name: "Connect an app" }).first().click();
  await page.getByRole("link", { name: /^Acme/ }).click();
  await page.getByRole("button", { name: "Continue to Acme" }).click();
  await allow(page, "ada");
  await page.getByText("Connected as ada@example.test.").waitFor();
  assert.match(page.url(), new RegExp(`^${proxy.url}/connections/con_[\\w-]+\$`), "a clean address, without code and state");

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
  assert.deepEqual(complaints.filter((text) => !/404/.test(text)), []);
});

test("a reconnect with another account shows a question and changes nothing until the person switches", async () => {
  const { page } = await newPerson();
  await signIn(page, "eve");
  await page.goto(`${proxy.url}/connect`);
  await page.getByRole("link", { name: /^Acme/ }).click();
  await page.getByRole("button", { name: "Continue to Acme" }).click();
  await allow(page, "grace");
  await page.getByText("Connected as grace@example.test.").waitFor();
  const id = new URL(page.url()).pathname.split("/").pop();

  await page.getByText("More actions").locator("..").click();
  await page.getByRole("link", { name: "Reconnect" }).click();
  await page.getByRole("button", { name: "Continue to Acme" }).click();
  await allow(page, "mallory");
  await page.locator("button[value=switch]").waitFor();
  const asked = await page.locator("main").innerText();
  assert.match(asked, /grace@example\.test/);
  assert.match(asked, /mallory@example\.test/);
  const before = await installation.requestOk("GET", `/v1/connections/${id}`);
  assert.equal(before.account.id, "grace");

  await page.locator("button[value=switch]").click();
  await page.getByText("Connected as mallory@example.test.").waitFor();
  const now = await installation.requestOk("GET", `/v1/connections/${id}`);
  assert.deepEqual([now.account.id, now.generation], ["mallory", 2]);
});

test("a flow that was started in one browser is refused in another before any request to the app", async () => {
  const attacker = await newPerson();
  const victim = await newPerson();
  await signIn(attacker.page, "attacker");
  await signIn(victim.page, "victim");
  await attacker.page.goto(`${proxy.url}/oauth/start/acme`);
  await attacker.page.getByRole("button", { name: "Continue to Acme" }).click();
  await attacker.page.locator("input[name=login]").waitFor();

  // The attacker withholds the app's answer from the Worker and lets the victim deliver it.
  const tokens = installation.oauth.requests.authorization_code ?? 0;
  const kept = proxy.intercept("/oauth/callback/");
  await allow(attacker.page, "ada");
  const callback = await kept;
  await victim.page.goto(callback);
  assert.match(victim.page.url(), /\/oauth\/ended\/other-browser$/);
  assert.equal(installation.oauth.requests.authorization_code ?? 0, tokens);
  const made = await installation.db.prepare("SELECT count(*) AS n FROM connections WHERE user_id IN ('attacker', 'victim')").first("n");
  assert.equal(made, 0);
});

test("scripts cannot read cookies, and no page can be framed", async () => {
  const { page, context } = await newPerson();
  await signIn(page, "cookie");
  const [cookie] = (await context.cookies()).filter(({ name }) => name === "cx_session");
  assert.deepEqual([cookie.httpOnly, cookie.sameSite], [true, "Lax"]);
  assert.equal(await page.evaluate(() => document.cookie), "");

  const other = await context.newPage();
  await other.route("http://frame.test/", (route) => route.fulfill({ contentType: "text/html", body: `<iframe src="${proxy.url}/"></iframe>` }));
  await other.goto("http://frame.test/");
  const frame = other.frames().find((one) => one !== other.mainFrame());
  assert.equal(await frame.evaluate(() => location.href), "chrome-error://chromewebdata/");
});

/** A page of an embedding product at an origin of its own, which keeps each message that it gets. */
async function startProduct() {
  const page = `<!doctype html><button>Connect</button><script>
    const told = [];
    addEventListener("message", ({ origin, data }) => told.push({ origin, data }));
    document.querySelector("button").onclick = () => { window.opened = window.open(location.hash.slice(1), "connect", "popup"); };
  </script>`;
  const server = createServer((_, response) => response.writeHead(200, { "content-type": "text/html" }).end(page)).listen(0, "localhost");
  await once(server, "listening");
  return { origin: `http://localhost:${server.address().port}`, close: () => server.close() };
}

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
    await installation.requestOk("PATCH", "/v1/workspace", { allowed_origins: [product.origin] });
    const makeLink = () => installation.requestOk("POST", "/v1/links", { app: "acme", popup: { origin: product.origin } });

    const { context } = await newPerson();
    const made = await makeLink();
    const { opener, popup } = await openPopup(context, product, made.url);
    await popup.getByRole("button", { name: "Continue to Acme" }).click();
    const closed = popup.waitForEvent("close");
    await allow(popup, "ada").catch((error) => assert.match(String(error), /closed/));
    await closed;
    await opener.waitForFunction(() => told.length > 0);
    const link = await installation.requestOk("GET", `/v1/links/${made.id}`);
    assert.equal(link.status, "used");
    const data = { type: "connections:link", link: made.id, status: "connected", connection: link.connection };
    assert.deepEqual(await opener.evaluate(() => told), [{ origin: proxy.url, data }]);

    // A page of another origin has got hold of a link. It learns nothing.
    const stranger = await newPerson();
    const stolen = await makeLink();
    const { opener: listening, popup: window } = await openPopup(stranger.context, other, stolen.url);
    await window.getByRole("button", { name: "Continue to Acme" }).click();
    await allow(window, "grace").catch((error) => assert.match(String(error), /closed/));
    for (let tries = 0; (await installation.requestOk("GET", `/v1/links/${stolen.id}`)).status !== "used" && tries < 100; tries += 1) {
      await listening.waitForTimeout(100);
    }
    await listening.waitForTimeout(500);
    assert.deepEqual(await listening.evaluate(() => told), []);

    // Without an opener the page says what to do, and its policy stops no script of ours.
    const alone = await newPerson();
    await alone.page.goto((await makeLink()).url);
    await alone.page.getByRole("button", { name: "Continue to Acme" }).click();
    await allow(alone.page, "linus");
    await alone.page.getByText("You can close this window.").waitFor();
    assert.deepEqual(alone.complaints.filter((text) => !/404/.test(text)), []);

    // Other pages of ours give an opener no handle.
    const signedOut = await newPerson();
    const { opener: before } = await openPopup(signedOut.context, product, `${proxy.url}/oauth/ended/expired`);
    await before.waitForFunction(() => window.opened.closed);
  } finally {
    product.close();
    other.close();
  }
});
