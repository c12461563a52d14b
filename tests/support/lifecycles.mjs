// Owns what tests of an app's lifecycle need: an installation next to the simulated apps, a person who goes to an app
// and comes back, time that passes on both sides, and calls to an app's API with what a resolve returned. How each app
// differs is in the tables of the tests.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { before, suite, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { relocateDefinition, startApps } from "./apps/index.mjs";
import { dumpStoredData, ROOT, startInstallation } from "./installation.mjs";
import { connectionIdFrom, parseForms, Person } from "./person.mjs";

/** Starts everything, with a person who is signed in. `vars` are the Worker's. */
export async function startLifecycleFixture({ vars } = {}) {
  const apps = await startApps();
  const installation = await startInstallation({ vars });
  // An admin, because what a program enters belongs to the whole workspace.
  return new LifecycleFixture(apps, installation, await Person.createSignedIn(installation, undefined, "admin"));
}

class LifecycleFixture {
  constructor(apps, installation, person) {
    Object.assign(this, { apps, installation, person });
  }

  async close() {
    await this.installation.close();
    this.apps.close();
  }

  requestOk = (...args) => this.installation.requestOk(...args);
  requestApi = (...args) => this.installation.requestApi(...args);
  getConnection = (id) => this.requestOk("GET", `/v1/connections/${id}`);
  listConnections = async (app) => (await this.requestOk("GET", `/v1/connections?app=${app}`)).data;

  /** Defines an app from its catalogue file, with addresses that point to the simulated apps. Returns the app's id. */
  async registerApp(file) {
    const definition = relocateDefinition(JSON.parse(readFileSync(join(ROOT, "catalog", `${file}.json`), "utf8")), this.apps.origin);
    const known = await this.requestApi("GET", `/v1/apps/${definition.id}`);
    if (known.status === 404) await this.requestOk("POST", "/v1/apps", definition);
    return definition.id;
  }

  /** A resolve that must succeed: its answer. */
  async resolve(id, body) {
    const answer = await this.installation.resolve(id, body);
    assert.equal(answer.status, 200, JSON.stringify(answer.body));
    return answer.body;
  }

  /** The same from the cache. The cache entry is written after an earlier answer. */
  async resolveFromCache(id) {
    for (let tries = 0; tries < 50; tries += 1) {
      const answer = await this.resolve(id, { consistency: "edge" });
      if (answer.source === "cache") return answer;
      await sleep(20);
    }
    throw new Error("There is no copy of what was resolved.");
  }

  /** A resolve that must be refused: `{ status, code, … }`. */
  async resolveRefused(id, body) {
    const answer = await this.installation.resolve(id, body);
    assert.notEqual(answer.status, 200, "a resolve that must be refused");
    return { ...answer.body, status: answer.status };
  }

  /** Starts a flow on a page, allows access at the app as an account, and comes back. Returns the last address. */
  async completeConsent(sim, path, { account = "ada", untick = [], deny = false, boxes } = {}) {
    sim.person = { account, untick, deny };
    const away = await this.person.startFlow(path, boxes);
    const answer = await fetch(away, { redirect: "manual" });
    if (answer.status !== 302) throw new Error(`The app answered ${answer.status}: ${(await answer.text()).slice(0, 300)}`);
    return this.person.followCallback(answer.headers.get("location"));
  }

  /** The same, and returns the id of the connection that it leads to. */
  connect = async (...args) => connectionIdFrom(await this.completeConsent(...args));

  /** Submits a credential in a page's form. Returns the answer. */
  submitCredential(path, fields) {
    const named = Object.entries(fields).map(([id, value]) => [`input.${id}`, value]);
    return this.person.submit(path, Object.fromEntries(named), { to: path });
  }

  /** Answers the question at the end of a flow. Returns where the answer leads. */
  async answerQuestion(flow, choice, asked) {
    const page = await this.person.get(flow);
    assert.match(page.text, asked);
    assert.ok(parseForms(page.html).some(({ buttons }) => buttons.includes(choice)), `${choice} on ${page.text}`);
    return (await this.person.submit(flow, { choice })).location;
  }

  /** Lets seconds pass, for a connection in the database and for the app. */
  async advanceTime(sim, id, seconds) {
    sim.clock.advance(seconds);
    const moved = ["expires_at", "refreshed_at", "checked_at", "connected_at", "ambiguous_since", "lease_expires_at"];
    const set = moved.map((column) => `${column} = ${column} - ?2`).join(", ");
    await this.installation.run(`UPDATE connections SET ${set}, next_attempt_at = max(0, next_attempt_at - ?2) WHERE id = ?1`, id, seconds);
    await this.installation.run("UPDATE oauth_clients SET backoff_until = max(0, backoff_until - ?1)", seconds);
  }
}

/** Calls an app's API with the `request` of a resolve, and nothing else. */
export async function callAppApi(request, { method = "GET", path, text, type = "application/json" }) {
  const url = new URL(request.base_url + path);
  for (const [name, value] of Object.entries(request.query)) url.searchParams.set(name, value);
  const headers = text === undefined ? request.headers : { ...request.headers, "content-type": type };
  const response = await fetch(url, { method, headers, body: text });
  const body = await response.json();
  return { status: response.status, body, works: response.status === 200 && body?.ok !== false };
}

/** The kinds of an account's tokens that the app still accepts. */
export const listLiveTokens = (sim, account) =>
  [...sim.tokens.values()].filter(({ kind, value, grant }) => grant.account === account && sim.live(kind, value)).map(({ kind }) => kind);

/** The requests that an app received while `doing` ran: `METHOD where`, in order. */
export async function recordRequests(sim, doing) {
  const before = sim.requests.length;
  const result = await doing();
  return { result, asked: sim.requests.slice(before).map(({ method, path }) => `${method} ${path}`) };
}

/** How many token requests of a grant type an app received while `doing` ran. */
export async function countTokenRequests(sim, grantType, doing) {
  const count = () => sim.tokenRequests[grantType] ?? 0;
  const before = count();
  await doing();
  return count() - before;
}

/**
 * The last suite of a file: no secret that the apps issued or received was logged, shown or stored unencrypted. At
 * least `least` secrets must be known, so that there is something to look for.
 */
export function defineSecretLeakSuite(fixture, least) {
  suite("secrets are never exposed", () => {
    let secrets;
    before(() => {
      const { origin, close, ...apps } = fixture().apps;
      // One line of a key file is enough, because its line breaks may differ elsewhere.
      const searchable = (value) => (value.includes("PRIVATE KEY") ? value.split("\n")[3] : value);
      secrets = Object.entries(apps).flatMap(([name, sim]) => sim.secrets().map((value) => [searchable(value), name]));
      assert.ok(secrets.length > least && secrets.every(([value]) => value.length >= 16), `${secrets.length}`);
    });
    const foundIn = (text) => secrets.filter(([value]) => text.includes(value)).map(([value, name]) => `${name}: ${value.slice(0, 8)}…`);

    test("no secret of any app is in the log", () => {
      const logs = fixture().installation.server.getLogs();
      assert.ok(logs.length > 5, "there is a log");
      assert.deepEqual(foundIn(JSON.stringify(logs)), []);
    });

    test("no secret is stored unencrypted in the database or the cache, or in an event", async () => {
      const places = await dumpStoredData(fixture().installation);
      assert.ok(places["table events"].length > 1000, "there is something to look through");
      for (const [place, text] of Object.entries(places)) assert.deepEqual(foundIn(text), [], place);
    });

    test("no secret is on a page or in an answer other than that of a resolve", () => {
      const shown = fixture().installation.answers.filter(({ path, status }) => status >= 400 || !path.endsWith("/resolve"));
      assert.ok(shown.length > 100);
      assert.ok(foundIn(fixture().installation.answers.map(({ text }) => text).join()).length > 20, "a resolve hands some out");
      for (const { path, text, headers } of shown) assert.deepEqual(foundIn(text + (headers.get("location") ?? "")), [], path);
    });

    test("a resolve never returns a refresh token, a client secret or a code", () => {
      const resolved = fixture().installation.answers.filter(({ path, status }) => status < 400 && path.endsWith("/resolve"));
      const { origin, close, ...apps } = fixture().apps;
      const kept = Object.values(apps).flatMap((sim) => ["refresh", "client", "code"].flatMap((kind) => sim.secrets(kind)));
      for (const { path, text } of resolved) assert.deepEqual(kept.filter((value) => text.includes(value)), [], path);
    });
  });
}
