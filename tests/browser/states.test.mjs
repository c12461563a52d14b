// Owns what every page in every state has to be in a browser: reachable, readable and usable on a phone, a tablet and a
// computer, in the light, in the dark and with a person's own colours, by keyboard, and small. `npm test` looks at a sample of
// the states, on two screens; `npm test -- browser --full` at all of them on all screens. PAGE_STATES=each looks at all of them
// on two screens, PAGE_STATES=connect,try at some. What was seen is left in .dev/pages: pictures, and problems.txt.

import assert from "node:assert/strict";
import { appendFileSync, mkdirSync, readFileSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { join } from "node:path";
import { suite, test } from "node:test";
import { collectComplaints, useBrowser, WIDTHS } from "../support/browser.mjs";
import { ROOT } from "../support/installation.mjs";
import { isOfRoute, PAGE_ROUTES } from "../support/page-routes.mjs";
import { openState, prepareWorld, states, storageOf } from "../support/page-states.mjs";

const AXE = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const PICTURES = join(ROOT, ".dev/pages");
const PROBLEMS = join(PICTURES, "problems.txt");
const asked = process.env.PAGE_STATES || "sample";
const chosen = states.filter(({ name, sample }) => (asked === "sample" ? sample : ["all", "each"].includes(asked) || asked.split(",").includes(name)));
const isWhole = asked === "all";

/** Bytes of a first load, compressed as they travel, and of its script, as it runs. */
const MOST_BYTES = 60_000;
const MOST_SCRIPT_BYTES = 10_000;
const MOST_TABS = 80;

const SCREENS = WIDTHS.flatMap((width) => ["light", "dark"].map((colorScheme) => ({ width, colorScheme })));
const SAMPLE_SCREENS = [{ width: 1440, colorScheme: "light" }, { width: 320, colorScheme: "dark" }];

let world;
const site = useBrowser({ prepare: async (opened) => (world = await prepareWorld(opened)) });
mkdirSync(PICTURES, { recursive: true });
rmSync(PROBLEMS, { force: true });

suite("with scripts", () => {
  for (const state of chosen) test(state.name, () => look(state, { screens: isWhole ? SCREENS : SAMPLE_SCREENS, suffix: "" }));
});

suite("without scripts", () => {
  for (const state of chosen.filter(({ scripts }) => !scripts)) {
    test(state.name, () => look(state, { javaScriptEnabled: false, screens: isWhole ? SAMPLE_SCREENS : SAMPLE_SCREENS.slice(1), suffix: "-plain" }));
  }
});

/** What has no page of its own to look at: it redirects, or it is a file. */
const WITHOUT_PAGE = ["/bulk", "/settings", "/oauth/callback/{client}", "/sign-in/callback/{client}", "/activity/export"];
const seen = new Set();

if (asked === "all" || asked === "each") {
  test("every page has a state", () => {
    const missing = PAGE_ROUTES.filter((route) => route.method === "GET" && !WITHOUT_PAGE.includes(route.path) && ![...seen].some((path) => isOfRoute(path, route)));
    assert.deepEqual(missing.map(({ path }) => path), []);
  });
}

/** Opens a state with a new profile and asserts that nothing is wrong with it. */
async function look(state, { screens, suffix, javaScriptEnabled = true }) {
  const context = await site.browser.newContext({ viewport: { width: 1440, height: 900 }, storageState: storageOf(site, world, state.who), javaScriptEnabled, reducedMotion: "reduce" });
  context.setDefaultTimeout(15_000);
  try {
    const found = new Set(await findAllProblems(context, state, { screens, suffix, javaScriptEnabled }));
    for (const problem of found) appendFileSync(PROBLEMS, `${state.name}${suffix}: ${problem}\n`);
    assert.deepEqual([...found], []);
  } finally {
    await context.close();
  }
}

async function findAllProblems(context, state, { screens, suffix, javaScriptEnabled }) {
  const complaints = collectComplaints(context, site.url);
  const page = await context.newPage();
  const answer = await openState(site, page, world, state);
  seen.add(new URL(page.url()).pathname);
  const heading = (await page.locator("h1").first().innerText()).trim();
  if (state.status) assert.equal(answer?.status(), state.status, `the status of ${page.url()}, "${heading}"`);
  assert.ok(typeof state.heading === "string" ? heading === state.heading : state.heading.test(heading), `the heading of ${page.url()} is "${heading}"`);

  const problems = [...complaints, ...(await page.evaluate(findStructureProblems))];
  if (javaScriptEnabled) problems.push(...(await findLoadProblems(page)));
  const isOpened = answer?.request().method() === "GET" && answer.status() === 200;
  problems.push(...(await findKeyboardProblems(page)));
  const find = javaScriptEnabled ? findProblems : findSizes;
  if (javaScriptEnabled) await page.evaluate(AXE);
  const shoot = (what) => page.screenshot({ path: join(PICTURES, `${state.name}-${what}${suffix}.png`), fullPage: true });
  for (const { width, colorScheme } of screens) {
    await show(page, { width, colorScheme });
    problems.push(...(await find(page, `${width} ${colorScheme}`)));
    await shoot(`${width}-${colorScheme}`);
  }
  // What can be unfolded is unfolded, and a menu opened: several would hide each other.
  await show(page, { width: 320, colorScheme: "light" });
  await page.evaluate(() => document.querySelectorAll("details:not(.menu)").forEach((one) => (one.open = true)));
  problems.push(...(await find(page, "320 unfolded")));
  for (const menu of [".bar details.menu", "main details.menu"]) {
    await page.evaluate((selector) => document.querySelector(selector)?.setAttribute("open", ""), menu);
    problems.push(...(await findSizes(page, `320 with an open menu`)));
    await page.evaluate((selector) => document.querySelector(selector)?.removeAttribute("open"), menu);
  }
  if (isWhole) {
    await shoot("320-unfolded");
    await show(page, { width: 768, colorScheme: "dark", forcedColors: "active" });
    problems.push(...(await findSizes(page, "768 forced colours")));
    await shoot("768-forced");
  }
  if (javaScriptEnabled && isOpened) problems.push(...(await findSlowLineProblems(page)));
  return problems;
}

/**
 * What moves on a slow line: the page arrives with some rows of its table, and then with all of them. A browser shows what it
 * has, so that a column that is as wide as its rows makes the others jump.
 */
async function findSlowLineProblems(page) {
  const rows = await page.locator("tbody > tr").count();
  if (rows < 3) return [];
  await show(page, { width: 1440, colorScheme: "light" });
  const problems = [];
  for (const shown of new Set([1, Math.floor(rows / 2)])) {
    const sendRest = site.proxy.holdNextPage((html) => html.split("</tr>").slice(0, shown + 1).join("</tr>") + "</tr>");
    await page.goto(page.url(), { waitUntil: "commit" });
    await page.waitForFunction((shown) => document.querySelectorAll("tbody > tr").length >= shown && performance.getEntriesByName("first-contentful-paint").length > 0, shown);
    sendRest();
    await page.waitForLoadState("load");
    const { moved } = await page.evaluate(readLoad);
    problems.push(...moved.map((what) => `it moved when it had ${shown} of ${rows} rows: ${what}`));
  }
  return problems;
}

async function show(page, { width, colorScheme, forcedColors = "none" }) {
  await page.setViewportSize({ width, height: width > 1000 ? 900 : 740 });
  await page.emulateMedia({ colorScheme, forcedColors });
}

/** What is too wide or too small. */
const findSizes = async (page, screen) => (await page.evaluate(findSizeProblems)).map((problem) => `${screen}: ${problem}`);

/** The same, and every rule of axe-core, including best practices. It needs timers, which a page without scripts does not have. */
async function findProblems(page, screen) {
  const sizes = await findSizes(page, screen);
  const violations = await page.evaluate(async () => {
    const options = { resultTypes: ["violations"], rules: { "target-size": { enabled: true } } };
    const found = (await axe.run(document, options)).violations;
    return found.flatMap(({ id, nodes }) => nodes.map(({ target, failureSummary }) => `axe ${id}: ${target} ${failureSummary.replace(/\s+/g, " ").slice(0, 200)}`));
  });
  return [...sizes, ...violations.map((problem) => `${screen}: ${problem}`)];
}

/** Runs in the page: horizontal overflow, and targets below 44 pixels. A link within a sentence is none. */
function findSizeProblems() {
  const problems = [];
  const name = (element) => `<${element.localName}${element.id && `#${element.id}`} class="${element.className?.baseVal ?? element.className}"> ${(element.innerText ?? "").trim().slice(0, 40)}`;
  const excess = document.documentElement.scrollWidth - innerWidth;
  if (excess > 0) {
    const widest = [...document.querySelectorAll("main *, header *")].filter((one) => one.getBoundingClientRect().right > innerWidth + 1).slice(0, 3);
    problems.push(`${excess} px wider than the screen: ${widest.map(name).join("; ")}`);
  }
  for (const element of document.querySelectorAll("a[href], button, input:not([type=hidden]), select, textarea, summary")) {
    if (!element.checkVisibility({ visibilityProperty: true })) continue;
    const isBox = element.matches("[type=checkbox], [type=radio]");
    const target = isBox ? (element.closest("label") ?? document.querySelector(`label[for="${element.id}"]`) ?? element) : element;
    const { width, height, right } = target.getBoundingClientRect();
    if (right <= 0) continue;
    const isInline = getComputedStyle(target).display === "inline";
    if (isInline && target.parentElement.innerText.trim() !== target.innerText.trim()) continue;
    if (width < 43.5 || height < 43.5) problems.push(`${Math.round(width)} by ${Math.round(height)} px: ${name(target)}`);
  }
  return problems;
}

/** Runs in the page: one heading of the first level, landmarks with names, ids that exist once, a way past the bar. */
function findStructureProblems() {
  const problems = [];
  const expect = (holds, problem) => holds || problems.push(problem);
  const count = (selector) => document.querySelectorAll(selector).length;
  expect(count("h1") === 1, `${count("h1")} h1`);
  expect(count("main") === 1 && count("body > header") === 1, "not one main and one header");
  expect(/ – Connections$/.test(document.title), `the title is ${document.title}`);
  expect(document.documentElement.lang === "en", "no language");
  const labelOf = (element) => element.ariaLabel || (element.getAttribute("aria-labelledby") ?? "").split(" ").map((id) => document.getElementById(id)?.textContent ?? "").join(" ").trim();
  for (const landmark of document.querySelectorAll("nav, search, [role=search], [role=region], section")) expect(labelOf(landmark), `a landmark without a name: ${landmark.outerHTML.slice(0, 80)}`);
  const ids = [...document.querySelectorAll("[id]")].map(({ id }) => id);
  expect(new Set(ids).size === ids.length, `ids that are there twice: ${ids.filter((id, at) => ids.indexOf(id) !== at)}`);
  for (const attribute of ["aria-describedby", "aria-labelledby", "for"]) {
    for (const element of document.querySelectorAll(`[${attribute}]`)) {
      for (const id of element.getAttribute(attribute).split(" ")) expect(document.getElementById(id), `${attribute} names ${id}, which is not there`);
    }
  }
  const [first] = document.querySelectorAll("a[href], button, input:not([type=hidden])");
  expect(first?.matches("a.skip") && document.querySelector(first.getAttribute("href")), "the first link does not lead to the content");
  return problems;
}

/** By the browser's own entries: what was loaded, and whether anything moved afterwards. */
async function findLoadProblems(page) {
  const load = await page.evaluate(readLoad);
  const problems = [];
  if (load.bytes > MOST_BYTES) problems.push(`${load.bytes} bytes were loaded`);
  if (load.script > MOST_SCRIPT_BYTES) problems.push(`${load.script} bytes of script`);
  if (load.moved.length > 0) problems.push(`the page moved: ${load.moved}`);
  return problems;
}

/** Runs in the page: what was loaded, in bytes, and what has moved. */
function readLoad() {
  const moved = [];
  const nameOf = ({ node }) => (node?.outerHTML ?? node?.textContent ?? "what is gone").slice(0, 60);
  const describe = ({ value, sources }) => `${value.toFixed(4)} ${sources.slice(0, 2).map(nameOf).join("; ")}`;
  new PerformanceObserver((list) => moved.push(...list.getEntries().filter(({ hadRecentInput }) => !hadRecentInput).map(describe))).observe({ type: "layout-shift", buffered: true });
  const entries = [...performance.getEntriesByType("navigation"), ...performance.getEntriesByType("resource")].filter((entry) => entry.name.startsWith(`${location.origin}/`));
  const scripts = entries.filter(({ name }) => /\.js$/.test(name));
  const sum = (list, member) => list.reduce((total, entry) => total + entry[member], 0);
  const answer = () => ({ bytes: sum(entries, "transferSize"), script: sum(scripts, "decodedBodySize"), moved });
  return new Promise((resolve) => requestAnimationFrame(() => setTimeout(() => resolve(answer()), 50)));
}

/** Where the Tab key leads: everything that has the focus shows it, and the focus is caught nowhere. */
async function findKeyboardProblems(page) {
  const problems = [];
  const seen = new Set();
  let last;
  await page.evaluate(() => (document.activeElement?.blur(), getSelection().removeAllRanges()));
  for (let tab = 0; tab < MOST_TABS; tab += 1) {
    await page.keyboard.press("Tab");
    const at = await page.evaluate(() => {
      const element = document.activeElement;
      if (!element || element === document.body) return undefined;
      const { outlineStyle, outlineWidth } = getComputedStyle(element);
      const box = element.getBoundingClientRect();
      const all = [...document.querySelectorAll("*")];
      return { index: all.indexOf(element), what: element.outerHTML.slice(0, 90), isShown: outlineStyle !== "none" && parseFloat(outlineWidth) >= 2 && box.width > 0 && box.right > 0 };
    });
    if (!at) break;
    // A field for a day takes the key several times.
    if (seen.has(at.index) && at.index !== last) break;
    last = at.index;
    seen.add(at.index);
    if (!at.isShown) problems.push(`the focus is not seen on ${at.what}`);
  }
  if (seen.size === 0) problems.push("the Tab key leads nowhere");
  await page.evaluate(() => (document.activeElement?.blur(), scrollTo(0, 0)));
  return problems;
}
