// Owns Microsoft's identity platform and Graph as learn.microsoft.com describes them: tenants, errors with
// `error_codes` and an AADSTS text, refresh tokens that are replaced while the old ones keep working, client secrets
// that expire, and assertions in place of a secret. An account is `{ oid, tid, domain, upn, personal }`. A personal
// account has only the tenant "consumers". A client is registered with `secret`, `secretExpired: true`, or
// `certificates: [{ publicKey, id }]`. The id is the value of `kid`, `x5t` or `x5t#S256` in the assertion's header.

import { App, json, page, uuidOf } from "./oauth.mjs";
import { decodeJwt, isSignedBy } from "./signed-assertions.mjs";

const LIFE = 4_500;
const REFRESH_LIFE = 90 * 86_400;
const ASSERTION = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
const PERSONAL_TENANT = "9188040d-6c67-4c5b-b112-36a304b66dad";
const SIGN_IN = ["openid", "profile", "email"];
const GRAPH = "https://graph.microsoft.com/";

const TEXTS = {
  50020: "User account does not exist in tenant and cannot access the application.",
  50173: "The provided grant has expired due to it being revoked, a fresh auth token is needed.",
  54005: "OAuth2 Authorization code was already redeemed, please retry with a new valid code or use an existing refresh token.",
  65001: "The user or administrator has not consented to use the application. Send an interactive authorization request for this user and resource.",
  65004: "User declined to consent to access the app.",
  70003: "The app returned an unsupported grant type.",
  70008: "The provided authorization code or refresh token has expired due to inactivity.",
  90093: "Graph returned with a forbidden error code for the request.",
  90094: "An administrator of the organization must consent to the application.",
  90095: "The user is told to ask an administrator for consent.",
  500112: "The reply address does not match the reply address provided when requesting Authorization code.",
  501481: "The Code_Verifier does not match the code_challenge supplied in the authorization request.",
  700016: "Application was not found in the directory.",
  700021: "Client assertion application identifier doesn't match 'client_id' parameter.",
  700023: "Client assertion audience claim does not match Realm issuer.",
  700024: "Client assertion is not within its valid time range.",
  700027: "The certificate with identifier used to sign the client assertion is not registered on application.",
  700082: "The refresh token has expired due to inactivity.",
  900144: "The request body must contain the following parameter.",
  7000215: "Invalid client secret provided.",
  7000218: "The request body must contain the following parameter: 'client_assertion' or 'client_secret'.",
  7000222: "The provided client secret keys are expired.",
  9002313: "Invalid request. Request is malformed or invalid.",
};

export class Microsoft extends App {
  hosts = ["login.microsoftonline.com", "graph.microsoft.com"];
  /** Scopes that need the consent of an administrator. */
  adminOnly = new Set();
  /** The error and the code of a request that needs an administrator. */
  adminError = ["consent_required", 90094];
  /** Token answers may omit `scope`. Then the requested scopes were granted. */
  omitScope = false;
  #assertions = new Set();

  newAccount = (name) => ({
    oid: uuidOf(name),
    tid: uuidOf("Acme Corp"),
    domain: "acme.example",
    upn: `${name}@acme.example`,
    personal: false,
  });

  serve(request) {
    const [, tenant, endpoint] = /^login\.microsoftonline\.com\/([\w.-]+)\/oauth2\/v2\.0\/(authorize|token)$/.exec(request.where) ?? [];
    if (endpoint === "authorize" && request.method === "GET") return this.authorize(request, tenant);
    if (endpoint === "token" && request.method === "POST") return this.token(request, tenant);
    return request.host === "graph.microsoft.com" ? this.graph(request) : page(404, "Microsoft: there is no such page");
  }

  /** A refusal of the token endpoint. */
  no(status, error, code, more = {}) {
    const timestamp = new Date(this.clock.now() * 1000).toISOString().replace("T", " ").replace(/\.\d+Z/, "Z");
    const [trace_id, correlation_id] = [uuidOf(`trace ${timestamp}`), uuidOf(`correlation ${timestamp}`)];
    const error_description = `AADSTS${code}: ${TEXTS[code]} Trace ID: ${trace_id} Correlation ID: ${correlation_id} Timestamp: ${timestamp}`;
    const error_uri = `https://login.microsoftonline.com/error?code=${code}`;
    return json(status, { error, error_description, error_codes: [code], timestamp, trace_id, correlation_id, error_uri, ...more });
  }

  /** Whether an account may sign in at a tenant. */
  admits(tenant, { tid, domain, personal }) {
    if (tenant === "common") return true;
    if (personal) return tenant === "consumers" || tenant === PERSONAL_TENANT;
    return tenant === "organizations" || tenant === tid || tenant === domain;
  }

  authorize(request, tenant) {
    const { query } = request;
    const fault = this.visitFault(request);
    if (fault) return page(400, `Microsoft: AADSTS${{ client_id: 700016, redirect_uri: 50011 }[fault] ?? 9002313}: ${fault}`);
    if (!this.admits(tenant, this.account())) return page(400, `Microsoft: AADSTS50020: ${TEXTS[50020]}`);
    const denied = (error, code) => ({ error, error_description: `AADSTS${code}: ${TEXTS[code]}` });
    const asked = (query.get("scope") ?? "").split(" ").filter(Boolean);
    if (asked.length === 0) return this.visit(request, { refused: true, denied: denied("invalid_request", 900144) });
    if (asked.some((scope) => this.adminOnly.has(scope))) return this.visit(request, { refused: true, denied: denied(...this.adminError) });
    const more = { session_state: uuidOf(this.person.account) };
    return this.visit(request, { scopes: this.keepTicked(asked), more, denied: { ...denied("access_denied", 65004), error_subcode: "cancel" } });
  }

  token(request, tenant) {
    const params = request.form();
    const grantType = params?.get("grant_type");
    this.count(grantType);
    if (!grantType) return this.no(400, "invalid_request", 900144);
    const { client, refusal } = this.authenticated(request, params);
    if (refusal) return refusal;
    if (grantType === "authorization_code") return this.exchange(client, params, tenant);
    return grantType === "refresh_token" ? this.refresh(client, params, tenant) : this.no(400, "unsupported_grant_type", 70003);
  }

  /** `{ client }`, or `{ refusal }`. */
  authenticated(request, params) {
    const { id, secret } = request.client(params);
    const client = this.clients.get(id);
    const no = (code, error = "invalid_client", status = 401) => ({ refusal: this.no(status, error, code) });
    if (!client) return id ? no(700016, "unauthorized_client", 400) : no(900144, "invalid_request", 400);
    if (params.has("client_assertion")) {
      const fault = this.assertionFault(client, request, params);
      return fault ? no(fault) : { client };
    }
    if (!secret) return no(7000218);
    if (client.secret !== secret) return no(7000215);
    return client.secretExpired ? no(7000222) : { client };
  }

  /** What is wrong with a client assertion (RFC 7523 2.2), as a code. */
  assertionFault(client, request, params) {
    const jwt = params.get("client_assertion");
    const { header, claims } = decodeJwt(jwt) ?? {};
    if (!claims || params.get("client_assertion_type") !== ASSERTION) return 9002313;
    if (claims.iss !== client.id || claims.sub !== client.id) return 700021;
    const certificate = client.certificates?.find(({ id }) => [header.kid, header.x5t, header["x5t#S256"]].includes(id));
    if (!certificate || !isSignedBy(jwt, certificate.publicKey)) return 700027;
    if (claims.aud !== `${this.origin}/${request.where}`) return 700023;
    const now = Date.now() / 1000;
    if (!(claims.exp > now) || claims.nbf > now + 300 || claims.iat > now + 300) return 700024;
    if (!claims.jti || this.#assertions.has(claims.jti)) return 9002313;
    this.#assertions.add(claims.jti);
    return undefined;
  }

  exchange(client, params, tenant) {
    const { code, fault } = this.redeemCode(client, params);
    const codes = { used: 54005, expired: 70008, redirect_uri: 500112, pkce: 501481 };
    if (fault) return this.no(400, "invalid_grant", codes[fault] ?? 9002313);
    if (!this.admits(tenant, this.account(code.account))) return this.no(400, "invalid_grant", 50020);
    const grant = this.findOrCreateGrant(`${client.id} ${code.account}`, { client: client.id, account: code.account });
    for (const scope of code.scopes) grant.scopes.add(scope);
    return this.issued(grant, code.scopes);
  }

  refresh(client, params, tenant) {
    const token = this.findToken("refresh", params.get("refresh_token"));
    if (token?.grant.client !== client.id) return this.no(400, "invalid_grant", 9002313);
    if (token.state === "ended") return this.no(400, "invalid_grant", 50173);
    if (token.state === "expired") return this.no(400, "invalid_grant", 700082);
    if (!this.admits(tenant, this.account(token.grant.account))) return this.no(400, "invalid_grant", 50020);
    const { grant } = token;
    const asked = params.get("scope")?.split(" ").filter(Boolean) ?? token.scopes;
    if (!asked.every((scope) => grant.scopes.has(scope))) return this.no(400, "consent_required", 65001, { suberror: "consent_required" });
    return this.issued(grant, asked);
  }

  issued(grant, scopes) {
    const access_token = this.issue("access", grant, { prefix: "EwB", length: 120, life: LIFE, scopes });
    const offline = scopes.includes("offline_access");
    return json(200, {
      token_type: "Bearer",
      ...(!this.omitScope && { scope: scopes.filter((scope) => scope !== "offline_access").join(" ") }),
      expires_in: LIFE,
      ext_expires_in: LIFE,
      access_token,
      ...(offline && { refresh_token: this.issue("refresh", grant, { prefix: "M.C5", length: 120, life: REFRESH_LIFE, scopes }) }),
    });
  }

  /** The person or an administrator revokes the access: refresh tokens end, access tokens work until they expire. */
  revoke(account) {
    for (const grant of this.grants.values()) {
      if (grant.account !== account) continue;
      for (const token of this.listLiveTokens("refresh", grant)) token.ended = true;
      this.grants.delete(grant.key);
    }
  }

  /** The person withdraws the consent to some scopes. */
  withdrawConsent(account, scopes) {
    for (const grant of this.grants.values()) if (grant.account === account) for (const scope of scopes) grant.scopes.delete(scope);
  }

  graph(request) {
    const no = (status, code, message) => json(status, { error: { code, message, innerError: { date: "2026-01-01T00:00:00", "request-id": uuidOf(code) } } });
    const token = this.findToken("access", request.bearer());
    if (!token) return no(401, "InvalidAuthenticationToken", request.bearer() ? "CompactToken parsing failed." : "Access token is empty.");
    if (token.state !== "live") return no(401, "InvalidAuthenticationToken", "Lifetime validation failed, the token is expired.");
    const has = (...names) => names.some((name) => token.scopes.some((scope) => scope === name || scope === GRAPH + name));
    const { name, oid, upn } = this.account(token.grant.account);
    if (request.path === "/oidc/userinfo" && has(...SIGN_IN)) return json(200, { sub: uuidOf(`${token.grant.client} ${oid}`), name, email: upn });
    if (request.path === "/v1.0/me") {
      if (!has("User.Read", "User.ReadWrite")) return no(403, "Authorization_RequestDenied", "Insufficient privileges to complete the operation.");
      return json(200, { "@odata.context": `${GRAPH}v1.0/$metadata#users/$entity`, id: oid, displayName: name, mail: upn, userPrincipalName: upn });
    }
    if (request.path !== "/v1.0/me/messages") return no(404, "ResourceNotFound", "Resource could not be discovered.");
    if (!has("Mail.Read", "Mail.ReadWrite", "Mail.ReadBasic")) return no(403, "ErrorAccessDenied", "Access is denied. Check credentials and try again.");
    return json(200, { value: [] });
  }
}
