// Owns the HTTP contract for programs: API keys, scopes and other workspaces on every route of /openapi.json, the order
// of refusals, the shape and headers of every answer, lists, clients, and the addresses that a custom app may have. The
// routes are read from the document, so that new routes are tested too.

import assert from "node:assert/strict";
import { after, before, suite, test } from "node:test";
import { acmeDefinition, CLIENT_ID, createApiKey, createWorkspace, startInstallation } from "../support/installation.mjs";
import { Person } from "../support/person.mjs";

const SCOPES = ["connections:read", "connections:write", "resolve", "apps", "links", "keys", "people", "events", "proxy", "webhooks"];
/** The last one is required where only a key with every scope may call. */
const REQUIRED = [...SCOPES, "*"];
const TOO_LARGE = JSON.stringify({ name: "x".repeat(256 * 1024) });
const UNKNOWN_KEY = "cx_0000000000000000_0000000000000000000000000000000000000000000000000";

let installation, ada, id, link, spare, session, signInLink, webhook, routes;
before(async () => {
  installation = await startInstallation();
  ada = await Person.createSignedIn(installation);
  id = await ada.connect();
  link = await installation.requestOk("POST", "/v1/links", { app: "acme" });
  spare = await installation.requestOk("POST", "/v1/keys", { name: "spare", scopes: ["events"] });
  signInLink = await installation.requestOk("POST", "/v1/sign-in-links", { user: { id: "later" } });
  webhook = await installation.requestOk("POST", "/v1/webhooks", { url: "https://hooks.example.com/in", types: ["connection.created"] });
  [session] = (await installation.requestOk("GET", "/v1/sessions?type=person")).data;
  routes = await routesOf(installation);
});
after(async () => {
  await installation.close();
});

/**
 * Every route of the document: `{ method, path, scope, named }`, with real ids in the path. `named` says that the path
 * has ids.
 */
async function routesOf({ request }) {
  const { paths } = JSON.parse((await request("/openapi.json")).text);
  const real = { connection: id, link: link.id, key: spare.id, session: session.id, sign_in_link: signInLink.id, app: "acme", workspace: installation.workspace, person: session.user.id, webhook: webhook.id };
  return Object.entries(paths).flatMap(([template, methods]) =>
    Object.entries(methods)
      .filter(([, operation]) => operation.responses)
      .map(([method, operation]) => ({
        method: method.toUpperCase(),
        template,
        path: template.replace(/\{(\w+)\}/g, (_, name) => real[name] ?? "x"),
        scope: operation["x-scope"],
        auth: Object.keys(operation.security?.[0] ?? {})[0],
        named: template.includes("{"),
      })),
  );
}
const keyed = () => routes.filter(({ auth }) => auth === "workspaceKey");
const writes = ({ method }) => ["POST", "PUT", "PATCH"].includes(method);

/** Checks the status and the error code of an answer. */
const is = (answer, status, code, context) =>
  assert.deepEqual([answer.status, answer.body?.code], [status, code], `${context}: ${JSON.stringify(answer.body)}`);

suite("keys", () => {
  test("every route refuses a caller without a valid key before it checks anything else", async () => {
    const ended = await installation.requestOk("POST", "/v1/keys", {
      name: "ended",
      scopes: ["*"],
      expires_at: new Date(Date.now() + 3_600_000).toISOString(),
    });
    await installation.run("UPDATE api_keys SET expires_at = unixepoch() - 1 WHERE id = ?1", ended.id);
    const revoked = await installation.requestOk("POST", "/v1/keys", { name: "revoked", scopes: ["*"] });
    await installation.requestOk("DELETE", `/v1/keys/${revoked.id}`);
    const wrong = [null, "", "nonsense", UNKNOWN_KEY, `${installation.key}x`, installation.adminKey, ended.key, revoked.key];
    assert.ok(keyed().length >= 20);
    for (const { method, path } of keyed()) {
      for (const key of wrong)
        is(
          await installation.requestApi(method, path, writes({ method }) ? "{malformed" : undefined, key),
          401,
          "unauthorized",
          `${method} ${path} with ${key}`,
        );
    }
    for (const { method, path } of routes.filter(({ auth }) => auth === "operatorKey")) {
      for (const key of [null, "nonsense", installation.key, `${installation.adminKey}x`])
        is(await installation.requestApi(method, path, undefined, key), 401, "unauthorized", `${method} ${path}`);
    }
  });

  test("every route requires its scope, and refuses a key that has all others", async () => {
    for (const scope of REQUIRED) {
      const key = await createApiKey(
        installation,
        SCOPES.filter((other) => other !== scope),
      );
      for (const route of keyed().filter((one) => one.scope === scope)) {
        is(
          await installation.requestApi(route.method, route.path, writes(route) ? "{malformed" : undefined, key),
          403,
          "insufficient_key_scope",
          `${route.method} ${route.path}`,
        );
      }
    }
    assert.deepEqual([...new Set(keyed().map(({ scope }) => scope))].sort(), [...REQUIRED].sort(), "every scope opens something");
  });

  test("resources of another workspace do not exist, whatever the body is", async () => {
    const made = await installation.requestOk("POST", "/v1/workspaces", { name: "Elsewhere" }, installation.adminKey);
    const other = made.key.key;
    const found = [];
    for (const route of keyed().filter(({ named }) => named)) {
      for (const body of writes(route) ? ["{}", "{malformed"] : [undefined]) {
        const { status } = await installation.requestApi(route.method, route.path, body, other);
        if (status !== 404) found.push(`${route.method} ${route.template} with ${body} → ${status}`);
      }
    }
    assert.deepEqual(found, []);
    for (const path of ["/v1/connections", "/v1/connections?user=ada", `/v1/connections?q=${id}`])
      assert.deepEqual((await installation.requestOk("GET", path, undefined, other)).data, []);
    assert.ok(!(await installation.requestOk("GET", "/v1/apps?limit=200", undefined, other)).data.some(({ id }) => id === "acme"));
    is(await installation.requestApi("POST", "/v1/links", { connection: id }, other), 404, "connection_not_found", "a link to it");
    assert.equal((await installation.requestOk("GET", `/v1/connections/${id}`)).status, "connected");
    assert.equal((await installation.requestOk("GET", `/v1/links/${link.id}`)).status, "open");
    assert.ok((await installation.requestOk("GET", "/v1/keys")).data.some(({ id }) => id === spare.id));
  });

  test("a revocation takes effect at once", async () => {
    const made = await installation.requestOk("POST", "/v1/keys", { name: "brief", scopes: ["resolve"] });
    for (const consistency of ["strong", "available"]) assert.equal((await installation.resolve(id, { consistency }, made.key)).status, 200);
    await installation.requestOk("DELETE", `/v1/keys/${made.id}`);
    for (const consistency of ["strong", "available"])
      is(await installation.resolve(id, { consistency }, made.key), 401, "unauthorized", consistency);
    is(await installation.requestApi("DELETE", `/v1/keys/${made.id}`), 404, "not_found", "twice");
  });

  test("resources outside a key's allow-lists do not exist for it", async () => {
    const other = await ada.connect("acme", { login: "other" });
    for (const lists of [{ connections: [other] }, { apps: ["gmail"] }, { connections: [id], apps: ["gmail"] }]) {
      const key = await createApiKey(installation, ["*"], lists);
      for (const [method, path] of [
        ["GET", ""],
        ["PATCH", ""],
        ["DELETE", ""],
        ["POST", "/check"],
        ["POST", "/resolve"],
        ["GET", "/uses"],
        ["GET", "/events"],
      ]) {
        is(
          await installation.requestApi(method, `/v1/connections/${id}${path}`, writes({ method }) ? {} : undefined, key),
          404,
          "connection_not_found",
          `${method} ${path} ${JSON.stringify(lists)}`,
        );
      }
      assert.ok(!(await installation.requestOk("GET", "/v1/connections", undefined, key)).data.some((one) => one.id === id));
      assert.equal((await installation.requestApi("POST", "/v1/links", { connection: id }, key)).status, 404);
    }
    const key = await createApiKey(installation, ["*"], { connections: [other] });
    assert.equal((await installation.resolve(other, {}, key)).status, 200);
    const apps = await createApiKey(installation, ["*"], { apps: ["gmail"] });
    assert.deepEqual(
      (await installation.requestOk("GET", "/v1/apps", undefined, apps)).data.map(({ id }) => id),
      ["gmail"],
    );
    is(await installation.requestApi("GET", "/v1/apps/acme", undefined, apps), 404, "not_found", "an app outside the list");
  });

  test("a key cannot create a key with more permissions", async () => {
    const narrow = await createApiKey(installation, ["keys", "resolve"]);
    const make = (body, key = narrow) => installation.requestApi("POST", "/v1/keys", { name: "child", ...body }, key);
    for (const wider of [{ scopes: ["*"] }, { scopes: ["apps"] }, { scopes: ["resolve", "people"] }])
      is(await make(wider), 403, "insufficient_key_scope", JSON.stringify(wider));
    for (const lists of [{}, { apps: ["acme"] }, { connections: [id] }])
      assert.equal((await make({ scopes: ["resolve"], ...lists })).status, 201);
    for (const lists of [{ apps: ["acme"] }, { connections: [id] }]) {
      const limited = await createApiKey(installation, ["keys", "resolve"], lists);
      is(await make({ scopes: ["resolve"], ...lists }, limited), 403, "insufficient_key_scope", "a limited key makes nothing new");
    }
  });

  test("an allow-list of apps also applies to routes that change apps", async () => {
    const { key: whole } = await createWorkspace(installation, "Narrow");
    const done = [];
    const narrow = await installation.requestOk(
      "POST",
      "/v1/keys",
      { name: "gmail only", scopes: ["apps", "links", "connections:read"], apps: ["gmail"] },
      whole,
    );
    for (const [method, path, body] of [
      ["PUT", "/v1/apps/acme/client", { client_id: "mine", client_secret: "mine" }],
      ["DELETE", "/v1/apps/acme/client"],
      ["POST", "/v1/links", { app: "acme" }],
      ["POST", "/v1/apps", { ...acmeDefinition(installation.oauth), id: "another" }],
      ["PUT", "/v1/apps/acme", { ...acmeDefinition(installation.oauth), name: "Taken over" }],
      ["DELETE", "/v1/apps/acme"],
    ]) {
      const { status } = await installation.requestApi(method, path, body, narrow.key);
      if (status < 400) done.push(`${method} ${path} → ${status}`);
    }
    assert.deepEqual(done, []);
    assert.equal((await installation.requestOk("GET", "/v1/apps/acme", undefined, whole)).name, "Acme");
  });

  test("a key has the form that secret scanners recognise", () => {
    assert.match(installation.key, /^cx_[0-9A-Za-z]+_[0-9A-Za-z]+$/);
    assert.equal(installation.answers.filter(({ text }) => text.includes(installation.key)).length, 1, "it is shown once");
  });
});

suite("refusals", () => {
  test("an unknown method is answered 405 with the known ones", async () => {
    const known = Map.groupBy(routes, ({ template }) => template);
    for (const [template, lines] of known) {
      const methods = lines.map(({ method }) => method);
      for (const method of ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND"].filter((one) => !methods.includes(one))) {
        // The Worker itself, also where a file stands before it.
        const init = { method, headers: { authorization: `Bearer ${installation.key}` } };
        const { status, headers } = await installation.request(lines[0].path, init, installation.worker);
        assert.equal(status, 405, `${method} ${template}`);
        const allowed = methods.includes("GET") ? [...methods, "HEAD"] : methods;
        assert.deepEqual(headers.get("allow").split(", ").sort(), allowed.sort(), `${method} ${template}`);
      }
    }
  });

  test("a body over 256 KB is refused, and one below is read", async () => {
    // The proxy passes larger bodies on.
    for (const route of keyed().filter((one) => writes(one) && !one.path.includes("/proxy/"))) {
      is(await installation.requestApi(route.method, route.path, TOO_LARGE), 413, "body_too_large", `${route.method} ${route.path}`);
      is(await installation.requestApi(route.method, route.path, TOO_LARGE, null), 401, "unauthorized", "a stranger's");
    }
    is(
      await installation.requestApi("PATCH", `/v1/connections/${id}`, JSON.stringify({ name: "x".repeat(250 * 1024) })),
      422,
      "invalid_request",
      "one below",
    );
  });

  test("an invalid request is refused with the path of the field, without repeating the value", async () => {
    const hour = new Date(Date.now() - 3_600_000).toISOString();
    const cases = [
      ["POST", "/v1/keys", { scopes: ["resolve"] }, "name"],
      ["POST", "/v1/keys", { name: "hunter2", scopes: ["hunter2"] }, "scopes[0]"],
      ["POST", "/v1/keys", { name: "x", scopes: [] }, "scopes"],
      ["POST", "/v1/keys", { name: "x", scopes: ["resolve"], expires_at: hour }, "expires_at"],
      ["POST", "/v1/keys", { name: "x", scopes: ["resolve"], expires_at: "hunter2" }, "expires_at"],
      ["POST", "/v1/keys", { name: "x", scopes: ["resolve"], hunter2: 1 }, "hunter2"],
      ["POST", "/v1/keys", { name: "\u0000", scopes: ["resolve"] }, "name"],
      ["POST", "/v1/keys", { name: "x".repeat(101), scopes: ["resolve"] }, "name"],
      ["PATCH", "/v1/workspace", { allowed_origins: ["https://a.example", "hunter2"] }, "allowed_origins[1]"],
      ["PATCH", "/v1/workspace", { allowed_origins: ["https://a.example/path"] }, "allowed_origins[0]"],
      ["PATCH", `/v1/connections/${id}`, { name: "" }, "name"],
      ["PATCH", `/v1/connections/${id}`, { metadata: { a: 1 } }, "metadata.a"],
      ["PATCH", `/v1/connections/${id}`, { allowed_workflows: [""] }, "allowed_workflows"],
      ["PUT", "/v1/apps/acme/client", { client_secret: "hunter2" }, "client_id"],
      ["PUT", "/v1/apps/acme/client", { client_id: CLIENT_ID, client_secret: 2 }, "client_secret"],
      ["POST", "/v1/links", {}, "app"],
      ["POST", "/v1/links", { app: "acme", expires_in: 59 }, "expires_in"],
      ["POST", "/v1/links", { app: "acme", expires_in: 604801 }, "expires_in"],
      ["POST", "/v1/links", { app: "acme", confirm: true }, "user"],
      ["POST", "/v1/links", { app: "acme", on_duplicate: "hunter2" }, "on_duplicate"],
      ["POST", "/v1/sign-in-links", { user: {} }, "user.id"],
      ["POST", `/v1/connections/${id}/resolve`, { min_ttl: "hunter2" }, "min_ttl"],
      ["POST", `/v1/connections/${id}/resolve`, { min_ttl: -1 }, "min_ttl"],
      ["POST", `/v1/connections/${id}/resolve`, { workflow: "x".repeat(129) }, "workflow"],
      ["POST", `/v1/connections/${id}/resolve`, { step: "s" }, "workflow"],
      ["POST", `/v1/connections/${id}/resolve`, { expect: { connection: "hunter2" } }, "expect.connection"],
      ["POST", `/v1/connections/${id}/resolve`, { consistency: "hunter2" }, "consistency"],
      ["POST", "/v1/apps", { ...acmeDefinition(installation.oauth), id: "UPPER" }, "id"],
      ["POST", "/v1/apps", acmeDefinition(installation.oauth, { auth: { issuer: "hunter2" } }), "auth.issuer"],
      ["POST", "/v1/apps", acmeDefinition(installation.oauth, { auth: { authorize_params: { state: "hunter2" } } }), "auth.authorize_params.state"],
      ["GET", "/v1/connections?limit=0", undefined, "limit"],
      ["GET", "/v1/connections?limit=201", undefined, "limit"],
      ["GET", "/v1/keys?limit=hunter2", undefined, "limit"],
      ["GET", "/v1/connections?status=hunter2", undefined, "status"],
      ["GET", "/v1/connections?attention=hunter2", undefined, "attention"],
      ["GET", "/v1/connections?cursor=hunter2", undefined, "cursor"],
      ["GET", `/v1/connections/${id}/events?cursor=hunter2`, undefined, "cursor"],
      ...["{malformed", "[]", '"text"', "{} {}", "\u0000", '{"name": "a", "name": "b"}', "[".repeat(50_000)].map((body) => [
        "POST",
        "/v1/keys",
        body,
        undefined,
      ]),
    ];
    const wrong = [];
    for (const [method, path, body, field] of cases) {
      const { status, body: problem, text } = await installation.requestApi(method, path, body);
      const fields = problem.errors?.map((error) => error.field) ?? [];
      const told = status === 422 && problem.code === "invalid_request" && (!field || fields.includes(field));
      const repeated = field !== "hunter2" && text.includes("hunter2");
      if (!told || repeated)
        wrong.push(
          `${method} ${path} ${JSON.stringify(body)?.slice(0, 120)} → ${status} ${JSON.stringify(problem.errors ?? problem)}, expected ${field}`,
        );
    }
    assert.deepEqual(wrong, []);
  });

  test("an unknown address is a problem document for programs and a page for browsers", async () => {
    is(await installation.requestApi("GET", "/v1/nothing"), 404, "not_found", "/v1/nothing");
    const page = await installation.request("/nothing", { headers: { accept: "text/html" } });
    assert.equal(page.status, 404);
    assert.match(page.headers.get("content-type"), /^text\/html/);
  });
});

suite("lists", () => {
  before(async () => {
    for (const number of [1, 2, 3, 4]) {
      await ada.connect("acme", { login: `listed${number}` });
      await createApiKey(installation, ["events"]);
      await installation.resolve(id, { workflow: `workflow ${number}`, step: "step" });
      await installation.requestOk("PATCH", `/v1/connections/${id}`, { name: `Name ${number}` });
    }
    await createWorkspace(installation, "Second");
  });

  for (const [path, key] of [
    ["/v1/connections"],
    ["/v1/keys"],
    ["/v1/apps"],
    ["/v1/workspaces", "adminKey"],
    ["/v1/connections/{id}/uses"],
    ["/v1/connections/{id}/events"],
  ]) {
    test(`${path} returns every row once, page by page`, async () => {
      const at = path.replace("{id}", id);
      const ask = (query) => installation.requestOk("GET", `${at}?${query}`, undefined, installation[key ?? "key"]);
      const whole = await ask("limit=200");
      assert.equal(whole.next_cursor, null);
      assert.ok(whole.data.length > 2, `${whole.data.length} rows`);
      const walked = [];
      let cursor = null;
      do {
        const page = await ask(new URLSearchParams({ limit: "2", ...(cursor && { cursor }) }));
        assert.ok(page.data.length <= 2);
        walked.push(...page.data);
        cursor = page.next_cursor;
      } while (cursor && walked.length < 200);
      assert.deepEqual(walked, whole.data);
    });
  }

  test("connections are found by app, status, user, workflow, attention and text", async () => {
    const found = async (query) => (await installation.requestOk("GET", `/v1/connections?${query}`)).data.map((one) => one.id);
    const all = await found("limit=200");
    for (const query of ["app=acme", "status=connected", "user=ada"]) assert.deepEqual(await found(query), all, query);
    for (const query of ["workflow=workflow%201", "q=Name%204"]) assert.deepEqual(await found(query), [id], query);
    for (const query of [
      "app=gmail",
      "status=needs_reconnect",
      "user=nobody",
      "workflow=none",
      "attention=client_misconfigured",
      "q=%25",
      "q=_",
      "q='%20OR%201=1--",
    ])
      assert.deepEqual(await found(query), [], query);
  });
});

suite("workspaces", () => {
  test("are created with their first key, listed, and deleted with everything in them", async () => {
    const { workspace, key } = await createWorkspace(installation, "Brief");
    const eve = new Person(installation);
    await eve.signIn((await installation.requestOk("POST", "/v1/sign-in-links", { user: { id: "eve" } }, key)).url);
    const theirs = await eve.connect("acme", { login: "eve" });
    const token = (await installation.resolve(theirs, {}, key)).body.credential.access_token;
    assert.ok(
      (await installation.requestOk("GET", "/v1/workspaces?limit=200", undefined, installation.adminKey)).data.some(
        (one) => one.id === workspace && one.name === "Brief",
      ),
    );

    assert.equal((await installation.requestOk("DELETE", `/v1/workspaces/${workspace}`, undefined, installation.adminKey)).deleted, true);
    is(await installation.resolve(theirs, {}, key), 401, "unauthorized", "its key");
    assert.equal((await eve.get("/")).status, 401, "its people");
    is(await installation.requestApi("DELETE", `/v1/workspaces/${workspace}`, undefined, installation.adminKey), 404, "not_found", "twice");
    // A scheduled run handles a disconnect that is two minutes old.
    await installation.run("UPDATE connections SET deleted_at = deleted_at - 300 WHERE workspace_id = ?1", workspace);
    for (const _ of [1, 2, 3, 4]) {
      await installation.runScheduled();
      // A run does a part of the work and then leaves the workspace alone for a while.
      await installation.run("UPDATE workspaces SET next_erasure_at = 0 WHERE id = ?1", workspace);
    }
    assert.equal(
      (await fetch(`${installation.oauth.issuer}/me`, { headers: { authorization: `Bearer ${token}` } })).status,
      401,
      "revoked at the app",
    );
    const { results: tables } = await installation.db
      .prepare("SELECT m.name FROM sqlite_master m JOIN pragma_table_info(m.name) c ON c.name = 'workspace_id' WHERE m.type = 'table'")
      .all();
    for (const { name } of tables)
      assert.deepEqual(await installation.row(`SELECT count(*) AS rows FROM ${name} WHERE workspace_id = ?1`, workspace), { rows: 0 }, name);
    assert.equal(await installation.row("SELECT id FROM workspaces WHERE id = ?1", workspace), null);
  });
});

suite("clients", () => {
  const put = (body, key) => installation.requestApi("PUT", "/v1/apps/acme/client", body, key);
  const expire = (connection) =>
    installation.run("UPDATE connections SET expires_at = unixepoch() - 1, refreshed_at = NULL WHERE id = ?1", connection);

  test("the redirect URI is known before the client, so that it can be registered at the app first", async () => {
    const { key } = await createWorkspace(installation, "Early");
    await installation.requestOk("POST", "/v1/apps", acmeDefinition(installation.oauth, { id: "later" }), key);
    const told = async () => (await installation.requestOk("GET", "/v1/apps/later", undefined, key)).auth_methods[0].client.redirect_uri;
    const before = await told();
    const enter = async (client_id) => (await installation.requestOk("PUT", "/v1/apps/later/client", { client_id, client_secret: "s" }, key)).redirect_uri;
    assert.equal(await enter("one"), before);
    assert.equal(await enter("two"), before, "a corrected id keeps what was registered at the app");
    assert.equal(await told(), before);
    await installation.requestOk("DELETE", "/v1/apps/later/client", undefined, key);
    assert.equal(await told(), before);
    assert.equal(await enter("one"), before);
    const moved = acmeDefinition(installation.oauth, { id: "later", auth: { issuer: installation.oauth.issuer.replace("localhost", "127.0.0.1") } });
    await installation.requestOk("PUT", "/v1/apps/later", moved, key);
    const elsewhereTold = await told();
    assert.notEqual(elsewhereTold, before, "another authorization server has another redirect URI");
    assert.equal(await enter("one"), elsewhereTold);
    const elsewhere = await createWorkspace(installation, "Elsewhere", acmeDefinition(installation.oauth, { id: "later" }));
    assert.notEqual(elsewhere.client.redirect_uri, before);
  });

  test("the same client_id rotates the secret and keeps id and redirect URI; the secret is never shown", async () => {
    const first = await installation.requestOk("GET", "/v1/apps/acme/client");
    const again = await put({ client_id: CLIENT_ID, client_secret: installation.clientSecret });
    assert.equal(again.status, 200);
    for (const field of ["id", "client_id", "redirect_uri"]) assert.equal(again.body[field], first[field], field);
    assert.ok(installation.answers.every(({ text }) => !text.includes(installation.clientSecret)));
  });

  test("a wrong secret marks the client and not the connection, and the right one repairs it", async () => {
    const connection = await ada.connect("acme", { login: "patient" });
    await put({ client_id: CLIENT_ID, client_secret: "wrong" });
    await expire(connection);
    is(await installation.resolve(connection), 409, "client_misconfigured", "no valid token is left");
    const listed = await installation.requestOk("GET", `/v1/connections/${connection}`);
    assert.deepEqual([listed.status, listed.attention.map(({ code }) => code)], ["connected", ["client_misconfigured"]]);
    await put({ client_id: CLIENT_ID, client_secret: installation.clientSecret });
    assert.equal((await installation.resolve(connection)).status, 200);
    assert.deepEqual((await installation.requestOk("GET", `/v1/connections/${connection}`)).attention, []);
  });

  test("another client_id creates a second client, and connections keep theirs", async () => {
    const first = await installation.requestOk("GET", "/v1/apps/acme/client");
    const second = await put({ client_id: "second", client_secret: "second-secret" });
    assert.equal(second.status, 200);
    assert.notEqual(second.body.id, first.id);
    assert.equal(second.body.redirect_uri, first.redirect_uri, "it is the authorization server's");
    await expire(id);
    assert.equal((await installation.resolve(id)).body.freshness, "refreshed", "refreshed with the client it was made with");
    assert.match((await ada.submit("/oauth/start/acme")).location, /client_id=second/);
    assert.equal((await put({ client_id: CLIENT_ID, client_secret: installation.clientSecret })).body.id, first.id);
  });

  test("a client is deleted only if no connection uses it", async () => {
    is(await installation.requestApi("DELETE", "/v1/apps/acme/client"), 409, "client_in_use", "in use");
    assert.equal((await installation.requestOk("GET", "/v1/apps/acme/client")).client_id, CLIENT_ID);
    const { key } = await createWorkspace(installation, "Unused");
    assert.equal((await installation.requestApi("DELETE", "/v1/apps/acme/client", undefined, key)).status, 200);
    is(await installation.requestApi("GET", "/v1/apps/acme/client", undefined, key), 404, "not_found", "gone");
  });

  test("an app whose hosts change needs its client secret again", async () => {
    const { key } = await createWorkspace(installation, "Mover");
    const eve = new Person(installation);
    await eve.signIn((await installation.requestOk("POST", "/v1/sign-in-links", { user: { id: "eve" } }, key)).url);
    const connection = await eve.connect("acme", { login: "eve" });
    const moved = acmeDefinition(installation.oauth, { auth: { issuer: installation.oauth.issuer.replace("localhost", "127.0.0.1") } });
    const answer = await installation.requestOk("PUT", "/v1/apps/acme", moved, key);
    assert.equal(answer.client_is_set_up, false);

    for (const press of [() => eve.get("/oauth/start/acme"), () => eve.get(`/connections/${connection}/reconnect`)]) {
      const page = await press();
      assert.equal(page.status, 409);
      assert.match(page.text, /An admin has to enter the client.s secret again/);
    }
    await expire(connection);
    assert.equal((await installation.resolve(connection, {}, key)).status, 200, "a connection stays with the definition it was made with");
    await installation.requestOk("PUT", "/v1/apps/acme/client", { client_id: CLIENT_ID, client_secret: installation.clientSecret }, key);
    assert.ok((await installation.requestOk("GET", "/v1/apps/acme", undefined, key)).client_is_set_up);
  });

  test("a redirect of a token endpoint is not followed, and does not change the connection", async () => {
    const connection = await ada.connect("acme", { login: "redirected" });
    for (const status of [302, 307, 308]) {
      installation.outbound.answer = ({ url }) =>
        url.endsWith("/token") ? new Response(null, { status, headers: { location: `${installation.oauth.issuer}/elsewhere` } }) : undefined;
      await installation.run(
        "UPDATE connections SET expires_at = unixepoch() - 1, next_attempt_at = 0, lease_attempt_id = NULL, lease_expires_at = NULL WHERE id = ?1",
        connection,
      );
      is(await installation.resolve(connection), 503, "app_unavailable", status);
    }
    installation.outbound.answer = undefined;
    assert.deepEqual(
      [installation.outbound.to("/elsewhere").length, (await installation.requestOk("GET", `/v1/connections/${connection}`)).status],
      [0, "connected"],
    );
  });

  test("an app id cannot be defined twice, and ids of the catalogue are reserved", async () => {
    is(await installation.requestApi("POST", "/v1/apps", acmeDefinition(installation.oauth)), 409, "already_exists", "acme");
    const taken = await installation.requestApi("POST", "/v1/apps", { ...acmeDefinition(installation.oauth), id: "gmail" });
    is(taken, 422, "invalid_request", "gmail");
  });
});

suite("addresses of a custom app", () => {
  let outside;
  before(async () => {
    outside = await startInstallation({ workspace: false, vars: { PUBLIC_URL: "https://connections.example.com", DEV_LOOPBACK: "" } });
    outside.key = (await outside.requestOk("POST", "/v1/workspaces", { name: "Outside" }, outside.adminKey)).key.key;
  });
  after(() => outside.close());

  const app = (more) => ({
    id: "evil",
    name: "Evil",
    auth: { type: "oauth2", authorize_url: "https://good.example/a", token_url: "https://good.example/t", ...more.auth },
    identity: { url: "https://good.example/me", id: "/id", label: "/id", ...more.identity },
    ...more.rest,
  });
  const FIELDS = {
    "auth.authorize_url": (url) => app({ auth: { authorize_url: url } }),
    "auth.token_url": (url) => app({ auth: { token_url: url } }),
    "auth.refresh_url": (url) => app({ auth: { refresh_url: url } }),
    "auth.revoke_url": (url) => app({ auth: { revoke_url: url } }),
    "identity.url": (url) => app({ identity: { url } }),
    "check.url": (url) => app({ rest: { check: { url } } }),
    "request.base_url": (url) => app({ rest: { request: { base_url: url } } }),
    "auth.issuer": (url) => ({ id: "evil", name: "Evil", auth: { type: "oauth2", issuer: url } }),
  };

  test("cannot be this machine, a private network, a metadata service or a number", async () => {
    const fields = Object.keys(FIELDS);
    assert.ok(HOSTILE_HOSTS.length >= 60);
    for (const [index, host] of HOSTILE_HOSTS.entries()) {
      const field = fields[index % fields.length];
      const { status, body } = await outside.requestApi("POST", "/v1/apps", FIELDS[field](`https://${host}/x`));
      assert.deepEqual([status, body.errors?.[0]?.field], [422, field], `${host}: ${JSON.stringify(body)}`);
    }
    for (const [field, definition] of Object.entries(FIELDS)) {
      for (const url of ["http://good.example/x", "https://127.0.0.1/x", "https://localhost/x", "ftp://good.example/x", "javascript:alert(1)"]) {
        const { status, body } = await outside.requestApi("POST", "/v1/apps", definition(url));
        assert.deepEqual([status, body.errors?.[0]?.field], [422, field], `${field} ${url}: ${JSON.stringify(body)}`);
      }
    }
    assert.deepEqual(
      outside.outbound.requests.filter(({ url }) => !url.startsWith(installation.oauth.issuer)),
      [],
      "nothing was sent anywhere",
    );
  });

  test("are checked again if they come from an issuer's own document", async () => {
    const issuer = "https://login.acme.example";
    for (const [field, url] of [
      ["token_endpoint", "https://169.254.169.254/t"],
      ["authorization_endpoint", "http://localhost/a"],
      ["userinfo_endpoint", "https://metadata.google.internal/"],
      ["issuer", "https://another.example"],
    ]) {
      const document = {
        issuer,
        authorization_endpoint: `${issuer}/a`,
        token_endpoint: `${issuer}/t`,
        userinfo_endpoint: `${issuer}/u`,
        [field]: url,
      };
      outside.outbound.answer = ({ url }) => (url.startsWith(issuer) ? Response.json(document) : new Response("reached", { status: 200 }));
      outside.outbound.requests.length = 0;
      const id = `app-${field.replace(/_.*/, "")}`;
      await outside.requestOk("POST", "/v1/apps", { id, name: "App", auth: { type: "oauth2", issuer }, scopes: ["openid"] });
      await outside.requestOk("PUT", `/v1/apps/${id}/client`, { client_id: "c", client_secret: "s" });
      const { url: link } = await outside.requestOk("POST", "/v1/links", { app: id });
      const page = await outside.request(new URL(link).pathname, { method: "POST", headers: { origin: "https://connections.example.com" } });
      assert.equal(page.status, 503, `${field}: ${page.headers.get("location")}`);
      assert.deepEqual(
        outside.outbound.requests.filter((one) => !one.url.startsWith(issuer)),
        [],
        field,
      );
    }
  });
});

test("every answer of this file is private and typed, and every refusal is a problem document", () => {
  const requests = new Set();
  assert.ok(installation.answers.length > 500);
  const answers = installation.answers.filter(({ path }) => path !== "/openapi.json");
  for (const { path, status, headers, text } of answers) {
    assert.equal(headers.get("cache-control"), "no-store", path);
    assert.equal(headers.get("x-content-type-options"), "nosniff", path);
    assert.ok(headers.get("x-request-id"), path);
    requests.add(headers.get("x-request-id"));
    if (status < 400 || !path.startsWith("/v1/")) continue;
    assert.equal(headers.get("content-type"), "application/problem+json", path);
    const problem = JSON.parse(text);
    for (const field of ["type", "title", "detail", "code"]) assert.equal(typeof problem[field], "string", `${path}: ${field}`);
    assert.equal(problem.status, status);
    if (status === 401) assert.equal(headers.get("www-authenticate"), "Bearer");
  }
  assert.equal(requests.size, answers.length, "each has an id of its own");
});

const HOSTILE_HOSTS = [
  ...[
    "localhost",
    "LOCALHOST",
    "localhost.",
    "api.localhost",
    "localhost.localdomain",
    "127.0.0.1",
    "127.1",
    "0.0.0.0",
    "0",
    "2130706433",
    "0x7f000001",
    "0x7f.1",
    "0177.0.0.1",
    "127.0.0.1.",
    "127%2e0%2e0%2e1",
  ],
  ...["[::1]", "[::]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[fe80::1]", "[fd00:ec2::254]", "[64:ff9b::a9fe:a9fe]", "[2606:4700::1111]"],
  ...[
    "10.0.0.1",
    "172.16.0.1",
    "192.168.1.1",
    "169.254.169.254",
    "2852039166",
    "0xa9fea9fe",
    "0251.0376.0251.0376",
    "100.64.0.1",
    "198.18.0.1",
    "224.0.0.1",
    "255.255.255.255",
    "8.8.8.8",
    "1.1",
  ],
  ...[
    "metadata.google.internal",
    "metadata.google.internal.",
    "metadata",
    "instance-data.ec2.internal",
    "METADATA.GOOG",
    "printer.local",
    "router.lan",
    "nas.home.arpa",
    "wiki.corp",
    "db.internal",
    "kubernetes.default.svc.cluster.local",
    "169.254.169.254.nip.io",
    "127-0-0-1.sslip.io",
    "app.localtest.me",
    "lvh.me",
    "x.onion",
  ],
  ...["intranet", "com", "a..example.com", ".example.com", "-a.example.com", "a_b.example.com", "foo.1", "1.2.3.4.5", "*.example.com"],
  ...[
    "example.com@127.0.0.1",
    "user@example.com",
    "user:pass@example.com",
    "127.0.0.1\\@example.com",
    "exam\tple.com",
    "example.com\r\n",
    "127。0。0。1",
    "１２７.0.0.1",
    "bücher.example",
    "good.example#@evil.example",
    "",
  ],
];
