// Owns Dropbox as dropbox.com/developers describes it. A refresh token is issued only for `token_access_type=offline`.
// Access tokens last four hours. The token endpoint accepts only forms. An API call without arguments sends a literal
// null, and errors have tags. Revocation ends every token of the account. An account is `{ account_id, uid, email,
// display_name }`.

import { App, idOf, json, numberOf, page, plain } from "./oauth.mjs";

const LIFE = 14_400;
const TOKEN = ["api.dropboxapi.com/oauth2/token", "api.dropbox.com/oauth2/token", "www.dropbox.com/oauth2/token"];
/** All scopes of the app's permissions tab. They are granted if no scope is requested. */
const SCOPES = ["account_info.read", "files.metadata.read", "files.metadata.write", "files.content.read", "files.content.write", "sharing.read", "sharing.write"];
const NEEDED = { "users/get_current_account": "account_info.read", "files/list_folder": "files.metadata.read", "auth/token/revoke": undefined };

const no = (status, error, error_description) => json(status, { error, error_description });
const tagged = (status, tag, more = {}) => json(status, { error_summary: `${tag}/..`, error: { ".tag": tag, ...more } });

export class Dropbox extends App {
  hosts = ["www.dropbox.com", "api.dropbox.com", "api.dropboxapi.com"];

  newAccount = (name) => ({ account_id: `dbid:${idOf(name, 35)}`, uid: numberOf(name), email: `${name}@example.test`, display_name: name });

  serve(request) {
    if (request.is("GET", "www.dropbox.com/oauth2/authorize")) return this.authorize(request);
    if (request.method === "POST" && TOKEN.includes(request.where)) return this.token(request);
    const route = request.host === "api.dropboxapi.com" && request.method === "POST" && /^\/2\/([\w/]+)$/.exec(request.path)?.[1];
    return route ? this.call(request, route) : page(404, "Dropbox: there is no such page");
  }

  authorize(request) {
    const { query } = request;
    const fault = this.visitFault(request);
    if (fault === "redirect_uri") return page(400, "Dropbox: Invalid redirect_uri. It must exactly match one of the redirect URIs you've pre-configured.");
    const type = query.get("token_access_type") ?? "online";
    const asked = query.get("scope")?.split(" ").filter(Boolean) ?? SCOPES;
    const tooLong = Buffer.byteLength(query.get("state") ?? "") > 500;
    if (fault || query.get("response_type") !== "code" || !["online", "offline"].includes(type) || tooLong) return page(400, `Dropbox: Invalid ${fault ?? "request"}`);
    if (!asked.every((scope) => SCOPES.includes(scope) || /^[a-z_]+\.(read|write)$/.test(scope))) return page(400, "Dropbox: Invalid scope");
    const before = query.get("include_granted_scopes") === "user" ? this.grantFor(query.get("client_id"), this.person.account).scopes : [];
    const scopes = [...new Set([...this.keepTicked(asked), ...before])];
    const denied = { error_description: "The user chose not to give your app access to their Dropbox account." };
    return this.visit(request, { scopes, offline: type === "offline", denied });
  }

  grantFor = (client, account) => this.findOrCreateGrant(`${client} ${account}`, { client, account });

  token(request) {
    const params = request.form();
    const grantType = params?.get("grant_type");
    this.count(grantType);
    if (!params) return no(400, "invalid_request", 'Bad HTTP "Content-Type" header. Expecting "application/x-www-form-urlencoded".');
    const { id, secret } = request.client(params);
    const client = this.clients.get(id);
    // A public client proves its identity with the code verifier at the exchange. At a refresh it proves nothing.
    if (!client || (secret !== null && client.secret !== secret)) return no(401, "invalid_client", "Invalid client_id or client_secret");
    const isPublic = secret === null;
    if (grantType === "authorization_code") return this.exchange(client, params, isPublic);
    return grantType === "refresh_token" ? this.refresh(client, params, isPublic) : no(400, "unsupported_grant_type", "grant type is not supported");
  }

  exchange(client, params, isPublic) {
    if (isPublic && !params.has("code_verifier")) return no(401, "invalid_client", "Invalid client_id or client_secret");
    const { code, fault } = this.redeemCode(client, params);
    const why = { used: "code has already been used", redirect_uri: "redirect_uri mismatch", pkce: "invalid code verifier" };
    if (fault) return no(400, "invalid_grant", why[fault] ?? "code doesn't exist or has expired");
    const grant = this.grantFor(client.id, code.account);
    for (const scope of code.scopes) grant.scopes.add(scope);
    const { account_id, uid } = this.account(code.account);
    const refresh = code.offline && { refresh_token: this.issue("refresh", grant, { scopes: code.scopes, isPublic }) };
    return json(200, { ...this.access(grant, code.scopes), ...refresh, scope: code.scopes.join(" "), uid, account_id });
  }

  access = (grant, scopes) => ({
    access_token: this.issue("access", grant, { prefix: "sl.u.", length: 120, life: LIFE, scopes }),
    token_type: "bearer",
    expires_in: LIFE,
  });

  refresh(client, params, isPublic) {
    const token = this.live("refresh", params.get("refresh_token"));
    if (token && isPublic && !token.isPublic) return no(401, "invalid_client", "Invalid client_id or client_secret");
    if (token?.grant.client !== client.id) return no(400, "invalid_grant", "refresh token is invalid or revoked");
    return json(200, this.access(token.grant, token.scopes));
  }

  // ---- the API

  call(request, route) {
    const fault = (why) => plain(400, `Error in call to API function "${route}": ${why}`);
    if (!request.bearer()) return fault('Must provide HTTP header "Authorization" or URL parameter "authorization".');
    const token = this.findToken("access", request.bearer());
    if (!token || token.state === "ended") return tagged(401, "invalid_access_token");
    if (token.state === "expired") return tagged(401, "expired_access_token");
    if (!(route in NEEDED)) return fault("Unknown API function");
    if (NEEDED[route] && !token.scopes.includes(NEEDED[route])) return tagged(401, "missing_scope", { required_scope: NEEDED[route] });
    if (route === "files/list_folder") return this.folder(request, fault);
    // A call without arguments has the body `null`, or no body and no content type.
    if (request.text === "" ? request.type !== "" : request.text !== "null") return fault("request body: expected null");
    if (request.text === "null" && request.type !== "application/json") return fault(`Bad HTTP "Content-Type" header: "${request.type}". Expecting one of "application/json"`);
    if (route === "users/get_current_account") return this.current(token.grant);
    this.end(token.grant);
    return { status: 200, headers: { "content-type": "application/json" }, body: "null" };
  }

  current({ account }) {
    const { account_id, email, display_name } = this.account(account);
    return json(200, { account_id, email, email_verified: true, name: { display_name }, disabled: false, country: "GB", locale: "en" });
  }

  /** The root folder is empty. No other folder exists. */
  folder(request, fault) {
    const path = request.json()?.get("path");
    if (typeof path !== "string") return fault("request body: could not decode input as JSON");
    if (path !== "") return json(409, { error_summary: "path/not_found/..", error: { ".tag": "path", path: { ".tag": "not_found" } } });
    return json(200, { entries: [], cursor: "A", has_more: false });
  }
}
