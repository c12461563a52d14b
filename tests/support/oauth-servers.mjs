// Owns the interface to a real OAuth server in tests, so that one table of tests serves several servers. A server
// registers a client, lets a person consent at its own pages, counts the refresh requests of an account, and says
// whether it accepts a credential. Answers come from the server's own log, never from the Worker.

import { CLIENT_ID } from "./installation.mjs";
import { completeAuthorization } from "./oauth-browser.mjs";
import { connectionIdFrom } from "./person.mjs";

/** The installation's own server, oidc-provider. Its refresh tokens are single use. */
export function adaptOidcProvider({ oauth }) {
  const owners = new Map();
  const asked = [];
  oauth.provider.on("grant.success", ({ oidc, body }) => {
    const account = oidc.entities.Account.accountId;
    if (oidc.params.grant_type === "refresh_token") asked.push({ account, refused: false });
    if (body.refresh_token) owners.set(body.refresh_token, account);
  });
  oauth.provider.on("grant.error", ({ oidc }) => {
    if (oidc.params?.grant_type === "refresh_token") asked.push({ account: owners.get(oidc.params.refresh_token), refused: true });
  });
  const { issuer } = oauth;
  return {
    name: "oidc-provider, strict",
    issuer,
    scopes: ["openid", "email", "offline_access"],
    rotation: "strict",
    // The server sends its issuer in redirects, so a definition with explicit addresses must name the issuer too.
    addresses: { issuer, authorize_url: `${issuer}/auth`, token_url: `${issuer}/token`, revoke_url: `${issuer}/token/revocation` },
    authorize_params: { prompt: "consent" },
    identity: { url: `${issuer}/me`, id: "/sub", label: "/email" },
    register: async (clientId, _, redirectUri) => oauth.addRedirectUri(clientId, redirectUri),
    authorize: (authorizeUrl, account) => completeAuthorization(authorizeUrl, { login: account }),
    countRefreshes: async (account) => ({
      refreshes: asked.filter((one) => one.account === account).length,
      refused: asked.filter((one) => one.account === account && one.refused).length,
      unknown: asked.filter((one) => one.account === undefined).length,
    }),
    accepts: async (headers) => (await fetch(`${issuer}/me`, { headers })).status === 200,
    close: async () => {},
  };
}

/**
 * Defines an OAuth server as the app `id` of a workspace, with its client. The definition has the issuer, or the
 * addresses if `auth` has a `refresh_url`.
 */
export async function defineApp(installation, oauthServer, id, { auth = {}, key = installation.key } = {}) {
  const where = auth.refresh_url ? oauthServer.addresses : { issuer: oauthServer.issuer };
  const definition = {
    id,
    name: oauthServer.name,
    auth: { type: "oauth2", ...where, authorize_params: oauthServer.authorize_params ?? {}, rotation: oauthServer.rotation, ...auth },
    scopes: oauthServer.scopes,
    identity: oauthServer.identity,
  };
  await installation.requestOk("POST", "/v1/apps", definition, key);
  const credentials = { client_id: CLIENT_ID, client_secret: installation.clientSecret };
  const client = await installation.requestOk("PUT", `/v1/apps/${id}/client`, credentials, key);
  await oauthServer.register(CLIENT_ID, installation.clientSecret, client.redirect_uri);
}

/** A person connects an account of the OAuth server at its own pages. Returns the connection's id. */
export async function connectAccount(person, oauthServer, app, account) {
  return connectionIdFrom(await person.followCallback(await oauthServer.authorize(await person.startFlow(`/oauth/start/${app}`), account)));
}
