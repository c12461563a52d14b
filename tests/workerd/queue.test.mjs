// Owns the optional queue on the real runtime: what a scheduled run leaves due is checked by invocations of their own, once.

import assert from "node:assert/strict";
import { after, before, suite, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { startInstallation, writeConfigFile } from "../support/installation.mjs";
import { Person } from "../support/person.mjs";

const CONNECTIONS = 60;

suite("a queue", () => {
  let installation;
  const left = () => installation.row("SELECT count(*) AS n FROM connections WHERE next_check_at = 1").then(({ n }) => n);
  const events = () => JSON.stringify(installation.server.getLogs());

  before(async () => {
    installation = await startInstallation({ configs: [writeConfigFile({ queue: true })] });
    const ada = await Person.createSignedIn(installation);
    for (let number = 0; number < CONNECTIONS; number += 1) await ada.connect("acme", { login: `p${number}` });
  });
  after(() => installation.close());

  test("gets a message for what a run leaves due, and each connection is checked once", async () => {
    await installation.run("UPDATE connections SET next_check_at = 1, checked_at = NULL");
    const before = installation.oauth.requests.userinfo;
    await installation.runScheduled();
    for (let tries = 0; tries < 200 && !events().includes("queued_run_ended"); tries += 1) await sleep(100);
    assert.match(events(), /runs_queued/);
    assert.match(events(), /queued_run_ended/);
    assert.equal(await left(), 0);
    assert.equal(installation.oauth.requests.userinfo - before, CONNECTIONS);
    const { last_cron_run } = await installation.requestOk("GET", "/v1/status", undefined, installation.adminKey);
    assert.equal(last_cron_run.summary.checked, CONNECTIONS, "both runs together");
  });
});
