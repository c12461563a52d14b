// Owns Notion as developers.notion.com describes it: no scopes, but pages that a person selects; Basic and JSON at the
// OAuth endpoints; a version header on every request; one bot for each authorization; refresh tokens that rotate or are
// null. An account is `{ user, email, workspace: { id, name }, pages: [title] }`. Without pages the connection sees
// nothing.

import { App, json, page, uuidOf } from "./oauth.mjs";

const API = "api.notion.com/v1";

const request_id = () => uuidOf(String(Math.random()));
const no = (status, code, message) => json(status, { object: "error", status, code, message, request_id: request_id() });
const noOAuth = (status, error, error_description) => json(status, { error, error_description, request_id: request_id() });

export class Notion extends App {
  hosts = ["api.notion.com"];
  /** Whether token answers contain a refresh token. Otherwise it is null. */
  refreshTokens = true;

  newAccount = (name) => ({
    user: uuidOf(name),
    email: `${name}@example.test`,
    workspace: { id: uuidOf("Acme Corp"), name: "Acme Corp" },
    pages: ["Roadmap"],
  });

  serve(request) {
    if (request.is("GET", `${API}/oauth/authorize`)) return this.authorize(request);
    if (!/^\d{4}-\d\d-\d\d$/.test(request.headers["notion-version"] ?? ""))
      return no(400, "missing_version", "Notion-Version header failed validation: Notion-Version header should be defined, instead was `undefined`.");
    const oauth = { token: this.token, revoke: this.revokeToken, introspect: this.introspect };
    const endpoint = request.method === "POST" ? oauth[request.path.replace("/v1/oauth/", "")] : undefined;
    return endpoint ? this.authenticated(request, endpoint) : this.api(request);
  }

  authorize(request) {
    const { query } = request;
    const fault = this.visitFault(request);
    if (fault) return page(400, `Notion: Missing or invalid ${fault}.`);
    if (query.get("response_type") !== "code" || query.get("owner") !== "user") return page(400, "Notion: response_type and owner are required.");
    return this.visit(request, { scopes: [] });
  }

  authenticated(request, endpoint) {
    const params = request.json();
    if (!params) return no(400, "invalid_json", "Error parsing JSON body.");
    const { username, password } = request.basic() ?? {};
    const client = this.clients.get(username);
    if (endpoint === this.token) this.count(params.get("grant_type"));
    if (!client || client.secret !== password) return noOAuth(401, "invalid_client", "The client could not be authenticated.");
    return endpoint(client, params);
  }

  token = (client, params) => {
    const grantType = params.get("grant_type");
    if (grantType === "refresh_token") return this.refresh(client, params);
    if (grantType !== "authorization_code") return noOAuth(400, "unsupported_grant_type", `Unknown grant type: ${grantType}`);
    const { code, fault } = this.redeemCode(client, params);
    if (fault) return noOAuth(400, "invalid_grant", `The code cannot be exchanged: ${fault}.`);
    return this.issued(this.findOrCreateGrant(`${client.id} ${code.account}`, { client: client.id, account: code.account }));
  };

  refresh(client, params) {
    const token = this.live("refresh", params.get("refresh_token"));
    if (token?.grant.client !== client.id) return noOAuth(400, "invalid_grant", "The refresh token is invalid, expired or revoked.");
    token.ended = true;
    return this.issued(token.grant);
  }

  issued(grant) {
    const { workspace } = this.account(grant.account);
    return json(200, {
      access_token: this.issue("access", grant, { prefix: "ntn_" }),
      token_type: "bearer",
      refresh_token: this.refreshTokens ? this.issue("refresh", grant, { prefix: "nrt_" }) : null,
      bot_id: this.botOf(grant),
      workspace_id: workspace.id,
      workspace_name: workspace.name,
      workspace_icon: null,
      owner: this.ownerOf(grant),
      duplicated_template_id: null,
      request_id: request_id(),
    });
  }

  /** A token of an internal integration, as a person copies it from the settings. */
  createInternalToken(account = this.person.account) {
    const grant = this.findOrCreateGrant(`internal ${account}`, { client: "internal", account });
    return this.issue("access", grant, { prefix: "ntn_", length: 46 });
  }

  botOf = ({ key }) => uuidOf(`bot ${key}`);

  ownerOf(grant) {
    const { name, user, email } = this.account(grant.account);
    return { type: "user", user: { object: "user", id: user, name, avatar_url: null, type: "person", person: { email } } };
  }

  /** Either token ends the authorization. The documentation does not say what else it ends. */
  revokeToken = (client, params) => {
    const token = this.ofClient(client, params.get("token"));
    if (token) this.end(token.grant);
    return json(200, { request_id: request_id() });
  };

  introspect = (client, params) => json(200, { active: Boolean(this.ofClient(client, params.get("token"))), request_id: request_id() });

  ofClient(client, value) {
    const token = this.live("access", value) ?? this.live("refresh", value);
    return token?.grant.client === client.id ? token : undefined;
  }

  api(request) {
    const token = this.live("access", request.bearer());
    if (!token) return no(401, "unauthorized", "API token is invalid.");
    const { workspace, pages } = this.account(token.grant.account);
    const asPage = (title) => ({ object: "page", id: uuidOf(title), properties: { title: { title: [{ plain_text: title }] } } });
    if (request.is("GET", `${API}/users/me`)) {
      const bot = { owner: this.ownerOf(token.grant), workspace_name: workspace.name };
      return json(200, { object: "user", id: this.botOf(token.grant), name: "Connections", avatar_url: null, type: "bot", bot, request_id: request_id() });
    }
    if (request.is("POST", `${API}/search`)) return json(200, { object: "list", results: pages.map(asPage), next_cursor: null, has_more: false });
    const wanted = request.method === "GET" && /^\/v1\/pages\/([\w-]+)$/.exec(request.path)?.[1];
    if (!wanted) return no(400, "invalid_request_url", "Invalid request URL.");
    const found = pages.find((title) => uuidOf(title) === wanted);
    return found ? json(200, asPage(found)) : no(404, "object_not_found", `Could not find page with ID: ${wanted}. Make sure the relevant pages are shared with your integration.`);
  }
}
