// Owns a real OAuth 2.1 / OpenID Connect server for development and tests: oidc-provider, which is certified and
// independent of Connections. It requires PKCE, and refresh tokens are single use: a second use revokes the whole
// grant. Listens on the loopback address only.

import { generateKeyPairSync, randomBytes } from "node:crypto";
import { once } from "node:events";
import { createServer } from "node:http";
import { interaction } from "./pages.mjs";
import { adapterOver, Store } from "./store.mjs";

const DAY = 86_400;

/**
 * Starts a server at `http://localhost:{port}` (0 takes any free port).
 *
 * - `accessTokenTtl`: lifetime of an access token in seconds; `firstTokenTtl`: that of the first one after a consent.
 * - `clients`: `[{ client_id, client_secret, redirect_uris, … }]`, with the names of dynamic client registration.
 * - `refreshTokens`: false issues no refresh tokens.
 * - `file`: stores tokens there, so that they survive a restart.
 *
 * Returns `{ issuer, provider, requests, resetRequests, setClients, addRedirectUri, close }`. `requests` counts the
 * answers per endpoint (`authorization`, `token`, `userinfo`, `introspection`, `revocation`, `discovery`, …), per grant
 * type (`authorization_code`, `refresh_token`) and those of the token endpoint that were `refused`.
 */
export async function startOAuthServer({ port = 0, accessTokenTtl = 120, firstTokenTtl = accessTokenTtl, clients = [], refreshTokens = true, file } = {}) {
  const registered = new Map();
  const setClients = (list) => {
    registered.clear();
    for (const client of list) registered.set(client.client_id, { ...CLIENT_DEFAULTS, redirect_uris: [], ...client });
  };
  setClients(clients);

  const server = createServer();
  const issuer = await listen(server, port);
  const { Provider, errors } = await quietly(() => import("oidc-provider"));
  const settings = configuration({ accessTokenTtl, firstTokenTtl, refreshTokens, adapter: adapterOver(new Store(file), registered) });
  const provider = await quietly(() => new Provider(issuer, settings));
  const requests = countRequests(provider);
  forgetSignIns(provider);
  server.on("request", handler(provider, errors));

  return {
    issuer,
    provider,
    requests,
    resetRequests: () => Object.keys(requests).forEach((name) => delete requests[name]),
    setClients,
    addRedirectUri: (clientId, uri) => {
      const client = registered.get(clientId);
      registered.set(clientId, { ...client, redirect_uris: [...new Set([...client.redirect_uris, uri])] });
    },
    close: async () => {
      server.closeAllConnections();
      server.close();
      await once(server, "close");
    },
  };
}

const CLIENT_DEFAULTS = { grant_types: ["authorization_code", "refresh_token"], response_types: ["code"], token_endpoint_auth_method: "client_secret_basic" };

function configuration({ accessTokenTtl, firstTokenTtl, refreshTokens, adapter }) {
  const key = generateKeyPairSync("rsa", { modulusLength: 2048 }).privateKey.export({ format: "jwk" });
  const lifeOfToken = ({ oidc }) => (oidc.params?.grant_type === "authorization_code" ? firstTokenTtl : accessTokenTtl);
  return {
    adapter,
    jwks: { keys: [{ ...key, use: "sig", alg: "RS256" }] },
    cookies: { keys: [randomBytes(32).toString("base64url")] },
    scopes: ["openid", "email", "profile", "offline_access"],
    claims: { openid: ["sub"], email: ["email", "email_verified"], profile: ["name", "preferred_username"] },
    findAccount: (_, id) => ({ accountId: id, claims: () => ({ sub: id, name: id, preferred_username: id, email: `${id}@example.test`, email_verified: true }) }),
    pkce: { required: () => true },
    rotateRefreshToken: true,
    // oidc-provider removes `offline_access` from a request without `prompt=consent`. Refresh tokens must not depend on
    // that.
    issueRefreshToken: async (_, client) => refreshTokens && client.grantTypeAllowed("refresh_token"),
    expiresWithSession: async () => false,
    // Each consent is a grant of its own, which asks for every permission: what was not allowed before can be allowed now.
    loadExistingGrant: async ({ oidc }) => oidc.result?.consent?.grantId && oidc.provider.Grant.find(oidc.result.consent.grantId),
    features: {
      devInteractions: { enabled: false },
      rpInitiatedLogout: { enabled: false },
      introspection: { enabled: true, allowedPolicy: async (_, client, token) => token.clientId === client.clientId },
      revocation: { enabled: true, allowedPolicy: async (_, client, token) => token.clientId === client.clientId },
      userinfo: { enabled: true },
    },
    interactions: { url: (_, { uid }) => `/interaction/${uid}` },
    clientBasedCORS: () => false,
    renderError: (ctx, { error, error_description: text }) => {
      ctx.type = "text";
      ctx.body = `${error}: ${text}\n`;
    },
    ttl: { AccessToken: lifeOfToken, AuthorizationCode: 60, IdToken: 600, Interaction: 600, Session: DAY, Grant: 365 * DAY, RefreshToken: 365 * DAY },
  };
}

/** Everybody signs in again at every authorization. Otherwise nobody could connect a second account. */
function forgetSignIns(provider) {
  provider.use((ctx, next) => {
    if (ctx.path === "/auth") delete ctx.req.headers.cookie;
    return next();
  });
}

function countRequests(provider) {
  const requests = {};
  const count = (name) => (requests[name] = (requests[name] ?? 0) + 1);
  provider.use(async (ctx, next) => {
    await next();
    const route = ctx.oidc?.route;
    if (!route) return;
    count(route);
    if (route !== "token") return;
    count(ctx.oidc.params?.grant_type ?? "no_grant");
    if (ctx.status >= 400) count("refused");
  });
  return requests;
}

function handler(provider, errors) {
  const oauth = provider.callback();
  return (request, response) => {
    if (!request.url.startsWith("/interaction/")) return oauth(request, response);
    interaction(provider, request, response).catch((error) => {
      response.statusCode = error instanceof errors.SessionNotFound ? 400 : 500;
      response.end(`${error.message}\n`);
    });
  };
}

async function listen(server, port) {
  server.listen(port, "127.0.0.1");
  await once(server, "listening");
  return `http://localhost:${server.address().port}`;
}

/** oidc-provider prints warnings that matter only in production. */
async function quietly(body) {
  const { info, warn } = console;
  console.info = console.warn = () => {};
  try {
    return await body();
  } finally {
    Object.assign(console, { info, warn });
  }
}
