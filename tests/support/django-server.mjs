// Owns the django-oauth-toolkit server of the tests: starts it as a process, signs people in at its pages, and reads
// its own log. Has the same interface as the other OAuth servers (oauth-servers.mjs). Ends with the test.

import { once } from "node:events";
import { createInterface } from "node:readline";
import { repoPath, spawnChild, ensureDjango } from "../../tools/bootstrap.mjs";
import { followRedirects } from "./oauth-browser.mjs";

const SERVER = repoPath("tests/support/django/server.py");

/**
 * Starts a server whose refresh tokens are single use. A second use revokes the grant. Within `grace` seconds a second
 * use returns the same tokens instead. `accessTokenTtl` is the lifetime of an access token in seconds, `firstTokenTtl`
 * that of the first one after a consent.
 */
export async function startDjangoServer({ grace = 0, accessTokenTtl = 120, firstTokenTtl = accessTokenTtl } = {}) {
  const { python, env } = await ensureDjango();
  const options = JSON.stringify({ grace, first_token_ttl: firstTokenTtl, access_token_ttl: accessTokenTtl });
  const server = spawnChild(python, [SERVER, options], { env, stdio: ["pipe", "pipe", "inherit"] });
  const origin = `http://localhost:${await firstLineOf(server)}`;

  return {
    name: `django-oauth-toolkit, grace ${grace} s`,
    issuer: origin,
    scopes: ["profile", "files"],
    rotation: grace > 0 ? { grace } : "strict",
    addresses: { authorize_url: `${origin}/authorize/`, token_url: `${origin}/token/`, revoke_url: `${origin}/revoke_token/` },
    identity: { url: `${origin}/me`, id: "/id", label: "/email" },
    async register(clientId, clientSecret, redirectUri) {
      const client = { client_id: clientId, client_secret: clientSecret, redirect_uri: redirectUri };
      const { status } = await fetch(`${origin}/test/clients`, { method: "POST", body: JSON.stringify(client) });
      if (status !== 204) throw new Error(`The Django server did not take the client (${status})`);
    },
    authorize: (authorizeUrl, account) => followRedirects(authorizeUrl, (form) => (form.has("username") ? signIn(form, account) : allow(form))),
    async countRefreshes(account) {
      const asked = (await (await fetch(`${origin}/test/ledger`)).json()).filter(({ grant }) => grant === "refresh_token");
      return {
        refreshes: asked.filter((one) => one.account === account).length,
        refused: asked.filter((one) => one.account === account && one.status >= 400).length,
        unknown: asked.filter((one) => one.account === null).length,
      };
    },
    accepts: async (headers) => (await fetch(`${origin}/me`, { headers })).status === 200,
    async close() {
      if (server.exitCode !== null) return;
      server.kill();
      await once(server, "close");
    },
  };
}

/** The form as received, with the anti-forgery token of the server, and the name and password filled in. */
function signIn(form, account) {
  form.set("username", account);
  form.set("password", "whatever");
  return form;
}

/** A form has two buttons. Only the one that is pressed is sent. */
function allow(form) {
  form.delete("");
  return form;
}

async function firstLineOf(server) {
  const lines = createInterface({ input: server.stdout });
  const gone = once(server, "close").then(([code]) => {
    throw new Error(`The Django server ended before it began (${code})`);
  });
  const [line] = await Promise.race([once(lines, "line"), gone]);
  // An exit after this point was requested by `close`.
  gone.catch(() => {});
  return line;
}
