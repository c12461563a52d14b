// Owns Google as developers.google.com describes it: one OAuth server for the Gmail and Sheets APIs. A refresh token
// comes with the first consent, or if the request asks for consent again. Scopes that the person unticked are missing
// from the answer's scope. With more than `grantsLimit` refresh tokens for an account and client, the oldest ends
// without a message. Revocation ends everything that the account granted to the project. A client may have a `project`
// (the default is one common project), `testing: true`, and `deleted: true`.

import { App, json, numberOf, page } from "./oauth.mjs";
import { createKeyPair, decodeJwt, isSignedBy } from "./signed-assertions.mjs";

const LIFE = 3599;
const IDLE = 180 * 86_400;
const TESTING_LIFE = 604_799;
const USERINFO = "https://www.googleapis.com/auth/userinfo.";
const SIGN_IN = new Set(["openid", `${USERINFO}email`, `${USERINFO}profile`]);
/** Scopes that have another name in the answer than in the request. */
const ANSWERED_AS = { email: `${USERINFO}email`, profile: `${USERINFO}profile` };
const JWT_BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer";
const TOKEN = "oauth2.googleapis.com/token";

const google = (...names) => names.map((name) => `https://www.googleapis.com/auth/${name}`);
const PROFILE_SCOPES = ["https://mail.google.com/", ...google("gmail.modify", "gmail.compose", "gmail.readonly", "gmail.metadata")];
const SHEET_SCOPES = google("spreadsheets", "spreadsheets.readonly", "drive", "drive.readonly", "drive.file");

const no = (status, error, error_description) => json(status, { error, error_description });
const apiError = (code, status, message, reason) => json(code, { error: { code, message, errors: [{ message, domain: "global", reason }], status } });

export class Google extends App {
  hosts = ["accounts.google.com", "oauth2.googleapis.com", "openidconnect.googleapis.com", "gmail.googleapis.com", "sheets.googleapis.com"];
  /** How many refresh tokens an account may have for a client. */
  grantsLimit = 100;
  /** Service accounts by address: `{ publicKey, keyId, delegated: { subject: [scope] } }`. */
  serviceAccounts = new Map();

  newAccount = (name) => ({ sub: `1${numberOf(name)}`, email: `${name}@example.test` });

  serve(request) {
    if (request.is("GET", "accounts.google.com/o/oauth2/v2/auth")) return this.authorize(request);
    if (request.is("POST", TOKEN)) return this.token(request);
    if (request.is("POST", "oauth2.googleapis.com/revoke")) return this.revokeToken(request);
    const { where, host, path } = request;
    if (where === "openidconnect.googleapis.com/v1/userinfo") return this.userinfo(request);
    if (where === "gmail.googleapis.com/gmail/v1/users/me/profile") return this.api(request, PROFILE_SCOPES, this.profile);
    const sheet = host === "sheets.googleapis.com" && /^\/v4\/spreadsheets\/([\w-]+)/.exec(path)?.[1];
    return sheet ? this.api(request, SHEET_SCOPES, () => this.sheet(sheet)) : page(404, "Google: not found");
  }

  authorize(request) {
    const { query } = request;
    const fault = this.visitFault(request);
    if (fault === "redirect_uri") return page(400, "Google: Error 400: redirect_uri_mismatch");
    if (fault === "client_id") return page(401, "Google: Error 401: invalid_client");
    if (fault || query.get("response_type") !== "code" || !query.get("scope")) return page(400, "Google: Error 400: invalid_request");
    const asked = [...new Set(query.get("scope").split(" "))].map((scope) => ANSWERED_AS[scope] ?? scope);
    const scopes = this.allowed(asked);
    const grantedBefore = query.get("include_granted_scopes") === "true" ? this.projectGrant(query.get("client_id")).scopes : [];
    const offline = query.get("access_type") === "offline";
    const consent = (query.get("prompt") ?? "").split(" ").includes("consent");
    const answered = [...new Set([...scopes, ...grantedBefore])];
    const refused = this.person.deny || scopes.length === 0;
    return this.visit(request, { scopes: answered, offline, consent, refused, prefix: "4/0", more: { scope: answered.join(" ") } });
  }

  /** Checkboxes are shown only if more than one scope goes beyond signing in. Signing in cannot be unticked. */
  allowed(asked) {
    const beyond = asked.filter((scope) => !SIGN_IN.has(scope));
    return beyond.length > 1 ? asked.filter((scope) => SIGN_IN.has(scope) || !this.person.untick.includes(scope)) : asked;
  }

  projectGrant(clientId, account = this.person.account) {
    const project = this.clients.get(clientId).project ?? "project";
    return this.findOrCreateGrant(`${project} ${account}`, { account, project });
  }

  token(request) {
    const params = request.form();
    if (!params) return no(400, "invalid_request", "The content type must be application/x-www-form-urlencoded.");
    const grantType = params.get("grant_type");
    this.count(grantType);
    if (grantType === JWT_BEARER) return this.assertion(params);
    const { id, secret } = request.client(params);
    const client = this.clients.get(id);
    if (!client) return no(401, "invalid_client", "The OAuth client was not found.");
    if (client.deleted) return no(401, "deleted_client", "The OAuth client was deleted.");
    if (client.secret !== secret) return no(401, "invalid_client", "Unauthorized");
    if (grantType === "authorization_code") return this.exchange(client, params);
    return grantType === "refresh_token" ? this.refresh(client, params) : no(400, "unsupported_grant_type", "Invalid grant_type");
  }

  exchange(client, params) {
    const { code, fault } = this.redeemCode(client, params);
    if (fault === "redirect_uri") return no(400, "redirect_uri_mismatch", "Bad Request");
    if (fault === "pkce") return no(400, "invalid_grant", params.has("code_verifier") ? "Invalid code verifier." : "Missing code verifier.");
    if (fault) return no(400, "invalid_grant", fault === "unknown" ? "Malformed auth code." : "Bad Request");
    const grant = this.projectGrant(client.id, code.account);
    const known = code.scopes.every((scope) => grant.scopes.has(scope));
    for (const scope of code.scopes) grant.scopes.add(scope);
    const refreshable = code.offline && (code.consent || !known);
    return json(200, {
      ...this.access(grant, code.scopes),
      ...(refreshable && this.refreshToken(client, grant, code.scopes)),
      ...(code.scopes.includes("openid") && { id_token: this.idToken(client, code.account) }),
    });
  }

  access(grant, scopes) {
    const access_token = this.issue("access", grant, { prefix: "ya29.", life: LIFE, scopes });
    return { access_token, expires_in: LIFE, scope: scopes.join(" "), token_type: "Bearer" };
  }

  refreshToken(client, grant, scopes) {
    const ends = client.testing && scopes.some((scope) => !SIGN_IN.has(scope));
    const refresh_token = this.issue("refresh", grant, { prefix: "1//0", life: ends ? TESTING_LIFE : Infinity, scopes, client: client.id });
    const living = this.listLiveTokens("refresh", grant).filter((token) => token.client === client.id);
    for (const old of living.slice(0, -this.grantsLimit)) old.ended = true;
    return { refresh_token, ...(ends && { refresh_token_expires_in: TESTING_LIFE }) };
  }

  /** The signature is not valid. A client that gets the token directly from Google does not need to check it. */
  idToken(client, account) {
    const { sub, email } = this.account(account);
    const iat = Math.floor(this.clock.now());
    const claims = { iss: "https://accounts.google.com", aud: client.id, sub, email, email_verified: true, iat, exp: iat + 3600 };
    const parts = [{ alg: "RS256", typ: "JWT" }, claims].map((part) => Buffer.from(JSON.stringify(part)).toString("base64url"));
    return this.remember("id", [...parts, Buffer.from("unsigned").toString("base64url")].join("."));
  }

  refresh(client, params) {
    const token = this.live("refresh", params.get("refresh_token"));
    const idle = token && this.clock.now() - (token.used ?? token.made) > IDLE;
    if (token?.client !== client.id || idle) return no(400, "invalid_grant", "Token has been expired or revoked.");
    token.used = this.clock.now();
    return json(200, this.access(token.grant, token.scopes));
  }

  // ---- service accounts

  /**
   * Creates a service account and returns its key file as text. `delegated` says for whom it may act: `{ subject:
   * [scope] }`.
   */
  createServiceAccount(name, { delegated = {} } = {}) {
    const { publicKey, privateKey } = createKeyPair();
    const client_email = `${name}@project.iam.gserviceaccount.com`;
    const private_key_id = this.createSecret("id", "", 40);
    this.remember("key", privateKey);
    this.serviceAccounts.set(client_email, { publicKey, keyId: private_key_id, delegated });
    const token_uri = `https://${TOKEN}`;
    return JSON.stringify({ type: "service_account", project_id: "project", private_key_id, private_key: privateKey, client_email, token_uri }, null, 2);
  }

  assertion(params) {
    const jwt = params.get("assertion") ?? "";
    const { header, claims } = decodeJwt(jwt) ?? {};
    if (!claims) return no(400, "invalid_grant", "Bad Request");
    const account = this.serviceAccounts.get(claims.iss);
    if (!account) return no(400, "invalid_grant", "Invalid grant: account not found");
    const now = Date.now() / 1000;
    const timely = claims.exp > now && claims.iat <= now + 300 && claims.exp - claims.iat <= 3600 && claims.exp > claims.iat;
    if (!timely) return no(400, "invalid_grant", "Invalid JWT: Token must be a short-lived token (60 minutes) and in a reasonable timeframe.");
    if (header.alg !== "RS256" || (header.kid && header.kid !== account.keyId) || !isSignedBy(jwt, account.publicKey))
      return no(400, "invalid_grant", "Invalid JWT Signature.");
    if (claims.aud !== `${this.origin}/${TOKEN}`) return no(400, "invalid_grant", "Invalid JWT: Failed audience check.");
    const scopes = (claims.scope ?? "").split(" ").filter(Boolean);
    if (scopes.length === 0) return no(400, "invalid_scope", "Invalid OAuth scope or ID token audience provided.");
    const delegated = account.delegated[claims.sub];
    if (claims.sub && claims.sub !== claims.iss && !scopes.every((scope) => delegated?.includes(scope)))
      return no(401, "unauthorized_client", "Client is unauthorized to retrieve access tokens using this method, or client not authorized for any of the scopes requested.");
    const whose = claims.sub ?? claims.iss;
    if (!this.accounts.has(whose)) this.accounts.set(whose, { email: whose });
    const { scope: _, ...answer } = this.access(this.findOrCreateGrant(`assertion ${claims.iss} ${whose}`, { account: whose }), scopes);
    return json(200, answer);
  }

  // ---- APIs

  userinfo(request) {
    const token = this.live("access", request.bearer());
    if (!token?.scopes.some((scope) => SIGN_IN.has(scope))) return no(401, "invalid_request", "Invalid Credentials");
    const { sub, email } = this.account(token.grant.account);
    return json(200, { sub, picture: "https://example.test/a.png", ...(token.scopes.includes(`${USERINFO}email`) && { email, email_verified: true }) });
  }

  api(request, scopes, answer) {
    const token = this.live("access", request.bearer());
    if (!token) return apiError(401, "UNAUTHENTICATED", "Request had invalid authentication credentials. Expected OAuth 2 access token.", "authError");
    if (!token.scopes.some((scope) => scopes.includes(scope)))
      return apiError(403, "PERMISSION_DENIED", "Request had insufficient authentication scopes.", "insufficientPermissions");
    return answer(this.account(token.grant.account));
  }

  profile = ({ email }) => json(200, { emailAddress: email, messagesTotal: 1, threadsTotal: 1, historyId: "1" });

  /** Every sheet exists, except the one called `missing`. */
  sheet = (spreadsheetId) =>
    spreadsheetId === "missing"
      ? apiError(404, "NOT_FOUND", "Requested entity was not found.", "notFound")
      : json(200, { spreadsheetId, properties: { title: spreadsheetId } });

  revokeToken(request) {
    const value = (request.form() ?? request.query).get("token");
    const token = this.live("access", value) ?? this.live("refresh", value);
    if (!token) return no(400, "invalid_token", "Token expired or revoked");
    this.end(token.grant);
    return json(200, {});
  }
}
