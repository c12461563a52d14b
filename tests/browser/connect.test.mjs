// Owns the connect flow in Chromium. A browser enforces what a script does not: the content security policy on forms
// and on redirects after them, SameSite and HttpOnly cookies, frames, and the Origin header under our referrer policy.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { chromium } from "playwright-core";
import { startBrowserProxy } from "../support/browser-proxy.mjs";
import { startInstallation } from "../support/installation.mjs";

let proxy, installation, browser;

before(async () => {
  proxy = await startBrowserProxy();
  installation = await startInstallation({ vars: { PUBLIC_URL: proxy.url } });
  proxy.forwardTo(installation.worker);
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
  await page.getByRole("link", { name: "Acme" }).click();
  await page.getByRole("button", { name: "Continue to Acme" }).click();
  await allow(page, "ada");
  await page.getByText("Connected as ada@example.test.").waitFor();
  assert.match(page.url(), new RegExp(`^${proxy.url}/connections/con_[\\w-]+\\?connected=1$`), "a clean address, without code and state");

  await page.getByRole("button", { name: "Check now" }).click();
  await page.getByText("Checked: it works.").waitFor();
  await page.getByLabel(/name of this connection/i).fill("Ops <b>account</b>");
  await page.getByRole("button", { name: "Save name" }).click();
  await page.getByRole("heading", { name: "Ops <b>account</b>" }).waitFor();

  await page.getByRole("link", { name: /Disconnect/ }).click();
  await page.getByRole("button", { name: /Disconnect/ }).click();
  await page.getByText("The app confirmed that the access is revoked.").waitFor();
  assert.equal(await page.getByText("Ops <b>account</b>").count(), 0);
  assert.deepEqual(complaints.filter((text) => !/favicon|404/.test(text)), []);
});

test("a reconnect with another account shows a question and changes nothing until the person switches", async () => {
  const { page } = await newPerson();
  await signIn(page, "eve");
  await page.getByRole("link", { name: "Acme" }).click();
  await page.getByRole("button", { name: "Continue to Acme" }).click();
  await allow(page, "grace");
  await page.getByText("Connected as grace@example.test.").waitFor();
  const id = new URL(page.url()).pathname.split("/").pop();

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
