// Owns what every page guarantees in a browser: headers, forms that are accepted only from our own pages, untrusted
// text that stays text, and sessions that end. How pages behave in a real browser is tested in tests/browser.

import assert from "node:assert/strict";
import { after, before, suite, test } from "node:test";
import { PUBLIC_URL, startInstallation } from "../support/installation.mjs";
import { pathOf, Person } from "../support/person.mjs";
import { connectMinimalApp, defineMinimalApp, startMinimalApp } from "../support/minimal-app.mjs";

let installation, ada, id, app;
before(async () => {
  installation = await startInstallation();
  app = await startMinimalApp();
  await defineMinimalApp(installation, app);
  ada = await Person.createSignedIn(installation);
  id = await ada.connect();
});
after(async () => {
  await installation.close();
  app.close();
});

const nameOf = async () => (await installation.requestOk("GET", `/v1/connections/${id}`)).name;
const csrfOf = async (person, path = "/") => /name="csrf" value="([^"]*)"/.exec((await person.get(path)).html)[1];

/** A page without our own static script and drawings. */
const withoutOurs = (html) =>
  html
    .replace(/<script src="\/assets\/[a-z]+\.[0-9a-f]{12}\.js"( defer)?><\/script>/g, "")
    .replace(/<svg( class="[a-z ]+")?( aria-hidden="true")? focusable="false"><use href="\/assets\/[a-z]+\.[0-9a-f]{12}\.svg#[a-z-]+"><\/use><\/svg>/g, "")
    .replace(/<svg class="spark" role="img" aria-label="[^"<>]*" viewBox="[0-9 ]+" preserveAspectRatio="none">/g, "");

test("every page forbids scripts but our own, frames, caches and referrers", async () => {
  const { url: signIn } = await installation.requestOk("POST", "/v1/sign-in-links", { user: { id: "x" } });
  const { url: link } = await installation.requestOk("POST", "/v1/links", { app: "acme" });
  const visitor = new Person(installation);
  const duplicate = await ada.completeFlow("/oauth/start/acme");
  const pages = [
    [ada, "/", 200],
    [ada, `/connections/${id}`, 200],
    [ada, `/connections/${id}?disconnect=1`, 200],
    [ada, "/oauth/start/acme", 200, true],
    [ada, `/connections/${id}/reconnect`, 200, true],
    [ada, duplicate, 200, true],
    [visitor, pathOf(signIn), 200],
    [visitor, pathOf(link), 200, true],
    [visitor, "/", 401],
    [visitor, "/oauth/ended/begun-anew", 400],
    [visitor, "/connect/nothing", 410],
    [ada, "/connections/con_x", 404],
  ];
  for (const [who, path, status, leadsOut] of pages) {
    const page = await who.get(path);
    assert.equal(page.status, status, path);
    const policy = Object.fromEntries(
      page.headers
        .get("content-security-policy")
        .split("; ")
        .map((one) => [one.split(" ")[0], one.slice(one.indexOf(" ") + 1)]),
    );
    assert.deepEqual(
      [policy["default-src"], policy["frame-ancestors"], policy["base-uri"], policy["style-src"], policy["script-src"]],
      ["'none'", "'none'", "'none'", "'self'", `${PUBLIC_URL}/assets/`],
      path,
    );
    assert.equal(policy["form-action"].includes("https:"), Boolean(leadsOut), `form-action of ${path}: ${policy["form-action"]}`);
    for (const [header, value] of [
      ["cache-control", "no-store"],
      ["x-content-type-options", "nosniff"],
      ["x-frame-options", "DENY"],
      ["referrer-policy", "same-origin"],
      ["cross-origin-opener-policy", "same-origin"],
      ["content-type", "text/html; charset=utf-8"],
    ]) {
      assert.equal(page.headers.get(header), value, `${header} of ${path}`);
    }
    assert.doesNotMatch(withoutOurs(page.html), /<script|\son\w+=|javascript:|style="/i, path);
    assert.doesNotMatch(withoutOurs(page.html), /src="|href="(?!\/|#main")/, `${path} loads or leads to nothing foreign`);
  }
});

test("scripts and other sites cannot read the session cookie, and it is never on a page", async () => {
  const person = new Person(installation);
  const { url } = await installation.requestOk("POST", "/v1/sign-in-links", { user: { id: "x" } });
  const { headers } = await person.submit(pathOf(url));
  const [cookie, ...others] = headers.getSetCookie();
  assert.match(cookie, /^cx_session=[\w-]{45}; Path=\/; HttpOnly; SameSite=Lax; Max-Age=\d+$/);
  for (const other of others) assert.match(other, /^cx_notice=[\w.-]+; Path=\/; HttpOnly; SameSite=Lax; Max-Age=60$/);
  const [value] = person.cookies.values();
  assert.ok(!(await person.get("/")).html.includes(value));
  const outside = await startInstallation({ workspace: false, vars: { PUBLIC_URL: "https://connections.example.com", DEV_LOOPBACK: "" } });
  try {
    const { key } = (await outside.requestOk("POST", "/v1/workspaces", { name: "Outside" }, outside.adminKey)).key;
    const link = await outside.requestOk("POST", "/v1/sign-in-links", { user: { id: "x" } }, key);
    const answer = await outside.request(pathOf(link.url), { method: "POST", headers: { origin: "https://connections.example.com" } });
    for (const cookie of answer.headers.getSetCookie()) assert.match(cookie, /^__Host-cx_\w+=.*; Secure$/);
    assert.match(answer.headers.get("strict-transport-security"), /max-age=\d{8}/);
  } finally {
    await outside.close();
  }
});

suite("a form", () => {
  const FOREIGN = {
    "from another site": { origin: "https://evil.example" },
    "from a site whose name begins alike": { origin: `${PUBLIC_URL}.evil.example` },
    "from another port": { origin: "http://localhost:8788" },
    "from another scheme": { origin: "https://localhost:8787" },
    "from nowhere": { origin: "null" },
    "that the browser calls cross-site": { "sec-fetch-site": "cross-site" },
    "that the browser calls same-site only": { "sec-fetch-site": "same-site" },
    "that the browser calls none of a page's": { "sec-fetch-site": "none" },
  };
  /** Every form, by its action, with a valid token. Only the origin is wrong. */
  const forms = () => [
    "/sign-out",
    "/oauth/start/acme",
    ...["rename", "check", "reconnect", "disconnect"].map((what) => `/connections/${id}/${what}`),
  ];

  for (const [name, headers] of Object.entries(FOREIGN)) {
    test(`${name} does nothing`, async () => {
      const csrf = await csrfOf(ada);
      const before = await nameOf();
      const { url: link } = await installation.requestOk("POST", "/v1/links", { app: "acme" });
      const { url: signIn } = await installation.requestOk("POST", "/v1/sign-in-links", { user: { id: "x" } });
      for (const path of [...forms(), pathOf(link), pathOf(signIn)])
        assert.equal((await ada.post(path, { csrf, name: "Taken over" }, headers)).status, 403, path);
      assert.equal(await nameOf(), before);
      assert.equal((await ada.get("/")).status, 200, "still signed in");
      assert.equal((await new Person(installation).get(pathOf(signIn))).status, 200, "the link is not used up");
    });
  }

  test("without the token of its session does nothing", async () => {
    const before = await nameOf();
    const unknown = await csrfOf(await Person.createSignedIn(installation, { id: "mallory" }));
    for (const token of [undefined, "", "guess", unknown, (await csrfOf(ada)).slice(1)]) {
      for (const path of forms())
        assert.equal(
          (await ada.post(path, { ...(token !== undefined && { csrf: token }), name: "Taken over" })).status,
          403,
          `${path} with ${token}`,
        );
    }
    assert.equal(await nameOf(), before);
  });

  test("with neither origin nor fetch metadata does nothing", async () => {
    const cookie = [...ada.cookies].map(([name, value]) => `${name}=${value}`).join("; ");
    const body = new URLSearchParams({ csrf: await csrfOf(ada), name: "Taken over" }).toString();
    const { status } = await installation.request(`/connections/${id}/rename`, {
      method: "POST",
      body,
      headers: { cookie, "content-type": "application/x-www-form-urlencoded" },
    });
    assert.equal(status, 403);
  });

  test("from our own page works: rename and check, each with a message", async () => {
    const renamed = await ada.submit(`/connections/${id}`, { name: "Payroll" }, { to: `/connections/${id}/rename` });
    assert.match((await ada.get(renamed.location)).text, /Name saved\./);
    assert.equal(await nameOf(), "Payroll");
    const checked = await ada.submit(`/connections/${id}`, {}, { to: `/connections/${id}/check` });
    assert.match((await ada.get(checked.location)).text, /Checked: it works/);
    for (const name of ["", " ", "x".repeat(101), "a\u0000b"])
      assert.equal((await ada.submit(`/connections/${id}`, { name }, { to: `/connections/${id}/rename` })).status, 422, JSON.stringify(name));
    assert.equal(await nameOf(), "Payroll");
  });

  test("is not an API: an API key opens no page, and a session opens no API route", async () => {
    assert.equal((await installation.request("/", { headers: { authorization: `Bearer ${installation.key}` } })).status, 401);
    const cookie = [...ada.cookies].map(([name, value]) => `${name}=${value}`).join("; ");
    assert.equal((await installation.request("/v1/connections", { headers: { cookie } })).status, 401);
    assert.equal(
      (await installation.request(`/v1/connections/${id}/resolve`, { method: "POST", headers: { cookie, origin: PUBLIC_URL }, body: "{}" })).status,
      401,
    );
  });
});

suite("untrusted text", () => {
  const XSS = [
    "<script>alert(1)</script>",
    '"><script>alert(1)</script>',
    "'><img src=x onerror=alert(1)>",
    "<svg/onload=alert(1)>",
    "</title><script>alert(1)</script>",
    "</h1><iframe src=javascript:alert(1)>",
    '" onmouseover="alert(1)',
    "' autofocus onfocus='alert(1)",
    "&lt;script&gt;",
    "&#60;script&#62;",
    "<a href=javascript:alert(1)>x</a>",
    "{{7*7}}",
    "${7*7}",
    "<!-- -->",
    "]]><x>",
    "<form action=//evil.example><button>",
    "<meta http-equiv=refresh content=0>",
    "<base href=//evil.example/>",
    "<style>*{display:none}</style>",
  ];
  /** The page shows the text and has no element from it. */
  const shows = (page, words, where) => {
    assert.ok(page.text.includes(words.replace(/\s+/g, " ").trim()) || page.html.includes(escaped(words)), `${words} is shown ${where}`);
    if (/[<>"]/.test(words)) assert.ok(!page.html.includes(words), `${words} is escaped ${where}`);
    // Everything between < and > is markup. Without the quoted values, none of it may come from the untrusted text.
    for (const tag of withoutOurs(page.html).match(/<[^>]*>/g))
      assert.doesNotMatch(tag.replace(/"[^"]*"/g, '""'), /^<(script|iframe|svg|img|base|style|object)|http-equiv|\son/i, where);
  };
  const escaped = (text) => text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;").replaceAll('"', "&quot;");

  test("stays text: a connection's name", async () => {
    for (const words of XSS) {
      await installation.requestOk("PATCH", `/v1/connections/${id}`, { name: words });
      for (const path of ["/", `/connections/${id}`, `/connections/${id}?disconnect=1`, `/connections/${id}/reconnect`])
        shows(await ada.get(path), words, `on ${path}`);
    }
  });

  test("stays text: an account's label from the app", async () => {
    for (const words of XSS) {
      const connection = await connectMinimalApp(ada, words);
      assert.equal((await installation.requestOk("GET", `/v1/connections/${connection}`)).account.label, words);
      for (const path of ["/", `/connections/${connection}`]) shows(await ada.get(path), words, `on ${path}`);
    }
  });

  test("stays text: names of people, workspaces, apps, workflows, searches, and paths", async () => {
    for (const words of XSS) {
      await installation.requestOk("PATCH", "/v1/workspace", { name: words });
      const { url } = await installation.requestOk("POST", "/v1/sign-in-links", { user: { id: words, name: words } });
      const person = new Person(installation);
      shows(await person.get(pathOf(url)), words, "on the sign-in page");
      await person.signIn(url);
      shows(await person.get("/"), words, "in the header");
      shows(await person.get("/oauth/start/acme"), words, "before the app");
      await installation.resolve(id, { workflow: words, step: words });
      shows(await ada.get(`/connections/${id}`), words, "among the uses");
      shows(await ada.get(`/?q=${encodeURIComponent(words)}`), words, "in the search");
    }
    for (const path of [
      "/<script>alert(1)</script>",
      "/?done=<script>alert(1)</script>",
      "/oauth/ended/<script>",
      "/connections/<svg onload=1>",
      "/oauth/start/<script>?scopes=<script>",
    ]) {
      assert.doesNotMatch(withoutOurs((await ada.get(path, { accept: "text/html" })).html), /<script|<svg/, path);
    }
  });
});

suite("a session", () => {
  test("ends at sign-out, also where its cookie was copied to", async () => {
    const person = await Person.createSignedIn(installation, { id: "leaver" });
    const copy = new Person(installation);
    copy.cookies = new Map(person.cookies);
    assert.equal((await copy.get("/")).status, 200);
    const out = await person.post("/sign-out", { csrf: await csrfOf(person) });
    assert.match(out.text, /You are signed out/);
    assert.equal(person.cookies.size, 0, "the cookie is taken away");
    assert.equal((await copy.get("/")).status, 401);
  });

  test("expires", async () => {
    const person = await Person.createSignedIn(installation, { id: "sleeper" });
    await installation.run("UPDATE sessions SET expires_at = unixepoch() - 1 WHERE user_id = 'sleeper'");
    assert.equal((await person.get("/")).status, 401);
  });

  test("with an unknown cookie is refused, and a new sign-in creates a new session", async () => {
    const person = new Person(installation);
    for (const value of ["", "x", "0".repeat(43), [...ada.cookies.values()][0].slice(1)]) {
      person.cookies = new Map([["cx_session", value]]);
      assert.equal((await person.get("/")).status, 401, value);
    }
    person.cookies = new Map([["cx_session", "1".repeat(43)]]);
    await person.signIn();
    assert.notEqual(person.cookies.get("cx_session"), "1".repeat(43), "no fixation");
  });

  test("shows a person's own and the workspace's connections, and no others", async () => {
    const eve = await Person.createSignedIn(installation, { id: "eve" });
    const theirs = await eve.connect("acme", { login: "eve" });
    const link = await installation.requestOk("POST", "/v1/links", { app: "acme" });
    await new Person(installation).completeFlow(pathOf(link.url), { login: "shared" });
    const shared = (await installation.requestOk("GET", `/v1/links/${link.id}`)).connection;
    for (const [who, path, status] of [
      [eve, theirs, 200],
      [ada, theirs, 404],
      [eve, shared, 200],
      [ada, shared, 200],
      [eve, id, 404],
    ])
      assert.equal((await who.get(`/connections/${path}`)).status, status);
    assert.ok(!(await ada.get("/")).html.includes(theirs) && (await ada.get("/")).html.includes(shared));
    const csrf = await csrfOf(ada);
    for (const what of ["rename", "check", "disconnect", "reconnect"])
      assert.equal((await ada.post(`/connections/${theirs}/${what}`, { csrf, name: "Taken" })).status, 404, what);
    assert.equal((await installation.requestOk("GET", `/v1/connections/${theirs}`)).status, "connected");
  });
});
