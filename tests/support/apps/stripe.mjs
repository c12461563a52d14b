// Owns Stripe as docs.stripe.com describes it, with three auth methods. Keys: test or live, restricted keys with
// permissions. Connect: the platform's secret key authenticates, tokens do not expire, and a code that is exchanged
// twice ends the connection. Apps: the developer's secret key is the user name of Basic, access lasts an hour, and
// every exchange replaces the refresh token. The secret decides a client's mode (`sk_test_…`, `sk_live_…`), unless
// `live` is set.

import { App, idOf, json, page } from "./oauth.mjs";

const CODE_LIFE = 300;
const APPS_LIFE = 3600;
const APPS_REFRESH_LIFE = 365 * 86_400;

const no = (status, error, error_description) => json(status, { error, error_description });
const apiError = (status, message, code) => json(status, { error: { type: "invalid_request_error", message, ...(code && { code }) } });
const hidden = (key) => key.replace(/^([a-z]{2}_(?:live_|test_)?)?.*$/, "$1****");
const isLive = (key) => /^\w\w_live_/.test(key);

/** The resources of the API, and the permission that each needs. */
const RESOURCES = { "/v1/account": "account", "/v1/balance": "balance", "/v1/customers": "customers" };

export class Stripe extends App {
  hosts = ["connect.stripe.com", "marketplace.stripe.com", "api.stripe.com"];
  /** API keys: `{ account, live, permissions?, connected, ended }`. */
  keys = new Map();
  /** What tokens of Stripe Apps may do. Undefined means everything. */
  appPermissions;
  /**
   * Endpoints that accept the secret key in the body as `client_secret`. The documentation shows it only for this one.
   */
  secretInBody = new Set(["connect.stripe.com/oauth/token"]);

  newAccount = (name) => ({ id: `acct_${idOf(name, 16)}`, email: `${name}@example.test`, display_name: name });

  /**
   * A key from the dashboard. `kind` is `rk` (restricted), `sk` (secret) or `pk` (publishable). Without `permissions`
   * it may do everything. A platform's key reaches the accounts in `connected` with the header Stripe-Account.
   */
  createKey(account = this.person.account, { live = false, kind = "rk", permissions, connected = [] } = {}) {
    const key = this.createSecret("key", `${kind}_${live ? "live" : "test"}_`);
    this.keys.set(key, { account, live, permissions, connected, ended: false });
    return key;
  }

  /** Also ends the keys of the account. */
  revoke(account) {
    super.revoke(account);
    for (const key of this.keys.values()) if (key.account === account) key.ended = true;
  }

  serve(request) {
    const { method, where, path } = request;
    if (request.is("GET", "connect.stripe.com/oauth/authorize")) return this.authorize(request, "connect");
    if (method === "GET" && /^marketplace\.stripe\.com\/oauth\/v2\/(\w+\/)?authorize$/.test(where)) return this.authorize(request, "apps");
    if (request.is("POST", "connect.stripe.com/oauth/token")) return this.token(request, "connect");
    if (request.is("POST", "api.stripe.com/v1/oauth/token")) return this.token(request, "apps");
    if (request.is("POST", "connect.stripe.com/oauth/deauthorize")) return this.deauthorize(request);
    return request.host === "api.stripe.com" ? this.api(request, RESOURCES[path]) : page(404, "Stripe: there is no such page");
  }

  authorize(request, kind) {
    const { query } = request;
    // Stripe tells the app only refusals. All other faults are shown to the person.
    const fault = this.visitFault(request);
    if (fault) return no(400, fault === "redirect_uri" ? "invalid_redirect_uri" : "invalid_request", `Invalid ${fault}`);
    if (query.get("response_type") !== "code" && kind === "connect") return no(400, "unsupported_response_type", "response_type must be code");
    const scope = kind === "apps" ? "stripe_apps" : (query.get("scope") ?? "read_only");
    if (kind === "connect" && !["read_only", "read_write"].includes(scope)) return no(400, "invalid_scope", `Invalid scope: ${scope}`);
    const more = kind === "connect" ? { scope } : {};
    return this.visit(request, {
      scopes: [scope],
      kind,
      life: CODE_LIFE,
      prefix: "ac_",
      more,
      denied: { error_description: "The user denied your request" },
    });
  }

  /** The client with this secret key. `keyOf` finds the key in a request. */
  clientOf = (key) => [...this.clients.values()].find(({ secret }) => secret === key);

  /** Basic with the key as user name, or a bearer token, and for some endpoints the body. */
  keyOf(request, params) {
    return request.basic()?.username ?? request.bearer() ?? (this.secretInBody.has(request.where) ? params.get("client_secret") : undefined);
  }

  token(request, kind) {
    const params = request.form();
    const key = params && this.keyOf(request, params);
    const grantType = params?.get("grant_type");
    this.count(grantType);
    if (!params) return apiError(400, "Invalid request (check that your POST content type is application/x-www-form-urlencoded).");
    if (!key) return apiError(401, "You did not provide an API key.");
    const client = this.clientOf(key);
    if (!client) return apiError(401, `Invalid API Key provided: ${hidden(key)}`);
    if (params.has("client_id") && params.get("client_id") !== client.id) return no(401, "invalid_client", "No such application");
    if (grantType === "authorization_code") return this.exchange(client, params, kind);
    return grantType === "refresh_token" ? this.refresh(client, params, kind) : no(400, "unsupported_grant_type", `Unsupported grant type: ${grantType}`);
  }

  modeOf = (client) => client.live ?? isLive(client.secret);

  exchange(client, params, kind) {
    const { code, fault } = this.redeemCode(client, params, { redirectOptional: true });
    if (fault === "used") {
      for (const grant of this.grants.values()) if (grant.codes?.has(params.get("code"))) this.end(grant);
      return no(400, "invalid_grant", "This authorization code has already been used. All tokens issued with this code have been revoked.");
    }
    if (fault || code.kind !== kind) return no(400, "invalid_grant", "Authorization code does not exist, is expired, or is not yours.");
    if (this.modeOf(client) !== isLive(client.secret)) return no(400, "invalid_grant", "The API key's mode does not match the mode of the code.");
    const grant = this.findOrCreateGrant(`${kind} ${client.id} ${code.account}`, { kind, client, account: code.account, codes: new Set() });
    grant.codes.add(params.get("code"));
    grant.scopes = code.scopes;
    return this.issued(grant);
  }

  refresh(client, params, kind) {
    const token = this.live("refresh", params.get("refresh_token"));
    if (token?.grant.client.id !== client.id || token.grant.kind !== kind) return no(400, "invalid_grant", "This refresh token does not exist or is not yours.");
    const { grant } = token;
    if (kind === "apps") token.ended = true;
    else for (const old of this.listLiveTokens("access", grant)) old.ended = true;
    return this.issued(grant, kind === "connect" ? token.value : undefined);
  }

  issued(grant, refreshToken) {
    const { kind, client, account } = grant;
    const mode = this.modeOf(client) ? "live" : "test";
    const [life, refreshLife] = kind === "apps" ? [APPS_LIFE, APPS_REFRESH_LIFE] : [];
    return json(200, {
      access_token: this.issue("access", grant, { prefix: `sk_${mode}_`, life }),
      livemode: mode === "live",
      refresh_token: refreshToken ?? this.issue("refresh", grant, { prefix: "rt_", life: refreshLife }),
      token_type: "bearer",
      stripe_publishable_key: `pk_${mode}_${idOf(account, 24)}`,
      stripe_user_id: this.account(account).id,
      scope: grant.scopes[0],
    });
  }

  deauthorize(request) {
    const params = request.form();
    const client = params && this.clientOf(this.keyOf(request, params));
    if (!client) return apiError(401, "Invalid API Key provided.");
    const account = params.get("stripe_user_id");
    const grant = this.connected(client, account);
    if (params.get("client_id") !== client.id || !grant)
      return no(401, "invalid_client", `This application is not connected to stripe account ${account}, or that account does not exist.`);
    this.end(grant);
    return json(200, { stripe_user_id: account });
  }

  connected = (client, accountId) =>
    [...this.grants.values()].find((one) => one.kind === "connect" && one.client.id === client.id && this.account(one.account).id === accountId);

  // ---- the API

  /** The caller: `{ account, live, permissions }`, or a refusal. */
  caller(request) {
    const key = request.bearer() ?? request.basic()?.username;
    if (!key) return { refusal: apiError(401, "You did not provide an API key.") };
    const pasted = this.keys.get(key);
    if (pasted?.ended) return { refusal: apiError(401, `Expired API Key provided: ${hidden(key)}`, "api_key_expired") };
    if (key.startsWith("pk_")) return { refusal: apiError(401, "This API call cannot be made with a publishable API key.", "secret_key_required") };
    const asked = request.headers["stripe-account"];
    const beyond = { refusal: apiError(403, `The provided key '${hidden(key)}' does not have access to account '${asked}'.`, "account_invalid") };
    if (pasted && !asked) return pasted;
    if (pasted) {
      const account = pasted.connected.find((name) => this.account(name).id === asked);
      return account ? { ...pasted, account } : beyond;
    }
    const token = this.findToken("access", key);
    if (token?.state === "expired") return { refusal: apiError(401, `Expired API Key provided: ${hidden(key)}`, "api_key_expired") };
    if (token?.state === "live") return { account: token.grant.account, live: this.modeOf(token.grant.client), permissions: token.grant.kind === "apps" ? this.appPermissions : undefined };
    const client = this.clientOf(key);
    if (!client) return { refusal: apiError(401, `Invalid API Key provided: ${hidden(key)}`) };
    const grant = asked && this.connected(client, asked);
    if (asked && !grant) return beyond;
    return { account: grant?.account ?? client.account ?? "platform", live: isLive(key) };
  }

  api(request, resource) {
    const { refusal, account, live, permissions } = this.caller(request);
    if (refusal) return refusal;
    if (!resource) return apiError(404, `Unrecognized request URL (${request.method}: ${request.path}).`);
    const { id, email, display_name } = this.account(account);
    if (permissions && !permissions.includes(resource))
      return apiError(403, `The provided key does not have the required permissions for this endpoint on account '${id}'.`);
    if (resource === "account") return json(200, { id, object: "account", email, settings: { dashboard: { display_name } } });
    if (resource === "balance") return json(200, { object: "balance", livemode: live, available: [], pending: [] });
    return json(200, { object: "list", url: "/v1/customers", has_more: false, data: [] });
  }
}
