// Owns the workspace of a made-up team that has used Connections for a while: people, apps of the catalogue, connections
// in every state, workflows that use them. The pages are looked at with it. The apps are not asked: what each would answer
// is in a table here. Also owns a workspace that is empty and one that is large.

import { createWorkspace } from "./installation.mjs";
import { Person } from "./person.mjs";

const DAY = 86_400;
/** Of the last 30 days, a bit for each: five in a week, and one in a week (migrations/0041_days_of_use.sql). */
const ON_WORKDAYS = 0b111110011111001111100111110011;
const ONCE_A_WEEK = 0b010000001000000100000010000001;

/** What the apps answer, by host and path. */
const ANSWERS = {
  "slack.com/api/auth.test": { ok: true, team: "Northwind", user: "announcer", team_id: "T024BE7LD", user_id: "U02QHMJ4S" },
  "api.notion.com/v1/users/me": { id: "0f1f3f5b", name: "Handbook bot", bot: { workspace_name: "Northwind" } },
  "api.telegram.org/bot123456789:AAEhBOweik6ad9r_QXMENQjcrGbqCr4K/getMe": { ok: true, result: { id: 123456789, username: "northwind_bot" } },
  "api.airtable.com/v0/meta/whoami": { id: "usrHc5tYBdGqYDC3A", email: "ada@northwind.example" },
  "api.github.com/user": { id: 583231, login: "northwind-ci" },
  "api.openai.com/v1/models": { object: "list", data: [] },
  "api.hubapi.com/account-info/2026-03/details": { portalId: 24817563 },
  "api.linear.app/graphql": { data: { viewer: { id: "u1", name: "Grace", email: "grace@northwind.example", organization: { id: "o1", name: "Northwind" } } } },
};

/** Apps whose accounts are told apart by the credential that is sent. */
const ANSWERS_BY_CREDENTIAL = {
  "api.stripe.com/v1/account": (sent) => ({ id: `acct_${sent.slice(-4)}`, settings: { dashboard: { display_name: "Northwind" } } }),
  "openidconnect.googleapis.com/v1/userinfo": (sent) => ({ sub: sent.slice(-8), email: `${sent.split(".").pop()}@northwind.example` }),
  "api.dropboxapi.com/2/users/get_current_account": (sent) => ({ account_id: `dbid:${sent.slice(-6)}`, email: "files@northwind.example" }),
};

const SHEETS = ["openid", "https://www.googleapis.com/auth/userinfo.email", "https://www.googleapis.com/auth/spreadsheets"];
const MAIL = ["openid", "https://www.googleapis.com/auth/userinfo.email", "https://www.googleapis.com/auth/gmail.send"];

/** The connections: a name for the tests, what the API is sent, and the steps that use it: workflow, step, days ago. */
const CONNECTIONS = {
  slack: {
    body: { app: "slack", name: "Team announcements", shared: true, credential: { type: "bot_token", token: "xoxb-24817563-announcer-0001" } },
    uses: [["Order alerts", "Post to #orders", 0], ["Weekly report", "Post the summary", 2], ["On-call handover", "Post the rota", 5]],
  },
  stripe: {
    body: { app: "stripe", name: "Payments", shared: true, environment: "production", credential: { type: "api_key", api_key: "rk_live_51HnorthwindLive" } },
    uses: [["Order alerts", "Read the payment", 0], ["Invoices", "Create the invoice", 1]],
  },
  stripe_test: {
    body: { app: "stripe", name: "Payments, test mode", shared: true, environment: "test", credential: { type: "api_key", api_key: "rk_test_51HnorthwindTest" } },
    uses: [["Invoices", "Create the invoice", 12]],
  },
  sheets: {
    body: { app: "google-sheets", name: "Sales figures", user: { id: "ada", name: "Ada Lovelace" }, shared: true, scopes: SHEETS, credential: oauth2("ya29.sheets.ada", SHEETS) },
    uses: [["Weekly report", "Read the figures", 2], ["Lead import", "Append a row", 0]],
  },
  gmail: {
    body: { app: "gmail", name: "Support mailbox", user: { id: "ada", name: "Ada Lovelace" }, shared: true, scopes: MAIL, credential: oauth2("ya29.mail.support", MAIL) },
    uses: [["Invoices", "Send the invoice", 1], ["Refunds", "Confirm the refund", 3]],
  },
  partly: {
    body: { app: "gmail", name: "Newsletter", user: { id: "ada", name: "Ada Lovelace" }, scopes: MAIL, credential: oauth2("ya29.mail.news", MAIL.slice(0, 2)) },
    uses: [],
  },
  dropbox: {
    body: { app: "dropbox", name: "Contracts", user: { id: "grace", name: "Grace Hopper" }, credential: oauth2("sl.contracts01", ["account_info.read", "files.metadata.read", "files.content.read"]) },
    uses: [["Archive", "Store the contract", 20]],
  },
  github: {
    body: { app: "github", name: "Release bot", shared: true, credential: { type: "api_key", api_key: "ghp_northwindreleasebot0000000000000001" } },
    uses: [["Release notes", "Read the commits", 6]],
  },
  notion: {
    body: { app: "notion", name: "Handbook", shared: true, credential: { type: "api_key", api_key: "ntn_Northwind0000000000000000000000000001" } },
    uses: [["On-call handover", "Read the rota", 5]],
  },
  telegram: {
    body: { app: "telegram", name: "Night shift", shared: true, credential: { type: "bot_token", token: "123456789:AAEhBOweik6ad9r_QXMENQjcrGbqCr4K" } },
    uses: [["On-call handover", "Wake somebody up", 9]],
  },
  airtable: {
    body: { app: "airtable", name: "Inventory", user: { id: "ada", name: "Ada Lovelace" }, credential: { type: "api_key", api_key: "patNorthwind000001.0000000000000000000000000001" } },
    uses: [],
  },
  openai: {
    body: { app: "openai", name: "Summaries", shared: true, credential: { type: "api_key", api_key: "sk-proj-northwind00000000000000000000000000000000" } },
    uses: [["Weekly report", "Summarise", 2], ["Refunds", "Draft the answer", 3]],
  },
  hubspot: {
    body: { app: "hubspot", name: "Customers", user: { id: "ada", name: "Ada Lovelace" }, check: false, credential: { type: "api_key", api_key: "pat-na1-northwind-0001" } },
    uses: [],
  },
  linear: {
    body: { app: "linear", name: "Bug tracker", user: { id: "grace", name: "Grace Hopper" }, shared: true, credential: { type: "api_key", api_key: "lin_api_northwind0001" } },
    uses: [["Release notes", "Close the issues", 6]],
  },
};

/** OAuth clients of the workspace. */
const CLIENTS = { slack: "24817563.0001", "google-sheets": "northwind.apps.googleusercontent.com", dropbox: "northwinddropbox" };

function oauth2(access_token, scopes) {
  return { type: "oauth2", access_token, refresh_token: `${access_token}.refresh`, expires_at: "2099-01-01T00:00:00Z", scopes };
}

/** Answers for the apps. `refused` has hosts that accept nothing any more, `down` those that do not answer. */
export function answerForApps(installation) {
  const apps = { refused: new Set(), down: new Set() };
  installation.outbound.answer = ({ url, headers }) => {
    const { hostname, pathname } = new URL(url);
    const place = hostname + pathname;
    if (apps.down.has(hostname)) return new Response("out of order", { status: 500 });
    if (apps.refused.has(hostname)) return Response.json({ error: "invalid_grant", ok: false }, { status: pathname.endsWith("/token") ? 400 : 401 });
    const found = ANSWERS[place] ?? ANSWERS_BY_CREDENTIAL[place]?.((headers.authorization ?? "").split(" ").pop());
    return found && Response.json(found, { headers: place.startsWith("slack.com") ? { "x-oauth-scopes": "channels:read,chat:write,team:read,users:read" } : {} });
  };
  return apps;
}

/** Fills the installation's first workspace. Returns the ids of connections by their names above, and further ones. */
export async function fillTeam(installation) {
  const { requestOk } = installation;
  const apps = answerForApps(installation);
  await requestOk("PATCH", "/v1/workspace", { name: "Northwind" });
  const team = { apps, people: {}, connections: {} };
  for (const [id, name, role] of [["ada", "Ada Lovelace", "admin"], ["grace", "Grace Hopper", "member"], ["linus", "Linus T.", "member"]]) {
    team.people[id] = await Person.createSignedIn(installation, { id, name }, role);
  }
  for (const [app, client_id] of Object.entries(CLIENTS)) await requestOk("PUT", `/v1/apps/${app}/client`, { client_id, client_secret: `${app}-secret-0123456789` });
  for (const [name, { body }] of Object.entries(CONNECTIONS)) team.connections[name] = (await requestOk("POST", "/v1/connections", body)).id;
  for (const [name, { uses }] of Object.entries(CONNECTIONS)) await recordUses(installation, team.connections[name], uses);
  await breakSome(installation, team);
  await ageConnections(installation, team);
  return team;
}

async function recordUses(installation, id, uses) {
  for (const [workflow, step] of uses) await installation.requestOk("POST", `/v1/connections/${id}/resolve`, { workflow, step });
}

/** The mailbox is refused by Google, and what Dropbox refuses is the OAuth client. */
async function breakSome(installation, { apps, connections }) {
  await installation.run("UPDATE connections SET expires_at = unixepoch() - 60, checked_at = checked_at - 7200 WHERE id = ?1", connections.gmail);
  apps.refused.add("oauth2.googleapis.com");
  await installation.resolve(connections.gmail);
  apps.refused.clear();
}

/** Moves what happened into the past, as the table says. */
async function ageConnections(installation, team) {
  let made = 90;
  for (const [name, { uses }] of Object.entries(CONNECTIONS)) {
    const id = team.connections[name];
    made -= 5;
    await installation.run("UPDATE connections SET created_at = created_at - ?2, connected_at = connected_at - ?2 WHERE id = ?1", id, made * DAY);
    for (const [workflow, step, days] of uses) {
      await installation.run(
        "UPDATE uses SET last_used_at = last_used_at - ?4, first_used_at = first_used_at - ?5, active_days = ?6, used_days = (unixepoch() / 86400 - ?7) * 1073741824 + ?8 WHERE connection_id = ?1 AND workflow = ?2 AND step = ?3",
        id, workflow, step, days * DAY + 1800, made * DAY, Math.max(1, made - days), days, days === 0 ? ON_WORKDAYS : ONCE_A_WEEK,
      );
    }
    const last = Math.min(...uses.map(([, , days]) => days));
    if (uses.length > 0) await installation.run("UPDATE connections SET last_used_at = unixepoch() - ?2 WHERE id = ?1", id, last * DAY + 1800);
  }
}

/** A workspace without anything: its API key. */
export const makeEmptyWorkspace = async (installation) => (await installation.requestOk("POST", "/v1/workspaces", { name: "Fresh start" }, installation.adminKey)).key.key;

/**
 * A workspace with this many connections, every fiftieth of them broken, and a workflow for each ten: its API key. The
 * credentials do not open, so that nothing can be asked of them.
 */
export async function makeLargeWorkspace(installation, count) {
  const { workspace, key } = await createWorkspace(installation, "Large and long-lived");
  const { id } = await installation.requestOk("POST", "/v1/connections", { app: "telegram", shared: true, credential: { type: "bot_token", token: "123456789:AAEhBOweik6ad9r_QXMENQjcrGbqCr4K" } }, key);
  const columns = (await installation.db.prepare("SELECT name FROM pragma_table_info('connections')").all()).results.map(({ name }) => name);
  const changed = {
    id: "substr(c.id, 1, length(c.id) - 6) || printf('%06d', n)",
    name: "'Customer ' || n || CASE n % 3 WHEN 0 THEN ' with a name as long as they come in real life, and longer' ELSE '' END",
    account_id: "n",
    account_label: "'customer-' || n || '@a-rather-long-domain-name.example'",
    status: "CASE n % 50 WHEN 0 THEN 'needs_reconnect' ELSE 'connected' END",
    reconnect_reason: "CASE n % 50 WHEN 0 THEN 'rejected' END",
    created_at: "c.created_at - n * 60",
    connected_at: "c.connected_at - n * 60",
    user_id: "CASE n % 2 WHEN 0 THEN 'person-' || n % 200 END",
    user_name: "CASE n % 2 WHEN 0 THEN 'Person ' || n % 200 END",
    used_by_workflows: "1",
    used_by_steps: "1",
    last_used_at: "c.created_at - n",
  };
  const values = columns.map((column) => changed[column] ?? `c.${column}`).join(", ");
  const numbers = "WITH RECURSIVE numbers (n) AS (SELECT CAST(?2 AS INTEGER) UNION ALL SELECT n + 1 FROM numbers WHERE n < ?3)";
  for (let from = 1; from < count; from += 2_000) {
    const to = Math.min(from + 1_999, count - 1);
    await installation.run(`${numbers} INSERT INTO connections (${columns.join(", ")}) SELECT ${values} FROM numbers, connections c WHERE c.id = ?1`, id, from, to);
    await installation.run(
      `${numbers} INSERT INTO uses (connection_id, workflow, step, workspace_id, first_used_at, last_used_at, active_days)
        SELECT ${changed.id}, 'Workflow ' || n / 10, 'Step ' || n % 10, c.workspace_id, c.created_at - n, c.created_at - n, 1 + n % 30 FROM numbers, connections c WHERE c.id = ?1`,
      id, from, to,
    );
  }
  return { workspace, key, connection: id };
}
