// Owns webhooks on the real runtime: a receiver of our own gets events, and the published library of Standard Webhooks verifies
// them. The receiver fails, redirects and hangs; the clock of the database moves instead of the test waiting.

import assert from "node:assert/strict";
import { createServer } from "node:http";
import { after, before, suite, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { Webhook } from "standardwebhooks";
import { startInstallation } from "../support/installation.mjs";
import { Person } from "../support/person.mjs";

/** A receiver on this machine. `answer` decides how it answers. */
async function startReceiver() {
  const receiver = { got: [], answer: (response) => response.writeHead(204).end() };
  const server = createServer(async (request, response) => {
    const chunks = [];
    for await (const chunk of request) chunks.push(chunk);
    receiver.got.push({ path: request.url, headers: request.headers, body: Buffer.concat(chunks).toString() });
    receiver.answer(response, request);
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  receiver.url = `http://127.0.0.1:${server.address().port}`;
  receiver.close = () => (server.closeAllConnections(), server.close());
  receiver.wait = async (count) => {
    for (let tries = 0; tries < 300 && receiver.got.length < count; tries += 1) await sleep(50);
    return receiver.got.splice(0);
  };
  return receiver;
}

suite("webhooks", () => {
  let installation, receiver, webhook, ada;

  before(async () => {
    installation = await startInstallation();
    receiver = await startReceiver();
    ada = await Person.createSignedIn(installation);
    const types = ["connection.created", "connection.needs_reconnect", "connection.recovered", "connection.deleted"];
    webhook = await installation.requestOk("POST", "/v1/webhooks", { url: `${receiver.url}/in`, types });
  });
  after(() => {
    receiver.close();
    return installation.close();
  });

  /** What a scheduled run would find later. */
  const letTimePass = () =>
    installation.run("UPDATE deliveries SET next_attempt_at = 1 WHERE status = 'pending'")
      .then(() => installation.run("UPDATE subscriptions SET due_at = 1, paused_until = 0 WHERE due_at IS NOT NULL"));

  test("the published library verifies what is sent behind the answer", async () => {
    await ada.connect("acme");
    const [sent] = await receiver.wait(1);
    const event = new Webhook(webhook.secret).verify(sent.body, sent.headers);
    assert.equal(event.type, "connection.created");
    assert.equal(event.id, sent.headers["webhook-id"]);
    assert.equal(event.data.connection.app, "acme");
    assert.throws(() => new Webhook(webhook.secret).verify(sent.body.replace("acme", "acne"), sent.headers));
    assert.throws(() => new Webhook(`whsec_${Buffer.alloc(32, 7).toString("base64")}`).verify(sent.body, sent.headers));
    assert.throws(() => new Webhook(webhook.secret).verify(sent.body, { ...sent.headers, "webhook-timestamp": "1" }));
  });

  test("both secrets verify while a rotation overlaps", async () => {
    const rotated = await installation.requestOk("POST", `/v1/webhooks/${webhook.id}/rotate`, { overlap_seconds: 600 });
    const delivery = await installation.requestOk("POST", `/v1/webhooks/${webhook.id}/test`);
    assert.equal(delivery.status, "delivered");
    const [sent] = await receiver.wait(1);
    for (const secret of [webhook.secret, rotated.secret]) {
      assert.equal(new Webhook(secret).verify(sent.body, sent.headers).type, "webhook.test");
    }
    webhook = rotated;
  });

  test("a receiver that fails, redirects or hangs gets the same event again", async () => {
    const answers = [
      (response) => response.writeHead(500).end(),
      (response) => response.writeHead(302, { location: `${receiver.url}/elsewhere` }).end(),
      // Headers, and a body without end.
      (response) => response.writeHead(503).write("x"),
      (response) => response.writeHead(200, { "content-type": "text/plain" }).write("y".repeat(1024)),
    ];
    receiver.answer = (response) => (answers.shift() ?? ((last) => last.writeHead(204).end()))(response);
    const [{ id }] = (await installation.requestOk("GET", "/v1/connections")).data;
    await installation.requestOk("DELETE", `/v1/connections/${id}`);
    const all = [...(await receiver.wait(1))];
    for (let round = 0; round < 3; round += 1) {
      await letTimePass();
      await installation.runScheduled();
      all.push(...(await receiver.wait(1)));
    }
    assert.equal(all.length, 4);
    assert.deepEqual(new Set(all.map((one) => `${one.path} ${one.headers["webhook-id"]} ${one.body}`)).size, 1, "nothing went to /elsewhere");
    for (const one of all) assert.equal(new Webhook(webhook.secret).verify(one.body, one.headers).type, "connection.deleted");
    const { data } = await installation.requestOk("GET", `/v1/webhooks/${webhook.id}/deliveries`);
    const told = data.find((one) => one.id === all[0].headers["webhook-id"]);
    assert.deepEqual([told.status, told.attempts, told.last_status_code], ["delivered", 4, 200], "a body without end does not matter");
  });

  test("a receiver that does not answer counts as failed after ten seconds", async () => {
    receiver.answer = () => {};
    const delivery = await installation.requestOk("POST", `/v1/webhooks/${webhook.id}/test`);
    assert.deepEqual([delivery.status, delivery.last_error, delivery.last_status_code], ["pending", "timeout", null]);
    receiver.answer = (response) => response.writeHead(204).end();
    receiver.got.length = 0;
    await letTimePass();
    await installation.runScheduled();
    const [sent] = await receiver.wait(1);
    assert.equal(sent.headers["webhook-id"], delivery.id);
  });
});
