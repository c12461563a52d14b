// Owns an app that rotates refresh tokens and records each use: who sent which token, when the app rotated it, and
// which token is the newest. The kill test trusts this log. A strict app revokes the grant at the second use of a
// token. With a grace period, a second use within it returns the same answer again.

import { createHash, randomBytes } from "node:crypto";
import { once } from "node:events";
import { createServer } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";

/** Lifetime of an access token, in seconds. */
export const ACCESS_TOKEN_TTL = 3600;
/** Longest delay in milliseconds before a token is rotated, and before the answer is sent. */
const MAX_DELAY = 80;

/**
 * Starts the app: `{ definition, log, families, wave, busy, advance, dropClients, serialOf, close }`. `log` has an
 * entry for each token request with the `wave` in which it came; the test sets when the next wave begins. `busy` counts
 * the running requests.
 *
 * - `grace`: seconds in which a used token works once more. 0 is strict.
 * - `random`: decides how long each request takes, and which requests are dropped when their client is gone.
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

  /** No other request runs between these steps. */
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
  // Rounds are far apart. A kept connection must not close at the moment when it is used again.
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
    /** Moves the app's clock forward. */
    advance: (seconds) => (app.ahead += seconds),
    /** The clients of this wave are gone. */
    dropClients: () => (app.gone = app.wave),
    /** The serial number of an access token in its account. The first is 0. */
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

/** The database records this hash of the token that an attempt sends. */
const hashToken = (token) => createHash("sha256").update(token).digest("base64url");
