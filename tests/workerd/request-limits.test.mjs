// Owns what only the real runtime shows about methods and limits: how a method arrives, and that the platform's rate
// limiter is bound and counts. The native tests cover the limits in detail.

import assert from "node:assert/strict";
import { after, before, suite, test } from "node:test";
import { startInstallation } from "../support/installation.mjs";
import { Person } from "../support/person.mjs";

let installation;
before(async () => {
  installation = await startInstallation();
});
after(async () => {
  await installation.close();
});

const as = (credential) => ({ headers: { authorization: `Bearer ${credential}` } });

suite("methods", () => {
  test("an unknown method is not treated as GET", async () => {
    for (const method of ["PROPFIND", "REPORT", "OPTIONS", "MKCOL"]) {
      const { status, headers } = await installation.request("/v1/connections", { method, ...as(installation.key) });
      assert.deepEqual([status, headers.get("allow")], [405, "GET, HEAD, POST"], method);
      assert.equal((await installation.request("/v1/nothing", { method, ...as(installation.key) })).status, 404, method);
    }
  });

  test("HEAD is answered as GET, without a body", async () => {
    const { status, text } = await installation.request("/v1/connections", { method: "HEAD", ...as(installation.key) });
    assert.deepEqual([status, text], [200, ""]);
  });
});

suite("requests that only look ahead", () => {
  test("a HEAD and a prefetch of the callback do not use the code", async () => {
    const path = "/oauth/callback/cli_0123456789abcdefABCD-_?state=x&code=y";
    for (const init of [{ method: "HEAD" }, { headers: { "sec-purpose": "prefetch" } }])
      assert.equal((await installation.request(path, init)).status, 204);
  });
});

suite("limits", () => {
  test("repeated checks ask the app once", async () => {
    const ada = await Person.createSignedIn(installation);
    const id = await ada.connect();
    const answers = [];
    for (let at = 0; at < 10; at += 1) answers.push(await installation.requestOk("POST", `/v1/connections/${id}/check`));
    assert.deepEqual(new Set(answers.map(({ health }) => health)), new Set(["healthy"]));
    assert.equal(new Set(answers.map(({ checked_at }) => checked_at)).size, 1);
  });

  // This test must be the last one: for a minute after it, this address cannot authenticate.
  test("a caller who guesses the operator's key is blocked, also for a right guess", async () => {
    let refused;
    for (let at = 0; at < 500 && !refused; at += 1) {
      const answer = await installation.request("/v1/status", as(`guess-${at}`));
      assert.ok([401, 429].includes(answer.status), `${answer.status}`);
      if (answer.status === 429) refused = answer;
    }
    assert.ok(refused, "no guess was refused");
    assert.equal(JSON.parse(refused.text).code, "rate_limited");
    assert.equal(refused.headers.get("ratelimit-policy"), '"failed-authentication";q=100;w=60');
    assert.ok(Number(refused.headers.get("retry-after")) > 0);
    assert.equal((await installation.request("/v1/status", as(installation.adminKey))).status, 429);
  });
});
