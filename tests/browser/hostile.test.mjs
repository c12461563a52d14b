// Owns that nothing of others runs on our pages or acts through them. Hostile words stand in every name, label, description and
// help text, and in the addresses of logos; other sites frame our pages, post to every form of ours, and forge what a page
// says. Counted in Chromium: scripts that ran, pages that were framed, posts that were accepted, addresses that were asked.

import assert from "node:assert/strict";
import { suite, test } from "node:test";
import { excessWidth, startOtherSite, useBrowser } from "../support/browser.mjs";
import { dumpStoredData } from "../support/installation.mjs";
import { connectMinimalApp, defineMinimalApp, startMinimalApp } from "../support/minimal-app.mjs";
import { PAGE_ROUTES } from "../support/page-routes.mjs";
import { Person } from "../support/person.mjs";

/** Each calls `ran()` if it leaves its place: an element, an attribute, an address, a style, a script. */
const CORPUS = [
  "<script>ran()</script>",
  '"><script>ran()</script>',
  "'><img src=x onerror=ran()>",
  "<svg/onload=ran()>",
  "<svg><script>ran()</script></svg>",
  "</title><script>ran()</script>",
  "</textarea><script>ran()</script>",
  "</style><script>ran()</script>",
  "</h1><iframe src=javascript:parent.ran()>",
  "<iframe srcdoc='<script>parent.ran()</script>'>",
  '" onmouseover="ran()',
  "' autofocus onfocus='ran()",
  '" autofocus onfocus=ran() x="',
  "<details open ontoggle=ran()>",
  "<a href=javascript:ran()>x</a>",
  "javascript:ran()",
  "data:text/html,<script>ran()</script>",
  "<math><mi xlink:href=javascript:ran()>",
  "<img src=x:x onerror&#61;ran()>",
  "&lt;script&gt;ran()&lt;/script&gt;",
  "{{constructor.constructor('ran()')()}}",
  "${ran()}",
  "<!--><script>ran()</script>-->",
  "<form action=//evil.example><button>Sign in",
  "<meta http-equiv=refresh content=0;url=javascript:ran()>",
  "<base href=//evil.example/>",
  "<style>*{display:none}</style>",
  "\u202emoc.live\u202c<b onclick=ran()>",
];

const site = useBrowser({ prepare });
let ada, params, person;
const ran = [];

async function prepare() {
  const { installation } = site;
  const app = await startMinimalApp();
  await defineMinimalApp(installation, app);
  ada = await Person.createSignedIn(installation, { id: "ada", name: "Ada" }, "admin");
  const id = await ada.connect("acme", { login: "ada" });
  const { requestOk } = installation;
  await requestOk("PATCH", "/v1/workspace", { name: CORPUS[1], branding: { name: CORPUS[10], accent: "#0a50b0" } });
  for (const [at, words] of CORPUS.entries()) await fillWith(words, at);
  const key = await requestOk("POST", "/v1/keys", { name: CORPUS[0], scopes: ["resolve"] });
  const webhook = await requestOk("POST", "/v1/webhooks", { url: "https://hooks.example.com/%3Cscript%3Eran()", types: ["connection.created"] });
  const made = await requestOk("POST", "/v1/links", { app: "acme", user: { id: "guest", name: CORPUS[3] } });
  const job = await requestOk("POST", "/v1/apps/small/disconnect-all", { dry_run: true });
  params = {
    connection: id, app: "acme", key: key.id, webhook: webhook.id, link: made.id, job: job.id ?? "job_x", person: "ada", workflow: encodeURIComponent(CORPUS[0]),
    token: "x", client: "cli_0123456789abcdefABCD-_", authorization: "flw_x", reason: "expired", session: "ses_x", sign_in_link: "sil_x", event: "evt_x", stylesheet: "0a50b0.css",
  };
  person = await newWatched({ id: "ada", name: CORPUS[2], role: "admin" });
  return app;
}

/** One connection, account, person, key, workflow and app with these words. An app that is refused for them needs none. */
async function fillWith(words, at) {
  const { requestOk, requestApi } = site.installation;
  // No account is taken from an answer with marks of direction.
  const id = await connectMinimalApp(ada, words.replace(/[\u202a-\u202e]/g, ""));
  await requestOk("PATCH", `/v1/connections/${id}`, { name: words.slice(0, 100), shared: true, metadata: { note: words } });
  await requestOk("POST", `/v1/connections/${id}/resolve`, { workflow: words, step: words });
  await requestOk("POST", "/v1/sign-in-links", { user: { id: words, name: words } });
  await requestOk("POST", "/v1/keys", { name: words, scopes: ["resolve"] });
  const field = { id: "api_key", label: words, help: words, placeholder: words };
  const request = { base_url: "https://app.example.com/", headers: { "X-Api-Key": "{api_key}" } };
  const hostile = { id: `hostile-${at}`, name: words, categories: [words], auth: { type: "api_key", name: words, fields: [field], connect_help: [words], limits: { notes: [words] } }, request };
  const { status } = await requestApi("POST", "/v1/apps", hostile);
  if (status >= 300) await requestApi("POST", "/v1/apps", { id: `hostile-${at}`, name: words, auth: { type: "api_key", name: words, fields: [{ ...field, placeholder: undefined }] }, request });
}

/** A person whose browser counts what ran, however it ran. */
async function newWatched(options) {
  const watched = await site.newPerson(options);
  await watched.context.exposeFunction("ran", () => ran.push(watched.page.url()));
  watched.page.on("dialog", (dialog) => (ran.push(dialog.message()), dialog.dismiss()));
  return watched;
}

/** What only words of others could have put on a page. Runs there. */
function findForeignElements() {
  const foreign = [...document.querySelectorAll("iframe, object, embed, base, style, math, meta[http-equiv], [srcdoc], [style]")];
  foreign.push(...[...document.querySelectorAll("script")].filter((one) => !/^\/assets\/[a-z]+\.[0-9a-f]{12}\.js$/.test(one.getAttribute("src"))));
  foreign.push(...[...document.querySelectorAll("a[href], form[action], use")].filter((one) => !/^(https?:|\/(?!\/)|#)/.test(one.getAttribute("href") ?? one.getAttribute("action"))));
  foreign.push(...[...document.querySelectorAll("*")].filter((one) => [...one.attributes].some(({ name }) => name.startsWith("on"))));
  return foreign.map((one) => one.outerHTML.slice(0, 120));
}

async function expectHarmless({ page, complaints }, where) {
  await page.evaluate(() => document.querySelectorAll("details").forEach((one) => (one.open = true)));
  assert.deepEqual(await page.evaluate(findForeignElements), [], where);
  assert.deepEqual([ran, complaints], [[], []], where);
}

const fillPath = (path) => path.replace(/\{(\w+)\}/g, (_, name) => params[name] ?? "x");

suite("hostile words", () => {
  test("the browser would count a script that runs", async () => {
    const { page, context } = await site.newVisitor();
    let count = 0;
    await context.exposeFunction("ran", () => (count += 1));
    await page.route("http://other.test/", (route) => route.fulfill({ contentType: "text/html", body: CORPUS[0] }));
    await page.goto("http://other.test/");
    for (let tries = 0; count === 0 && tries < 50; tries += 1) await page.waitForTimeout(20);
    assert.equal(count, 1);
    await context.close();
  });

  test("run on no page, and make no element", async () => {
    const pages = PAGE_ROUTES.filter(({ method, path }) => method === "GET" && !/export|callback|stylesheet/.test(path)).map(({ path }) => fillPath(path));
    const list = (await site.installation.requestOk("GET", "/v1/connections?limit=100")).data;
    const more = [
      ...list.flatMap(({ id }) => [`/connections/${id}`, `/connections/${id}/disconnect`]),
      ...CORPUS.flatMap((words, at) => [`/oauth/start/hostile-${at}`, `/workflows/${encodeURIComponent(words)}`, `/?q=${encodeURIComponent(words)}`]),
      ...CORPUS.slice(0, 8).flatMap((words) => [`/connect?q=${encodeURIComponent(words)}`, `/settings/people?q=${encodeURIComponent(words)}`, `/activity?workflow=${encodeURIComponent(words)}`, `/nothing/${encodeURIComponent(words)}`, `/settings/people/${encodeURIComponent(words)}`]),
      ...CORPUS.slice(0, 4).map((_, at) => `/settings/custom-apps/hostile-${at}`),
    ];
    assert.ok(list.length > CORPUS.length && pages.length > 40, `${list.length} connections, ${pages.length} pages`);
    for (const path of [...pages, ...more]) {
      await person.open(path);
      await expectHarmless(person, path);
    }
  });

  test("run in no form that is shown again with what was entered", async () => {
    const { page, open } = person;
    for (const words of CORPUS) {
      await open(`/connections/${params.connection}/rename`);
      await page.getByLabel("Name of this connection").evaluate((input, text) => (input.removeAttribute("maxlength"), (input.value = text)), words.padEnd(120, "x"));
      await page.getByRole("button", { name: "Save name" }).click();
      await page.getByText("Enter a name of up to 100 characters").first().waitFor();
      await expectHarmless(person, `rename to ${words}`);
    }
    await open("/settings/new-app");
    await page.getByLabel("Definition").evaluate((field, text) => ((field.value = text), (field.closest("details").open = true)), `{"id": "${CORPUS[6]}`);
    await page.getByRole("button", { name: "Create a custom app" }).last().click();
    await expectHarmless(person, "a definition");
  });

  test("run on no page of a guest", async () => {
    const guest = await site.newVisitor();
    await guest.context.exposeFunction("ran", () => ran.push(guest.page.url()));
    for (const words of CORPUS) {
      const { url } = await site.installation.requestOk("POST", "/v1/links", { app: "acme", user: { id: "guest", name: words } });
      await guest.page.goto(url);
      await expectHarmless(guest, words);
    }
    await guest.context.close();
  });
});

/** Addresses of logos that are none: nothing may be asked for them. `elsewhere` is a site that no page may ask. */
const hostileLogos = (elsewhere) => [
  "javascript:ran()",
  "java\nscript:ran()",
  "data:text/html,<script>parent.ran()</script>",
  "data:image/svg+xml,<svg xmlns='http://www.w3.org/2000/svg' onload='ran()'/>",
  "vbscript:ran()",
  "blob:null/0",
  "file:///etc/passwd",
  "x",
  `//${new URL(elsewhere).host}/x`,
  '" onerror="ran()',
  "' onerror='ran()",
  '"><script>ran()</script>',
  `${elsewhere}/x; script-src *`,
  `${elsewhere.replace("//", "//user:word@")}/x`,
  `${elsewhere}/x#y`,
  `${elsewhere}/${"a".repeat(100_000)}`,
];

suite("hostile logos of connect links", () => {
  let elsewhere, logos, guest;
  const asked = [];
  const elements = (to) => `<script>ran(); new Image().src = "${to}/script"</script><style>@import url("${to}/style")</style>`;
  const svg = (to) => `<svg xmlns="http://www.w3.org/2000/svg" width="9000" height="9000" onload="ran()">${elements(to)}<image href="${to}/image" width="9" height="9"/><use href="${to}/use#x"/><foreignObject width="9000" height="9000"><iframe xmlns="http://www.w3.org/1999/xhtml" src="${to}/frame" onload="ran()"/></foreignObject><rect width="9000" height="9000" fill="#ff0000"/></svg>`;
  const answers = {
    "/svg": (response) => response.writeHead(200, { "content-type": "image/svg+xml" }).end(svg(elsewhere.origin)),
    "/html": (response) => response.writeHead(200, { "content-type": "text/html" }).end(elements(elsewhere.origin)),
    "/script": (response) => response.writeHead(200, { "content-type": "text/javascript" }).end("ran()"),
    "/redirect": (response) => response.writeHead(302, { location: `${elsewhere.origin}/redirected` }).end(),
    "/missing": (response) => response.writeHead(404, { "content-type": "text/plain" }).end(),
  };

  /** A guest opens a link while this is stored as the logo. Returns what the browser asked other hosts for. */
  async function openWithLogo(logo) {
    const { requestOk, run } = site.installation;
    await run("UPDATE workspaces SET branding = json_object('name', ?1, 'logo_url', ?2)", CORPUS[10], logo);
    const { url } = await requestOk("POST", "/v1/links", { app: "acme", user: { id: "guest", name: CORPUS[3] } });
    const requests = [];
    const note = (request) => request.url().startsWith(`${site.url}/`) || requests.push(request.url());
    guest.context.on("request", note);
    await guest.page.goto(url);
    guest.context.off("request", note);
    return requests;
  }

  async function open() {
    elsewhere = await startOtherSite((request, response) => (asked.push(request.url), response.end()));
    logos = await startOtherSite((request, response) => answers[request.url.split("?")[0]]?.(response));
    guest = await site.newVisitor({ viewport: { width: 320, height: 740 } });
    await guest.context.exposeFunction("ran", () => ran.push(guest.page.url()));
  }

  async function close() {
    await guest.context.close();
    for (const other of [elsewhere, logos]) other.close();
  }

  test("are refused by the API and by the form, and load nothing if they were stored all the same", async () => {
    await open();
    try {
      for (const logo of hostileLogos(elsewhere.origin)) {
        const about = logo.slice(0, 60);
        const { status } = await site.installation.requestApi("PATCH", "/v1/workspace", { branding: { logo_url: logo } });
        assert.equal(status, 422, about);
        await person.open("/settings/workspace");
        await person.page.getByLabel("Address of its logo").evaluate((input, text) => ((input.type = "text"), (input.value = text)), logo);
        await person.page.locator("form").evaluateAll((forms) => forms.forEach((form) => (form.noValidate = true)));
        await person.page.getByRole("button", { name: "Save", exact: true }).first().click();
        await person.page.getByText("Something has to be corrected").waitFor();
        await expectHarmless(person, about);
        assert.deepEqual(await openWithLogo(logo), [], about);
        assert.equal(await guest.page.locator("img").count(), 0, about);
        await expectHarmless(guest, about);
      }
      assert.deepEqual(asked, []);
    } finally {
      await close();
    }
  });

  test("are a picture of 48 pixels, or nothing, whatever their host answers", async () => {
    await open();
    try {
      const isShown = { "/svg": true };
      for (const path of Object.keys(answers)) {
        // Marks of addresses and of elements stay in the address.
        const logo = `${logos.origin}${path}?x=%22%3E%3Cscript%3Eran()%3C/script%3E'&y=z`;
        const requests = await openWithLogo(logo);
        assert.ok(requests.length > 0 && requests.every((url) => url.startsWith(`${logos.origin}${path}?`) || path === "/redirect"), `${requests}`);
        const image = guest.page.locator("img");
        assert.equal((await image.evaluate((one) => one.naturalWidth)) > 0, isShown[path] ?? false, path);
        const { width, height } = await image.boundingBox();
        assert.deepEqual([width, height], [48, 48], path);
        assert.equal(await excessWidth(guest.page), 0, path);
        // The browser says that it does not follow the redirect.
        guest.complaints.splice(0, Infinity, ...guest.complaints.filter((one) => !/Content Security Policy directive: "img-src/.test(one)));
        await expectHarmless(guest, path);
      }
      assert.deepEqual(asked, [], "nothing else is asked");
    } finally {
      await close();
    }
  });
});

suite("another site", () => {
  test("shows no page of ours in a frame", async () => {
    const paths = PAGE_ROUTES.filter(({ method, path }) => method === "GET" && !/export|stylesheet/.test(path)).map(({ path }) => fillPath(path));
    const frames = paths.map((path) => `<iframe src="${site.url}${path}"></iframe>`).join("");
    const other = await startOtherSite(`<!doctype html><title>Other</title>${frames}`);
    const page = await person.context.newPage();
    const refused = new Set();
    page.on("console", (message) => /frame-ancestors|X-Frame-Options/i.test(message.text()) && refused.add(/'(http[^']*?)\/?'/.exec(message.text())?.[1]));
    try {
      await page.goto(other.origin);
      const shown = page.frames().filter((frame) => frame !== page.mainFrame());
      assert.equal(shown.length, paths.length);
      const inside = await Promise.all(shown.map((frame) => frame.evaluate(() => location.href)));
      assert.deepEqual(inside.filter((url) => url !== "chrome-error://chromewebdata/"), []);
      assert.ok(refused.size > 0, "the browser says why");
    } finally {
      await page.close();
      other.close();
      person.complaints.length = 0;
    }
  });

  test("posts to each of our forms, and nothing changes", async () => {
    const posts = PAGE_ROUTES.filter(({ method }) => method === "POST").map(({ path }) => fillPath(path));
    assert.ok(posts.length > 40, `${posts.length}`);
    // Ports of one host are one site to a browser: the session's cookie is sent.
    const other = await startOtherSite(`<!doctype html><title>Other</title>`);
    const page = await person.context.newPage();
    const before = await dumpStoredData(site.installation);
    try {
      for (const path of posts) {
        await page.goto(other.origin);
        const answered = page.waitForResponse((response) => response.request().method() === "POST");
        const loaded = page.waitForEvent("load");
        await page.evaluate((action) => {
          const fields = { csrf: "guess", name: "Taken over", confirm: "acme", reason: "x", choice: "switch", role: "admin", email: "mallory@example.test" };
          const form = Object.assign(document.createElement("form"), { method: "post", action });
          for (const [name, value] of Object.entries(fields)) form.append(Object.assign(document.createElement("input"), { name, value }));
          document.body.append(form);
          form.submit();
        }, site.url + path);
        const [answer] = await Promise.all([answered, loaded]);
        assert.ok((await answer.request().allHeaders()).cookie?.includes("cx_session"), "the cookie is sent");
        assert.equal(answer.status(), 403, path);
      }
    } finally {
      await page.close();
      other.close();
    }
    const now = await dumpStoredData(site.installation);
    for (const [place, text] of Object.entries(before)) assert.equal(now[place], text, place);
    person.complaints.length = 0;
  });

  test("makes no page say what has not happened", async () => {
    const forged = ["disconnected", "disconnected.", "disconnected..x", `disconnected.${btoa("x")}.${"A".repeat(43)}`, "connected.YWRh.", "signed-in"];
    const other = await startOtherSite("<!doctype html><title>Other</title>");
    const { page, context, open } = await site.newPerson({ id: "told" });
    try {
      for (const cookie of forged) {
        await page.goto(other.origin);
        await page.evaluate((value) => (document.cookie = `cx_notice=${value}; path=/`), cookie);
        await open("/");
        assert.equal(await page.locator("#notice").count(), 0, cookie);
      }
      for (const path of ["/?done=disconnected", "/?notice=disconnected", "/?done=connected&account=mallory", "/#notice"]) {
        await open(path);
        assert.equal(await page.locator("#notice").count(), 0, path);
      }
    } finally {
      await context.close();
      other.close();
    }
  });

  test("learns no notice from a page, and its own opener is cut off", async () => {
    const other = await startOtherSite("<!doctype html><title>Other</title><button>Open</button>");
    const page = await person.context.newPage();
    try {
      await page.goto(other.origin);
      await page.evaluate((url) => (document.querySelector("button").onclick = () => (window.opened = window.open(url))), `${site.url}/`);
      const [popup] = await Promise.all([person.context.waitForEvent("page"), page.getByRole("button").click()]);
      await popup.getByRole("heading", { name: "Connections", level: 1 }).waitFor();
      assert.equal(await page.evaluate(() => window.opened.closed), true, "the opener has no handle");
      assert.equal(await popup.evaluate(() => window.opener), null);
    } finally {
      await page.close();
      other.close();
    }
  });
});
