// Owns an app that rotates refresh tokens and writes down what it did with each: the oracle of the kill test. It knows who
// presented what, when it made that good, and what it holds for the newest. Strict: a second use ends the grant. With
// grace: within so many seconds of its clock a second use brings the same answer again. Refuses to misbehave otherwise.

import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import { createServer } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";

/** Seconds its access tokens live. */
export const ACCESS_TOKEN_TTL = 3600;
/** At most so many milliseconds pass before a redemption is made good, and as many again before it is answered. */
const MAX_DELAY = 80;

/**
 * Starts it: `{ definition, log, families, wave, busy, advance, dropClients, serialOf, close }`. `log` has an entry for each redemption, with the `wave` in
 * which it came; whoever looks on says when the next wave begins. `busy` counts the requests that it is dealing with.
 *
 * - `grace`: seconds in which a used token works once more; 0 is strict.
 * - `random`: decides how long each redemption takes, and which requests are dropped when their client is gone.
 */
export async function startRotatingApp({ id, grace, random }) {
  const app = { log: [], families: new Map(), wave: 0, gone: -1, ahead: 0, busy: 0 };
  const tokens = new Map();
  const now = () => Date.now() / 1000 + app.ahead;

  const issue = (family) => {
    const made = { access: randomBytes(16).toString("base64url"), refresh: randomBytes(16).toString("base64url") };
    const serial = (family.newest += 1);
    for (const token of Object.values(made)) tokens.set(token, { family, serial });
    return { access_token: made.access, refresh_token: made.refresh, token_type: "Bearer", expires_in: ACCESS_TOKEN_TTL };
  };

  const exchange = (account) => {
    const family = { account, newest: -1, active: true, answers: [] };
    app.families.set(account, family);
    return [200, issue(family)];
  };

  const redeem = async (token) => {
    const { family, serial } = tokens.get(token) ?? {};
    const entry = { account: family?.account, serial, hash: hashToken(token), wave: app.wave };
    const stopsWhenClientLeaves = random() < 0.5;
    const [before, after] = [random() * MAX_DELAY, random() * MAX_DELAY];
    app.log.push(entry);
    await sleep(before);
    if (stopsWhenClientLeaves && entry.wave <= app.gone) {
      entry.outcome = "dropped";
      return [500, {}];
    }
    entry.at = Date.now();
    const answer = decide(family, serial, entry);
    await sleep(after);
    return answer;
  };

  /** What no other request comes between. */
  const decide = (family, serial, entry) => {
    if (!family?.active) return refuse(entry, "dead");
    if (serial === family.newest) {
      entry.outcome = "rotated";
      family.answers[serial] = { answer: [200, issue(family)], at: now() };
      return family.answers[serial].answer;
    }
    const { answer, at } = family.answers[serial];
    if (serial === family.newest - 1 && now() - at < grace) {
      entry.outcome = "replayed";
      return answer;
    }
    family.active = false;
    return refuse(entry, "reused");
  };

  const server = createServer(async (request, response) => {
    const sent = new URLSearchParams(Buffer.concat(await Array.fromAsync(request)).toString());
    app.busy += 1;
    const [status, json] = sent.has("refresh_token")
      ? await redeem(sent.get("refresh_token"))
      : sent.has("code")
        ? exchange(sent.get("code"))
        : [200, { id: tokens.get(request.headers.authorization?.slice("Bearer ".length))?.family.account }];
    app.busy -= 1;
    response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(json));
  });
  // Rounds are far apart: a connection that is kept must not end just when it is used again.
  server.keepAliveTimeout = 0;
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const origin = `http://localhost:${server.address().port}`;

  return Object.assign(app, {
    definition: {
      id,
      name: id,
      auth: { type: "oauth2", authorize_url: `${origin}/authorize`, token_url: `${origin}/token`, rotation: grace ? { grace } : "strict" },
      scopes: ["read"],
      identity: { url: `${origin}/me`, id: "/id", label: "/id" },
    },
    /** Its clock goes ahead. */
    advance: (seconds) => (app.ahead += seconds),
    /** Whoever asked in this wave is gone. */
    dropClients: () => (app.gone = app.wave),
    /** Which of its account's credentials an access token belongs to: 0 is the first. */
    serialOf: (accessToken) => tokens.get(accessToken)?.serial,
    close() {
      server.closeAllConnections();
      server.close();
    },
  });
}

function refuse(entry, outcome) {
  entry.outcome = outcome;
  return [400, { error: "invalid_grant" }];
}

/** As the record notes which token an attempt is about to redeem. */
const hashToken = (token) => createHash("sha256").update(token).digest("base64url");
