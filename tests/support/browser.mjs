// Owns what every test in Chromium needs: an installation at an address that a browser reaches, people with profiles of
// their own, what the browser complains of, and sites of others. A test file calls `useBrowser` once.

import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:http";
import { after, before } from "node:test";
import { chromium } from "playwright-core";
import { startBrowserProxy } from "./browser-proxy.mjs";
import { startInstallation } from "./installation.mjs";

/** Screens: a small phone, a small tablet, a computer. */
export const WIDTHS = [320, 768, 1440];

/**
 * The site of a test file, from its first test to its last. `start` starts what is behind it: an installation, or a fixture
 * that has one. `prepare` follows it, and what it returns is ended with the site, if it has a `close()`. Node starts hooks of
 * a file at the same time, so that a file has no others.
 */
export function useBrowser({ start, prepare } = {}) {
  const site = {};
  let prepared;
  before(async () => {
    Object.assign(site, await openSite(start));
    prepared = await prepare?.(site);
  });
  after(async () => {
    await prepared?.close?.();
    await site.close?.();
  });
  return site;
}

/** A site for a program that is no test. `close()` ends it. */
export async function openSite(start = startInstallation) {
  const proxy = await startBrowserProxy();
  const started = await start({ vars: { PUBLIC_URL: proxy.url } });
  const installation = started.installation ?? started;
  proxy.forwardTo(installation.server);
  const browser = await chromium.launch({ executablePath: process.env.CHROMIUM, args: ["--no-sandbox", "--disable-gpu"] });

  /** A new profile. `options` are Playwright's. `complaints` has what the browser reported. */
  async function newVisitor(options) {
    const context = await browser.newContext(options);
    const complaints = collectComplaints(context, proxy.url);
    const page = await context.newPage();
    return { context, page, complaints, open: (path) => page.goto(proxy.url + path) };
  }

  /** A new profile of somebody who is signed in. `key` is of another workspace than the first. */
  async function newPerson({ id = "you", name = `Person ${id}`, role = "member", key, ...options } = {}) {
    const visitor = await newVisitor(options);
    const { url } = await installation.requestOk("POST", "/v1/sign-in-links", { user: { id, name }, role }, key);
    await visitor.page.goto(url);
    await visitor.page.getByRole("button", { name: /sign in/i }).click();
    await visitor.page.getByRole("heading", { name: "Connections", level: 1 }).waitFor();
    return visitor;
  }

  const close = async () => {
    await browser.close();
    await started.close();
    await proxy.close();
  };
  return { url: proxy.url, proxy, installation, fixture: started, browser, newVisitor, newPerson, close };
}

/**
 * Errors of scripts and of the browser itself, and what of our pages did not load. A page that answers an error is no
 * complaint: the tests open some on purpose.
 */
export function collectComplaints(context, origin) {
  const complaints = [];
  context.on("weberror", (error) => complaints.push(String(error.error())));
  context.on("console", (message) => message.type() === "error" && !/^Failed to load resource/.test(message.text()) && complaints.push(message.text()));
  context.on("response", (response) => {
    const isPage = response.request().isNavigationRequest();
    if (!isPage && response.status() >= 400 && response.url().startsWith(`${origin}/`)) complaints.push(`${response.status()} ${response.url()}`);
  });
  return complaints;
}

/** At the local OAuth server: signs in as an account, and allows access. A popup may close meanwhile. */
export async function allow(page, login) {
  await answerConsent(page, login, "allow");
}

/** The same, and denies it. */
export async function deny(page, login) {
  await answerConsent(page, login, "deny");
}

async function answerConsent(page, login, answer) {
  await page.locator("input[name=login]").fill(login);
  await page.locator("button[type=submit], button").first().click();
  await page.locator(`button[value=${answer}]`).click().catch((error) => assert.match(String(error), /closed/));
}

/** By how many pixels a page is wider than its screen. */
export const excessWidth = (page) => page.evaluate(() => document.documentElement.scrollWidth - innerWidth);

/** The id at the end of a page's address. */
export const lastPart = (page) => new URL(page.url()).pathname.split("/").pop();

/** A site of somebody else, at an origin of its own: `{ origin, close() }`. `answer` may be the text of its page. */
export async function startOtherSite(answer) {
  const html = { "content-type": "text/html" };
  const listener = typeof answer === "string" ? (_, response) => response.writeHead(200, html).end(answer) : answer;
  const server = createServer(listener).listen(0, "localhost");
  await once(server, "listening");
  return { origin: `http://localhost:${server.address().port}`, close: () => (server.closeAllConnections(), server.close()) };
}

/** Presses Tab until `locator` has the focus, as somebody without a mouse does. */
export async function tabTo(page, locator, most = 80) {
  for (let tab = 0; tab < most; tab += 1) {
    if (await locator.evaluate((element) => element === document.activeElement)) return;
    await page.keyboard.press("Tab");
  }
  throw new Error(`The Tab key does not lead to ${locator}`);
}

/** Goes there by keyboard, and presses Enter, or Space for a box. */
export async function pressByKeyboard(page, locator, key = "Enter") {
  await tabTo(page, locator);
  await page.keyboard.press(key);
}

/** Goes to a field by keyboard, and types in place of what is there. */
export async function typeByKeyboard(page, locator, text) {
  await tabTo(page, locator);
  await page.keyboard.press("Control+A");
  await page.keyboard.type(text);
}
