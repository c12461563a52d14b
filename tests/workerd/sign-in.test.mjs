// Owns signing in at an identity provider on the real runtime, whose WebCrypto checks the signatures: at a certified
// server, and at a hostile issuer beside it. The hostile one counts what reaches it and where it tried to lead.

import assert from "node:assert/strict";
import { createHmac, createSign, generateKeyPairSync } from "node:crypto";
import { once } from "node:events";
import { createServer } from "node:http";
import { after, before, suite, test } from "node:test";
import { CLIENT_ID, startInstallation } from "../support/installation.mjs";
import { completeAuthorization, denyAuthorization } from "../support/oauth-browser.mjs";
import { pathOf, Person } from "../support/person.mjs";

let installation, evil;
before(async () => {
  installation = await startInstallation();
  evil = await startHostileIssuer();
});
after(async () => {
  await evil.close();
  await installation.close();
});

const base64 = (value) => Buffer.from(typeof value === "string" ? value : JSON.stringify(value)).toString("base64url");
const rsa = generateKeyPairSync("rsa", { modulusLength: 2048 });
const otherRsa = generateKeyPairSync("rsa", { modulusLength: 2048 });
const curve = generateKeyPairSync("ec", { namedCurve: "P-256" });

function sign(header, claims, key) {
  const signed = `${base64(header)}.${base64(claims)}`;
  const signature = createSign("sha256").update(signed).sign({ key, dsaEncoding: "ieee-p1363" });
  return `${signed}.${signature.toString("base64url")}`;
}

/** An issuer whose answers a test decides: `token(claims)` makes the ID token. */
async function startHostileIssuer() {
  const server = createServer();
  const issuer = { requests: [], token: undefined, keys: undefined, redirect: false };
  server.on("request", (request, response) => {
    issuer.requests.push(`${request.method} ${request.url}`);
    const answer = (body) => response.writeHead(200, { "content-type": "application/json" }).end(typeof body === "string" ? body : JSON.stringify(body));
    if (request.url === "/.well-known/openid-configuration") {
      answer({ issuer: issuer.issuer, authorization_endpoint: `${issuer.issuer}/authorize`, token_endpoint: `${issuer.issuer}/token`, jwks_uri: `${issuer.issuer}/keys` });
    } else if (issuer.redirect) {
      response.writeHead(307, { location: `${issuer.issuer}/inside` }).end();
    } else if (request.url === "/token") {
      answer({ access_token: "x", token_type: "Bearer", id_token: issuer.token() });
    } else if (request.url === "/keys") {
      answer(issuer.keys);
    } else {
      answer({});
    }
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  issuer.issuer = `http://localhost:${server.address().port}`;
  issuer.keys = {
    keys: [
      { ...rsa.publicKey.export({ format: "jwk" }), kid: "r", use: "sig", alg: "RS256" },
      { ...curve.publicKey.export({ format: "jwk" }), kid: "e", use: "sig" },
    ],
  };
  issuer.close = async () => {
    server.closeAllConnections();
    server.close();
    await once(server, "close");
  };
  return issuer;
}

const signInPath = () => `/sign-in/${installation.workspace}`;
const countSessions = () => installation.row("SELECT count(*) AS n FROM sessions").then(({ n }) => n);
const putIdentity = (issuer) => installation.requestOk("PUT", "/v1/workspace/identity", { issuer, client_id: CLIENT_ID, client_secret: installation.clientSecret });

suite("at a certified server", () => {
  before(async () => {
    const { redirect_uri } = await putIdentity(installation.oauth.issuer);
    installation.oauth.addRedirectUri(CLIENT_ID, redirect_uri);
  });

  test("a person signs in and lands on the page that they wanted", async () => {
    const ada = new Person(installation);
    const page = await ada.get("/connections/con_0123456789abcdefghijkl");
    assert.equal(page.status, 401);
    assert.match(page.html, /href="\/sign-in\/ws_[\w-]+\?return_to=%2Fconnections%2Fcon_/);
    const started = await ada.submit(`${signInPath()}?return_to=/?app=acme`);
    assert.equal(started.status, 303);
    const back = await ada.get(pathOf(await completeAuthorization(started.location, { login: "ada" })));
    assert.deepEqual([back.status, back.location], [303, "/?app=acme"], back.text);
    assert.equal((await ada.get("/")).status, 200);
    const { data } = await installation.requestOk("GET", "/v1/people");
    assert.equal(data[0].id, `oidc:${installation.oauth.issuer}:ada`);
  });

  test("whoever denies is not signed in", async () => {
    const eve = new Person(installation);
    const started = await eve.submit(signInPath());
    const back = await eve.get(pathOf(await denyAuthorization(started.location, { login: "eve" })));
    assert.equal(back.status, 403);
    assert.equal((await eve.get("/")).status, 401);
  });

  test("the answer for one browser signs nobody in in another", async () => {
    const [ada, eve] = [new Person(installation), new Person(installation)];
    const callback = pathOf(await completeAuthorization((await ada.submit(signInPath())).location, { login: "ada" }));
    await eve.submit(signInPath());
    const sessions = await countSessions();
    assert.equal((await eve.get(callback)).status, 403);
    assert.equal(await countSessions(), sessions);
  });
});

suite("at a hostile issuer", () => {
  let redirectUri;
  before(async () => ({ redirect_uri: redirectUri } = await putIdentity(evil.issuer)));

  /** Signs in there, with what `make(claims)` answers. Returns the last status. */
  async function attempt(make) {
    const person = new Person(installation);
    const { location } = await person.submit(signInPath());
    const query = new URL(location).searchParams;
    assert.equal(query.get("redirect_uri"), redirectUri);
    const now = Math.floor(Date.now() / 1000);
    const claims = { iss: evil.issuer, aud: CLIENT_ID, sub: "eve", iat: now, exp: now + 60, nonce: query.get("nonce") };
    evil.token = () => make(claims);
    return (await person.get(`${pathOf(redirectUri)}?state=${query.get("state")}&code=c`)).status;
  }

  test("signatures with its own keys are valid, by RSA and by P-256", async () => {
    assert.equal(await attempt((claims) => sign({ alg: "RS256", kid: "r" }, claims, rsa.privateKey)), 303);
    assert.equal(await attempt((claims) => sign({ alg: "ES256", kid: "e" }, claims, curve.privateKey)), 303);
  });

  test("nothing else signs anybody in", async () => {
    const pem = rsa.publicKey.export({ type: "spki", format: "pem" });
    const hmac = (claims) => {
      const signed = `${base64({ alg: "HS256", kid: "r" })}.${base64(claims)}`;
      return `${signed}.${createHmac("sha256", pem).update(signed).digest("base64url")}`;
    };
    const right = (claims) => sign({ alg: "RS256", kid: "r" }, claims, rsa.privateKey);
    const attacks = {
      "another key of the same id": (claims) => sign({ alg: "RS256", kid: "r" }, claims, otherRsa.privateKey),
      "an unknown key": (claims) => sign({ alg: "RS256", kid: "x" }, claims, otherRsa.privateKey),
      "no algorithm": (claims) => `${base64({ alg: "none" })}.${base64(claims)}.`,
      "a shared secret": hmac,
      "a key of another kind": (claims) => sign({ alg: "ES256", kid: "r" }, claims, curve.privateKey),
      "another audience": (claims) => right({ ...claims, aud: "them" }),
      "another issuer": (claims) => right({ ...claims, iss: installation.oauth.issuer }),
      "another nonce": (claims) => right({ ...claims, nonce: "replayed" }),
      "an old token": (claims) => right({ ...claims, exp: claims.iat - 120 }),
      "a cut signature": (claims) => right(claims).slice(0, -10),
    };
    const sessions = await countSessions();
    for (const [what, make] of Object.entries(attacks)) assert.equal(await attempt(make), 403, what);
    evil.redirect = true;
    assert.equal(await attempt(right), 503, "a redirect");
    evil.redirect = false;
    assert.equal(await countSessions(), sessions);
    assert.ok(!evil.requests.some((line) => line.includes("/inside")), "no redirect is followed");
  });
});
