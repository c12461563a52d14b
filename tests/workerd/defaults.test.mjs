// Owns that the statements behind defaults, resolves by app, batches and reports run on D1 as the real build sends them:
// its limits on statements are others than those of a plain SQLite.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { startInstallation } from "../support/installation.mjs";
import { Person } from "../support/person.mjs";

let installation, id;
before(async () => {
  installation = await startInstallation();
  const ada = await Person.createSignedIn(installation);
  id = await ada.connect();
});
after(async () => {
  await installation.close();
});

test("a step that names an app gets the only connection, then the default, alone and in a batch", async () => {
  const { requestOk } = installation;
  const { owner } = await requestOk("GET", `/v1/connections/${id}`);
  const step = { app: "acme", user: owner.id, workflow: "w", step: "s" };
  const only = await requestOk("POST", "/v1/resolve", step);
  assert.deepEqual([only.connection.id, only.chosen_by], [id, "only"]);
  const nobody = await installation.requestApi("POST", "/v1/resolve", { app: "acme" });
  assert.deepEqual([nobody.status, nobody.body.code], [404, "no_default_connection"]);
  await requestOk("PATCH", `/v1/connections/${id}`, { shared: true, environment: "test" });
  const byDefault = await requestOk("POST", "/v1/resolve", { app: "acme", environment: "test" });
  assert.deepEqual([byDefault.connection.id, byDefault.chosen_by], [id, "default"]);
  const { results } = await requestOk("POST", "/v1/resolve/batch", { items: [{ connection: id }, { app: "acme" }, { app: "slack" }] });
  assert.deepEqual(results.map((one) => one.ok?.connection.id ?? one.problem.code), [id, id, "no_default_connection"]);
  await requestOk("PUT", "/v1/apps/acme/default", { connection: id, environment: "test" });
  const { data } = await requestOk("GET", "/v1/defaults");
  assert.equal(data.length, 2);
  await requestOk("DELETE", "/v1/apps/acme/default");
});

test("a report of a refused token brings another one", async () => {
  const before = await installation.requestOk("POST", `/v1/connections/${id}/resolve`, {});
  const report = { status: 401, credential_version: before.credential_version };
  const now = await installation.requestOk("POST", `/v1/connections/${id}/report`, report);
  assert.notEqual(now.credential_version, before.credential_version);
});
