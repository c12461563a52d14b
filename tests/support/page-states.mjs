// Owns the states of the pages: who opens which page, when, and what its heading is. A page in a state is one line of STATES.
// How a state is looked at is in tests/browser/states.test.mjs.

import { allow, deny } from "./browser.mjs";
import { startInstallation } from "./installation.mjs";
import { connectMinimalApp, defineMinimalApp, startMinimalApp } from "./minimal-app.mjs";
import { pathOf, Person } from "./person.mjs";
import { fillTeam, makeEmptyWorkspace, makeLargeWorkspace } from "./team.mjs";

/**
 * Everything that the states need, behind a site's installation: a team at work, a new workspace, and a large one.
 * `connections` is how many the large one has.
 */
export async function prepareWorld({ installation }, { connections = 10_000 } = {}) {
  const { requestOk } = installation;
  const team = await fillTeam(installation);
  const { ada, grace } = team.people;
  const minimalApp = await startMinimalApp();
  const world = { team, minimalApp, ids: { ...team.connections }, close };
  async function close() {
    await minimalApp.close();
    await world.closed?.close();
  }
  const { ids } = world;

  ids.mine = await ada.connect("acme", { login: "ada" });
  ids.hers = await grace.connect("acme", { login: "grace" });
  ids.plain = await ada.connect("acme", { login: "countess" });
  await requestOk("PATCH", `/v1/connections/${ids.plain}`, { name: "Acme of the countess, with a name that is as long as a name may be: one hundred characters, at mo" });
  await requestOk("POST", `/v1/connections/${ids.mine}/replace`, { with: ids.plain });

  await defineMinimalApp(installation, minimalApp);
  ids.orphan = await connectMinimalApp(ada, "orphan");
  await installation.requestApi("DELETE", "/v1/apps/small");
  await requestOk("POST", "/v1/apps", { id: "till", name: "Northwind till", auth: { type: "api_key", fields: [{ id: "api_key", label: "Till key", help: "Ask whoever runs the shop." }] }, request: { base_url: "https://till.northwind.example/", headers: { "X-Api-Key": "{api_key}" } } });

  const key = await requestOk("POST", "/v1/keys", { name: "Workflow engine", scopes: ["resolve", "connections:read"], apps: ["slack", "stripe"] });
  world.keyId = key.id;
  world.webhook = await requestOk("POST", "/v1/webhooks", { url: "https://hooks.northwind.example/connections", types: ["connection.needs_reconnect", "connection.recovered"] });
  await requestOk("POST", `/v1/webhooks/${world.webhook.id}/test`);
  await requestOk("PATCH", "/v1/workspace", { allowed_origins: ["https://app.northwind.example"], branding: { name: "Northwind Flows", accent: "#0a50b0" } });
  await requestOk("PUT", "/v1/apps/slack/default", { connection: ids.slack });

  const emptyKey = await makeEmptyWorkspace(installation);
  const large = await makeLargeWorkspace(installation, connections);
  world.large = large;
  world.cookies = {
    admin: ada.cookies,
    member: grace.cookies,
    newcomer: (await signIn(installation, emptyKey, { id: "first", name: "First Person" }, "admin")).cookies,
    newMember: (await signIn(installation, emptyKey, { id: "second", name: "Second Person" }, "member")).cookies,
    root: (await signIn(installation, large.key, { id: "root", name: "Root" }, "admin")).cookies,
    guest: new Map(),
  };
  return world;
}

async function signIn(installation, key, user, role) {
  const person = new Person(installation, user, role);
  await person.signIn((await installation.requestOk("POST", "/v1/sign-in-links", { user, role }, key)).url);
  return person;
}

/** A connect link's page. */
const link = (body) => async ({ site }) => pathOf((await site.installation.requestOk("POST", "/v1/links", body)).url);
/** A sign-in link's page. */
const signInLink = async ({ site }) => pathOf((await site.installation.requestOk("POST", "/v1/sign-in-links", { user: { id: "new", name: "New Person" } })).url);
/** A page of one of the connections. */
const of = (name, rest = "") => ({ world }) => `/connections/${world.ids[name]}${rest}`;

/** A page that follows what a person does on another one. */
const after = (path, ...steps) => async (at) => {
  await at.page.goto(at.site.url + (typeof path === "string" ? path : await path(at)));
  for (const step of steps) await step(at);
};
const fill = (label, text) => ({ page }) => page.getByLabel(new RegExp(`^${label}( \\(optional\\))?$`)).and(page.locator("input, textarea")).first().fill(text);
/** Lets the browser send what it would refuse itself. */
const uncheckedForms = ({ page }) => page.evaluate(() => document.querySelectorAll("form").forEach((form) => (form.noValidate = true)));
const select = (label, value) => ({ page }) => page.getByLabel(label, { exact: true }).first().selectOption(value);
/** A click that leads to another page, until that has loaded. */
const clickThrough = (page, locator) => Promise.all([page.waitForEvent("load"), locator.click()]);
const press = (name) => ({ page }) => clickThrough(page, page.getByRole("button", { name }).last());
const follow = (name) => ({ page }) => clickThrough(page, page.getByRole("link", { name }).first());
const unfold = (name) => async ({ page }) => {
  const summary = page.locator("summary", { hasText: name }).first();
  if (!(await summary.evaluate((one) => one.parentElement.open))) await summary.click();
};
/** Selects the first row of a list. */
const tickFirst = ({ page }) => page.locator("tbody input[type=checkbox]").first().check();
/** Presses a button for the selected rows. */
const pressBulk = (action) => ({ page }) => clickThrough(page, page.locator(`form.bulk button[value=${action}]`));
/** At the app's own page, as an account, and back. */
const allowAs = (login) => async ({ page, site }) => {
  await allow(page, login);
  await page.waitForURL(`${site.url}/**`);
};
const denyAs = (login) => async ({ page, site }) => {
  await deny(page, login);
  await page.waitForURL(`${site.url}/**`);
};
const allowAnybody = (at) => allowAs(anyName())(at);
const anyName = () => `someone-${Math.floor(Math.random() * 1e9)}`;

/** The session ends while a page is open. */
const endSession = ({ page }) => page.context().clearCookies();

/** A form that no page of ours has. */
const postTo = (path) => async ({ page }) => {
  const loaded = page.waitForEvent("load");
  await page.evaluate((action) => {
    const form = Object.assign(document.createElement("form"), { method: "post", action });
    document.body.append(form);
    form.submit();
  }, path);
  await loaded;
};

/** Ada disconnects an account that she connected for it. */
const disconnectOne = after(async ({ world }) => `/connections/${await world.team.people.ada.connect("acme", { login: anyName() })}/disconnect`, press(/^Disconnect/));

/** The panic button of an app. */
const panic = async ({ site, world }) => {
  world.job ??= await site.installation.requestOk("POST", "/v1/apps/acme/disconnect-all", { confirm: "acme", reason: "A token was in a log" }, world.large.key);
  return `/settings/jobs/${world.job.id}`;
};

/** An app that sends the secret of its events itself, with a client. */
const appWithHandshake = (app) => async ({ site }) => {
  await site.installation.requestOk("PUT", `/v1/apps/${app}/client`, { client_id: `${app}-client`, client_secret: `${app}-secret-0123456789` });
  return `/settings/apps/${app}`;
};

/** Notion has sent the secret of its events. */
const handshakeReceived = async (at) => {
  const path = await appWithHandshake("notion")(at);
  const { requestOk, request } = at.site.installation;
  const { events_url } = await requestOk("POST", "/v1/apps/notion/client/handshake");
  await request(pathOf(events_url), { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify({ verification_token: "secret_tMrlL1qK5vuQAh1b6cZGhFChZTSYJlce98V0pYn7yBl" }) });
  return path;
};

/** The address of somebody who guesses links until nothing is answered any more. */
const GUESSER = "192.0.2.77";

/** A page for an address that tried too many wrong links. */
const afterTooManyGuesses = (path) => async ({ page, site }) => {
  const guess = (number) => site.installation.request(`/connect/guess-${number}`, { headers: { "cf-connecting-ip": GUESSER } });
  for (let number = 0; (await guess(number)).status !== 429; number += 1) if (number > 1_000) throw new Error("There is no limit");
  await page.setExtraHTTPHeaders({ "cf-connecting-ip": GUESSER });
  await page.goto(site.url + path);
};

/** A page while something of the database is not as the program expects it. Both changes are a statement or several. */
const whileBroken = (path, breaks, repairs) => async (at) => {
  const { run } = at.site.installation;
  for (const statement of [breaks].flat()) await run(statement);
  try {
    await at.page.goto(at.site.url + (typeof path === "string" ? path : path(at)));
  } finally {
    for (const statement of [repairs].flat()) await run(statement);
  }
};

/** Reading a table fails as it does when the database can't be read: with an error that is about no table and no row. */
const unreadable = (table) => [
  [`ALTER TABLE ${table} RENAME TO earlier_${table}`, `CREATE VIEW ${table} AS SELECT * FROM earlier_${table} WHERE abs(-9223372036854775807 - 1) > 0`],
  [`DROP VIEW ${table}`, `ALTER TABLE earlier_${table} RENAME TO ${table}`],
];

/** A page while the installation is in maintenance: another Worker answers at its address. */
const duringMaintenance = (path) => async ({ site, page, world }) => {
  world.closed ??= await startInstallation({ workspace: false, vars: { PUBLIC_URL: site.url, MAINTENANCE: "1" } });
  site.proxy.forwardTo(world.closed.server);
  try {
    await page.goto(site.url + path);
  } finally {
    site.proxy.forwardTo(site.installation.server);
  }
};

/**
 * Name, who, how to get there, the heading, and more: the `status` of the answer, `scripts: true` where nothing is there
 * without them, `sample: true` for the states that every run looks at.
 */
export const STATES = [
  // Connections
  ["connections", "admin", "/", "Connections", { sample: true }],
  ["connections-member", "member", "/", "Connections"],
  ["connections-search", "admin", "/?q=payments", "Connections"],
  ["connections-none-found", "admin", "/?q=nothing+has+this+name", "Connections"],
  ["connections-empty", "newcomer", "/", "Connections", { sample: true }],
  ["connections-empty-member", "newMember", "/", "Connections"],
  ["connections-many", "root", "/", "Connections", { sample: true }],
  ["connections-many-later", "root", after("/", follow("Next page")), "Connections"],
  ["connections-none-yet", "root", "/?q=zzz", "Connections"],
  ["connections-filtered", "admin", "/?status=not_checked&sort=name", "Connections"],
  ["connections-undo", "admin", disconnectOne, "Connections", { sample: true }],
  ["bulk-disconnect", "admin", after("/", tickFirst, press("Disconnect…")), "Disconnect 1 connection?", { sample: true }],
  ["bulk-share", "admin", after("/", tickFirst, press("Change owner…")), "Change who owns and who uses 1 connection"],
  ["bulk-share-nothing", "admin", after("/", tickFirst, press("Change owner…"), press("Save")), "Change who owns and who uses 1 connection", { status: 422 }],
  ["bulk-result", "admin", after("/", tickFirst, pressBulk("check")), "Check finished", { sample: true }],

  // Review
  ["review", "admin", "/review", "Review", { sample: true }],
  ["review-member", "member", "/review", "Review"],
  ["review-fine", "newcomer", "/review", "Review", { sample: true }],
  ["review-fine-member", "newMember", "/review", "Review"],
  ["review-many", "root", "/review", "Review"],

  ["connections-attention", "admin", "/?status=needs_reconnect", "Connections"],
  ["connections-by-name", "root", "/?sort=name", "Connections"],

  // Connect an app
  ["connect", "admin", "/connect", "Connect an app", { sample: true }],
  ["connect-member", "member", "/connect", "Connect an app"],
  ["connect-empty-workspace", "newMember", "/connect", "Connect an app"],
  ["connect-none-found", "admin", "/connect?q=zzz", "Connect an app"],
  ["connect-category", "admin", "/connect?category=email", "Connect an app"],
  ["methods", "admin", "/oauth/start/gmail", /Gmail/],
  ["methods-member", "member", "/oauth/start/github", "How do you want to connect GitHub?"],
  ["consent", "admin", "/oauth/start/acme", "Connect Acme", { sample: true }],
  ["consent-sheets", "admin", "/oauth/start/google-sheets", "Connect Google Sheets"],
  ["consent-variables", "member", "/oauth/start/zendesk?auth_method=api_token", /Zendesk/],
  ["manual", "admin", "/oauth/start/stripe", "Connect Stripe"],
  ["manual-refused", "admin", after("/oauth/start/stripe", fill("Restricted key", "sk_live_0123456789abcdef"), press("Check and save")), "Connect Stripe", { status: 422, sample: true }],
  ["manual-custom-app", "member", "/oauth/start/till", "Connect Northwind till"],
  ["setup-member", "member", "/apps/gmail/setup", "Set up Gmail: Google account"],
  ["setup-ready", "member", "/apps/slack/setup", "Set up Slack: Slack account"],
  ["setup-not-needed", "member", "/apps/telegram/setup", "Telegram needs no set-up"],

  // What follows an app
  ["duplicate", "admin", after("/oauth/start/acme", press("Continue to Acme"), allowAs("ada")), "This account is already connected"],
  ["other-account", "member", after(of("hers", "/reconnect"), press("Continue to Acme"), allowAs("mallory")), "This is another account", { sample: true }],
  ["denied", "member", after("/oauth/start/acme", press("Continue to Acme"), denyAs("grace")), "Not connected"],
  ["connected", "root", after("/oauth/start/acme", press("Continue to Acme"), allowAnybody), /^Acme/, { sample: true }],
  ["again", "member", after("/oauth/start/acme", press("Continue to Acme"), denyAs("grace"), follow("Try again")), /Acme/],
  ["callback-unknown", "guest", "/oauth/callback/cli_0123456789abcdefABCD-_?state=x&code=y", "We don’t recognise this sign-in", { status: 400 }],
  ["callback-other-browser", "guest", "/oauth/ended/other-browser", "You began in another browser", { status: 400 }],

  // A connection
  ["connection", "admin", of("slack"), "Team announcements", { sample: true }],
  ["connection-broken", "admin", of("gmail"), "Support mailbox", { sample: true }],
  ["connection-missing", "admin", of("partly"), "Newsletter"],
  ["connection-unchecked", "admin", of("hubspot"), "Customers"],
  ["connection-of-another", "member", of("slack"), "Team announcements"],
  ["connection-replaced", "admin", of("mine"), /Acme/],
  ["connection-answers", "admin", of("plain"), /Acme of the countess/],
  ["connection-app-removed", "admin", of("orphan"), /./],
  ["connection-large", "root", ({ world }) => `/connections/${world.large.connection}`, /./],
  ["connection-checked", "member", after(of("hers"), press("Check now")), /Acme/],
  ["try", "admin", of("slack", "/try"), /Try it$/],
  ["try-answer", "admin", after(of("slack", "/try"), press("Run it")), /Try it$/, { sample: true }],
  ["try-member", "member", of("slack", "/try"), /Try it$/],
  ["try-refused", "admin", after(of("gmail", "/try"), press("Run it")), /Try it$/],
  ["rename", "admin", of("slack", "/rename"), /^Rename/],
  ["rename-refused", "admin", after(of("slack", "/rename"), fill("Name of this connection", "\u200b"), press("Save name")), /^Rename/, { status: 422 }],
  ["environment", "admin", of("slack", "/environment"), /^Environment of/],
  ["sharing", "admin", of("sheets", "/sharing"), /^Who uses/],
  ["sharing-member", "member", of("hers", "/sharing"), /^Who uses/],
  ["replace", "admin", of("stripe", "/replace"), /^Replace/],
  ["replace-refused", "admin", after(of("stripe", "/replace"), press("Let it answer instead")), /^Replace/, { status: 409 }],
  ["replace-none", "admin", of("notion", "/replace"), /^Replace/],
  ["disconnect", "admin", of("slack", "/disconnect"), /^Disconnect/, { sample: true }],
  ["disconnect-unused", "admin", of("airtable", "/disconnect"), /^Disconnect/],
  ["reconnect", "member", of("hers", "/reconnect"), /^Reconnect/],
  ["reconnect-key", "admin", of("stripe", "/reconnect"), /^New key for/],
  ["connection-not-found", "member", "/connections/con_0123456789abcdefABCD-_", /./, { status: 404 }],
  ["connection-forbidden", "member", of("slack", "/rename"), /./, { status: 403 }],

  // Workflows
  ["workflows", "admin", "/workflows", "Workflows", { sample: true }],
  ["workflows-member", "member", "/workflows", "Workflows"],
  ["workflows-none-found", "admin", "/workflows?q=zzz", "Workflows"],
  ["workflows-empty", "newcomer", "/workflows", "Workflows"],
  ["workflows-many", "root", "/workflows", "Workflows"],
  ["workflow", "admin", "/workflows/Weekly%20report", /Weekly report/],
  ["workflow-not-ready", "admin", "/workflows/Refunds", /Refunds/],
  ["workflow-member", "member", "/workflows/Weekly%20report", /Weekly report/],
  ["workflow-in-test", "admin", "/workflows/Invoices?environment=test", /Invoices/],
  ["workflow-unknown", "member", "/workflows/nothing", /./, { status: 404 }],

  // Settings
  ["apps", "admin", "/settings/apps", "Apps and OAuth clients", { sample: true }],
  ["apps-newcomer", "newcomer", "/settings/apps", "Apps and OAuth clients"],
  ["client", "admin", "/settings/apps/slack", /Slack/],
  ["client-missing", "admin", "/settings/apps/github", /GitHub/, { sample: true }],
  ["client-not-needed", "admin", "/settings/apps/telegram", /Telegram/],
  ["client-refused", "admin", after("/settings/apps/github", uncheckedForms, fill("Client id", ""), press("Save the client")), /GitHub/, { status: 422 }],
  ["client-tested", "admin", after("/settings/apps/acme", press("Test it")), /Acme/],
  ["client-handshake", "admin", appWithHandshake("asana"), /Asana/],
  ["client-handshake-opened", "admin", after(appWithHandshake("asana"), press("Get an address")), "Address for the signing secret", { status: 201 }],
  ["client-handshake-received", "admin", handshakeReceived, /Notion/],
  ["client-delete", "admin", "/settings/apps/google-sheets/client/delete", /^Delete the OAuth client/],
  ["disconnect-all", "admin", "/settings/apps/slack/disconnect-all", "Disconnect everything of Slack"],
  ["disconnect-all-refused", "admin", after("/settings/apps/slack/disconnect-all", uncheckedForms, fill("Confirm", "slak"), press("Disconnect everything")), "Disconnect everything of Slack", { status: 422 }],
  ["job", "root", panic, /^Disconnecting/],
  ["custom-apps", "admin", "/settings/custom-apps", "Custom apps"],
  ["custom-apps-empty", "newcomer", "/settings/custom-apps", "Custom apps"],
  ["new-app", "admin", "/settings/new-app", "Create a custom app"],
  ["new-app-refused", "admin", after("/settings/new-app", fill("Name", "Till"), fill("Id", "NOT AN ID"), press("Create a custom app")), "Create a custom app", { status: 422 }],
  ["custom-app", "admin", "/settings/custom-apps/till", /till/],
  ["custom-app-delete", "admin", "/settings/custom-apps/acme/delete", /^Delete/],
  ["sign-in-settings-client", "admin", "/settings/sign-in?issuer=https%3A%2F%2Flogin.northwind.example", "Sign-in"],
  ["sign-in-settings", "admin", "/settings/sign-in", "Sign-in"],
  ["workspace", "admin", "/settings/workspace", "Workspace"],
  ["workspace-refused", "admin", after("/settings/workspace", uncheckedForms, fill("Address of its logo", "not an address"), press("Save")), "Workspace", { status: 422 }],
  ["defaults", "admin", "/settings/defaults", "Defaults"],
  ["defaults-empty", "newcomer", "/settings/defaults", "Defaults"],
  ["default-none", "newcomer", "/settings/default?app=slack", /./],
  ["default", "admin", "/settings/default?app=slack", /./],
  ["webhooks", "admin", "/settings/webhooks", "Webhooks"],
  ["webhooks-empty", "newcomer", "/settings/webhooks", "Webhooks"],
  ["webhook", "admin", ({ world }) => `/settings/webhooks/${world.webhook.id}`, /./],
  ["webhooks-refused", "admin", after("/settings/webhooks", unfold("Create a webhook"), fill("Address", "not an address"), press("Create a webhook")), "Webhooks", { status: 422 }],
  ["webhook-made", "newcomer", after("/settings/webhooks", unfold("Create a webhook"), fill("Address", "https://hooks.example.com/in"), press("Create a webhook")), "Secret of the webhook", { status: 201 }],
  ["keys", "admin", "/settings/keys", "API keys"],
  ["keys-empty", "newcomer", "/settings/keys", "API keys"],
  ["key", "admin", ({ world }) => `/settings/keys/${world.keyId}`, "Workflow engine"],
  ["key-made", "admin", after("/settings/keys", unfold("Create an API key"), fill("Name", "Reports"), press("Create an API key")), "API key created", { status: 201, sample: true }],
  ["key-made-before", "admin", after("/settings/keys", unfold("Create an API key"), fill("Name", "Reports"), press("Create an API key"), ({ page }) => page.reload()), "This was done before", { status: 409 }],
  ["key-refused", "admin", after("/settings/keys", unfold("Create an API key"), fill("Name", "\u200b"), press("Create an API key")), "API keys", { status: 422 }],
  ["links", "admin", "/settings/links", "Connect links"],
  ["links-empty", "newcomer", "/settings/links", "Connect links"],
  ["links-refused", "admin", after("/settings/links", unfold("Create a connect link"), select("App", "telegram"), ({ page }) => page.getByLabel("Everybody in the workspace may use the connection").uncheck(), press("Create a connect link")), "Connect links", { status: 422 }],
  ["link-made", "admin", after("/settings/links", unfold("Create a connect link"), select("App", "telegram"), fill("User id of the person", "guest"), press("Create a connect link")), /^Connect link for/, { status: 201 }],
  ["people", "admin", "/settings/people", "People"],
  ["people-many", "root", "/settings/people", "People"],
  ["person", "admin", "/settings/people/grace", "Grace Hopper"],
  ["person-last-admin", "newcomer", "/settings/people/first", /^First Person/],
  ["people-none-found", "admin", "/settings/people?q=zzz", "People"],
  ["people-refused", "admin", after("/settings/people", unfold("Invite somebody"), uncheckedForms, press("Create the sign-in link")), "People", { status: 422 }],
  ["invited", "admin", after("/settings/people", unfold("Invite somebody"), fill("E-mail address or user id", "margaret@northwind.example"), press("Create the sign-in link")), /^Sign-in link for/, { status: 201 }],
  ["sessions", "admin", "/settings/sessions", "Sessions"],
  ["settings-forbidden", "member", "/settings/keys", "Only an admin may do this", { status: 403 }],
  ["activity", "admin", "/activity", "Activity", { sample: true }],
  ["activity-none", "admin", "/activity?app=nothing", "Activity"],
  ["activity-refused", "admin", "/activity?from=nonsense&app=NOT+AN+ID", "Activity", { status: 422 }],
  ["activity-member", "member", "/activity", "Only an admin may do this", { status: 403 }],
  ["activity-many", "root", "/activity", "Activity"],

  // E-mail
  ["email", "admin", "/email", /mail/],
  ["email-member", "member", "/email", /mail/],
  ["email-settings", "admin", "/settings/email", /mail/],
  ["email-stop-unknown", "guest", "/email/stop/nothing", /./, { status: undefined }],

  // Links
  ["link", "guest", link({ app: "acme", user: { id: "guest", name: "Guest Gwen" } }), "Connect Acme"],
  ["link-manual", "guest", link({ app: "telegram", user: { id: "guest", name: "Guest Gwen" } }), "Connect Telegram", { sample: true }],
  ["link-connected", "guest", after(link({ app: "acme", user: { id: "gwen", name: "Guest Gwen" } }), press("Continue to Acme"), allowAnybody), "Connected"],
  ["link-denied", "guest", after(link({ app: "acme", user: { id: "gwen", name: "Guest Gwen" } }), press("Continue to Acme"), denyAs("gwen")), "Not connected"],
  ["link-again", "guest", after(link({ app: "acme", user: { id: "gwen", name: "Guest Gwen" } }), press("Continue to Acme"), denyAs("gwen"), follow("Try again")), "Connect Acme"],
  ["link-popup", "guest", after(link({ app: "acme", popup: { origin: "https://app.northwind.example" } }), press("Continue to Acme"), allowAnybody), "Connected"],
  ["link-of-another", "member", link({ app: "acme", user: { id: "gwen", name: "Guest Gwen" } }), "This link is for Guest Gwen", { status: 409 }],
  ["link-ended", "guest", "/connect/nothing", "The link has ended", { status: 410 }],

  // Sign-in and errors
  ["signed-out", "guest", "/", /./, { status: 401, sample: true }],
  ["sign-in", "guest", signInLink, /./],
  ["sign-in-used", "guest", "/sign-in/nothing", /./, { status: 410 }],
  ["sign-in-choice", "guest", "/sign-in", "Sign in"],
  ["session-ended", "admin", after(of("slack", "/rename"), endSession, press("Save name")), /./, { status: undefined }],
  ["after-sign-out", "guest", after(signInLink, press(/^Sign in/), unfold("NP"), press("Sign out")), "Signed out"],
  ["not-found", "member", "/nothing/here", /./, { status: 404, sample: true }],
  ["not-found-guest", "guest", "/nothing/here", /./, { status: 404 }],
  ["method-not-allowed", "member", after("/", postTo("/activity")), /./, { status: 405 }],
  ["out-of-date", "member", after("/", postTo("/sign-out")), /./, { status: 403 }],
  ["bad-cursor", "admin", "/?cursor=nonsense", /./, { status: 422 }],
  ["too-large", "admin", after("/settings/new-app", uncheckedForms, fill("Name", "x".repeat(300_000)), press("Create a custom app")), "This is too large", { status: 413 }],
  ["too-many-requests", "guest", afterTooManyGuesses("/connect/one-more-guess"), "Too many requests", { status: 429 }],
  ["failed", "admin", whileBroken(({ world }) => `/settings/webhooks/${world.webhook.id}`, "UPDATE subscriptions SET types = 'no ' || types", "UPDATE subscriptions SET types = substr(types, 4)"), "Something went wrong", { status: 500, sample: true }],
  ["misconfigured", "admin", whileBroken("/settings/webhooks", "ALTER TABLE subscriptions RENAME TO earlier_subscriptions", "ALTER TABLE earlier_subscriptions RENAME TO subscriptions"), "Not available at the moment", { status: 503 }],
  ["database-unavailable", "admin", whileBroken("/settings/webhooks", ...unreadable("subscriptions")), "Not available at the moment", { status: 503 }],
  ["maintenance", "member", duringMaintenance("/"), "An update is being installed", { status: 503 }],
];

/** The states by name, in the order of the table. */
export const states = STATES.map(([name, who, how, heading, more]) => ({ name, who, how, heading, status: 200, ...more }));

/** Opens a state in a page. Returns the last answer of a navigation that is no redirect. */
export async function openState(site, page, world, { how }) {
  let answer;
  const listen = (response) => {
    const isPage = response.request().isNavigationRequest() && response.frame() === page.mainFrame();
    if (isPage && ![301, 302, 303, 307].includes(response.status())) answer = response;
  };
  page.on("response", listen);
  const path = typeof how === "string" ? how : await how({ site, page, world });
  if (typeof path === "string") await page.goto(site.url + path);
  await page.waitForLoadState("load");
  page.off("response", listen);
  return answer;
}

/** A profile that is signed in as somebody of the states. */
export function storageOf(site, world, who) {
  const { hostname } = new URL(site.url);
  const cookies = [...world.cookies[who]].filter(([name]) => !name.includes("notice")).map(([name, value]) => ({ name, value, domain: hostname, path: "/", httpOnly: true, secure: false, sameSite: "Lax", expires: -1 }));
  return { cookies, origins: [] };
}
