// Owns docs/embed.md in Chromium: the code of that page, as it stands there, in a page of another origin. Only a browser
// decides which window has an opener, and to whom a message goes.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { allow, deny, startOtherSite, useBrowser } from "../support/browser.mjs";

const [, SNIPPET] = /```js\n([\s\S]*?)```/.exec(readFileSync(new URL("../../docs/embed.md", import.meta.url), "utf8"));

const site = useBrowser();

/** A product at an origin of its own: its page, and the two addresses of its server. `asked` counts how often it looks. */
async function startProduct({ linkFor } = {}) {
  const product = { asked: 0, made: undefined };
  const page = `<!doctype html><title>Product</title><button>Connect</button><script>
    ${SNIPPET}
    const messages = [];
    addEventListener("message", ({ origin, data }) => messages.push({ origin, data }));
    document.querySelector("button").onclick = async () => { window.result = await connect(); };
  </script>`;
  const answer = async ({ method, url }, response) => {
    const json = (body) => response.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify(body));
    if (url === "/my/links" && method === "POST") {
      product.made = await site.installation.requestOk("POST", "/v1/links", { app: "acme", popup: { origin: linkFor ?? product.origin } });
      return json({ id: product.made.id, url: product.made.url });
    }
    if (url.startsWith("/my/links/")) {
      product.asked += 1;
      return json(await site.installation.requestOk("GET", `/v1/links/${url.split("/").pop()}`));
    }
    response.writeHead(200, { "content-type": "text/html" }).end(page);
  };
  return Object.assign(product, await startOtherSite(answer));
}

const allowOrigins = (...origins) => site.installation.requestOk("PATCH", "/v1/workspace", { allowed_origins: origins });

/** The product's page and the window that its button opens. */
async function openWindow(context, product) {
  const page = await context.newPage();
  await page.goto(product.origin);
  const opening = context.waitForEvent("page");
  await page.getByRole("button", { name: "Connect" }).click();
  const popup = await opening;
  await popup.getByRole("button", { name: "Continue to Acme" }).click();
  return { page, popup };
}

test("the product's page gets the message, reads the link, and the window closes", async () => {
  const product = await startProduct();
  try {
    await allowOrigins(product.origin);
    const context = await site.browser.newContext();
    // Without a timer only the message makes the page look.
    await context.addInitScript(() => (window.setInterval = () => 0));
    const { page, popup } = await openWindow(context, product);
    const closed = popup.isClosed() ? Promise.resolve() : popup.waitForEvent("close");
    await allow(popup, "ada");
    await closed;
    await page.waitForFunction(() => window.result);
    const link = await page.evaluate(() => window.result);
    assert.deepEqual([link.id, link.status, link.last_attempt.status, product.asked], [product.made.id, "used", "connected", 1]);
    assert.match(link.connection, /^con_/);
    const data = { type: "connections:link", link: link.id, status: "connected", connection: link.connection };
    assert.deepEqual(await page.evaluate(() => messages), [{ origin: site.url, data }]);
    await context.close();
  } finally {
    product.close();
  }
});

test("where the app cuts the window off, the product's page finds out by looking", async () => {
  const product = await startProduct();
  try {
    await allowOrigins(product.origin);
    const context = await site.browser.newContext();
    await context.route(`${site.installation.oauth.issuer}/**`, async (route) => {
      const response = await route.fetch({ maxRedirects: 0 });
      await route.fulfill({ response, headers: { ...response.headers(), "cross-origin-opener-policy": "same-origin" } });
    });
    const { page, popup } = await openWindow(context, product);
    await allow(popup, "grace");
    await popup.getByText("You can close this window.").waitFor();
    await page.waitForFunction(() => window.result, undefined, { timeout: 20000 });
    assert.equal((await page.evaluate(() => window.result)).status, "used");
    assert.deepEqual(await page.evaluate(() => messages), [], "there was no opener to tell");
    assert.ok(product.asked >= 1);
    await context.close();
  } finally {
    product.close();
  }
});

test("a page of another origin that opens the window learns nothing", async () => {
  const product = await startProduct();
  const other = await startProduct({ linkFor: product.origin });
  try {
    await allowOrigins(product.origin);
    const context = await site.browser.newContext();
    await context.addInitScript(() => (window.setInterval = () => 0));
    const { page, popup } = await openWindow(context, other);
    await allow(popup, "linus");
    for (let tries = 0; (await site.installation.requestOk("GET", `/v1/links/${other.made.id}`)).status !== "used" && tries < 100; tries += 1) {
      await page.waitForTimeout(100);
    }
    await page.waitForTimeout(500);
    assert.deepEqual(await page.evaluate(() => [messages, window.result ?? null]), [[], null]);
    await context.close();
  } finally {
    product.close();
    other.close();
  }
});

test("a denial ends the wait, and nothing is connected", async () => {
  const product = await startProduct();
  try {
    await allowOrigins(product.origin);
    const context = await site.browser.newContext();
    const { page, popup } = await openWindow(context, product);
    await deny(popup, "denier");
    await page.waitForFunction(() => window.result, undefined, { timeout: 20000 });
    const link = await page.evaluate(() => window.result);
    assert.deepEqual([link.status, link.last_attempt.status, link.connection], ["open", "denied", null]);
    await context.close();
  } finally {
    product.close();
  }
});

test("the connect page can't be framed", async () => {
  const product = await startProduct();
  try {
    await allowOrigins(product.origin);
    const { url } = await site.installation.requestOk("POST", "/v1/links", { app: "acme", popup: { origin: product.origin } });
    const page = await site.browser.newPage();
    await page.route(`${product.origin}/frame`, (route) => route.fulfill({ contentType: "text/html", body: `<iframe src="${url}"></iframe>` }));
    await page.goto(`${product.origin}/frame`);
    const frame = page.frames().find((one) => one !== page.mainFrame());
    assert.equal(await frame.evaluate(() => location.href), "chrome-error://chromewebdata/");
    await page.close();
  } finally {
    product.close();
  }
});
