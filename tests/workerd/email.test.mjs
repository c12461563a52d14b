// Owns e-mail on the real runtime: the platform's simulation of the binding takes what a scheduled run and a person send.

import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import { dirname, join } from "node:path";
import { after, before, suite, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { startInstallation, writeConfigFile } from "../support/installation.mjs";
import { Person } from "../support/person.mjs";

suite("e-mail", () => {
  let installation, ada, connection;
  const configFile = writeConfigFile({ email: true });
  /** Text or HTML of what was sent, in its order: the simulation writes each into a file beside the configuration. */
  const listSent = (ending) => {
    const folder = join(dirname(configFile), ".wrangler/tmp/email");
    const files = existsSync(folder) ? readdirSync(folder, { recursive: true }).filter((name) => name.endsWith(`.${ending}`)) : [];
    const paths = files.map((name) => join(folder, name)).sort((one, other) => statSync(one).mtimeMs - statSync(other).mtimeMs);
    return paths.map((path) => readFileSync(path, "utf8"));
  };
  const untilSent = async (count) => {
    for (let tries = 0; tries < 100 && listSent("html").length < count; tries += 1) await sleep(100);
    const parts = ["txt", "html"].map(listSent);
    assert.deepEqual(parts.map(({ length }) => length), [count, count]);
    return parts.map((sent) => sent[count - 1]);
  };

  before(async () => {
    installation = await startInstallation({ configs: [configFile] });
    ada = await Person.createSignedIn(installation, { id: "ada", name: "Ada", email: "ada@people.example" }, "admin");
    connection = await ada.connect("acme", { login: "ada" });
    await installation.requestOk("PUT", "/v1/workspace/email", { enabled: true });
  });
  after(() => installation.close());

  test("reaches an admin who asks for a test, and the page says so", async () => {
    const page = await ada.submit("/settings/email", {}, { to: "/settings/email/test" });
    assert.match(page.text, /Sent to ada@people\.example/);
    for (const part of await untilSent(1)) assert.match(part, /This is a test/);
  });

  test("tells an owner once that a connection needs a reconnect, with the way to it", async () => {
    await installation.run("UPDATE connections SET status = 'needs_reconnect', reconnect_reason = 'revoked' WHERE id = ?1", connection);
    await installation.run(
      `INSERT INTO outbox (id, workspace_id, type, occurred_at, connection_id, app, name, user_id, detail, workflow_count)
       SELECT 'evt_broken', workspace_id, 'connection.needs_reconnect', unixepoch() - 600, id, app, name, user_id, 'revoked', 0 FROM connections`,
    );
    await installation.run("UPDATE subscriptions SET due_at = 1");
    for (let run = 0; run < 3; run += 1) await installation.runScheduled();
    for (const part of await untilSent(2)) assert.ok(part.includes(`/connections/${connection}`), part);
  });
});
