// Owns Slack as docs.slack.dev describes it. Every answer is HTTP 200 and has `ok`. Scopes are separated by commas and
// accumulate over installs. Bot and user token come in one answer and rotate separately; a refresh token works once,
// and for a short time after that. An account is `{ user, team: { id, name } | null, enterprise: { id, name } | null
// }`; the team is null for an install in an Enterprise Grid organisation. A client with `rotation: true` gets tokens
// that expire.

import { App, idOf, json, page } from "./oauth.mjs";

const LIFE = 43_200;
/** Seconds in which a used refresh token still works. The documentation says "a short grace period" and no number. */
const GRACE = 30;
/** How many access tokens of a grant are valid at the same time after a refresh. */
const ACTIVE = 2;

const PREFIXES = { bot: ["xoxb-", "xoxe.xoxb-1-"], user: ["xoxp-", "xoxe.xoxp-1-"] };
/** API methods other than those for tokens, and the scope that each needs. */
const METHODS = { "conversations.list": "channels:read", "chat.postMessage": "chat:write", "search.messages": "search:read" };

const no = (error, more, headers) => json(200, { ok: false, error, ...more }, headers);
const yes = (body, headers) => json(200, { ok: true, ...body }, headers);
const listed = (scopes) => [...scopes].join(",");

export class Slack extends App {
  hosts = ["slack.com"];

  newAccount = (name) => ({ user: `U${idOf(name)}`, team: { id: `T${idOf("Acme Corp")}`, name: "Acme Corp" }, enterprise: null });

  // A redirect URI may also be below a registered one.
  isRegisteredRedirect = (client, uri) => client.redirect_uris.some((registered) => uri === registered || uri?.startsWith(`${registered.replace(/\/$/, "")}/`));

  serve(request) {
    if (request.is("GET", "slack.com/oauth/v2/authorize")) return this.authorize(request);
    const method = /^slack\.com\/api\/([\w.]+)$/.exec(request.where)?.[1];
    if (method === "oauth.v2.access") return this.access(request);
    return method ? this.call(method, request) : page(404, "Slack: there is no such page");
  }

  authorize(request) {
    const fault = this.visitFault(request);
    if (fault) return page(400, `Slack: bad_${fault}`);
    const [bot, user] = ["scope", "user_scope"].map((name) => request.query.get(name)?.split(",").filter(Boolean) ?? []);
    if (![...bot, ...user].every((scope) => /^[\w.:-]+$/.test(scope)) || bot.length + user.length === 0) return page(400, "Slack: invalid_scope");
    return this.visit(request, { scopes: { bot: this.keepTicked(bot), user: this.keepTicked(user) }, prefix: "1.2." });
  }

  access(request) {
    const params = request.method === "POST" ? (request.form() ?? request.json()) : undefined;
    if (!params) return no("invalid_form_data");
    const grantType = params.get("grant_type") ?? "authorization_code";
    this.count(grantType);
    const { id, secret } = request.client(params);
    const client = this.clients.get(id);
    if (!client) return no("invalid_client_id");
    if (client.secret !== secret) return no("bad_client_secret");
    if (grantType === "authorization_code") return this.exchange(client, params);
    return grantType === "refresh_token" ? this.refresh(client, params) : no("invalid_grant_type");
  }

  exchange(client, params) {
    const { code, fault } = this.redeemCode(client, params);
    if (fault) return no(fault === "redirect_uri" ? "bad_redirect_uri" : "invalid_code");
    const account = this.account(code.account);
    const { bot, user } = code.scopes;
    return yes({
      ...(bot.length > 0 && this.issued(this.installed("bot", client, account, bot))),
      ...this.about(client, account),
      authed_user: { id: account.user, ...(user.length > 0 && this.issued(this.installed("user", client, account, user))) },
    });
  }

  /** The grant of an installation, or of a person in it. Its scopes are those of all installs together. */
  installed(type, client, account, scopes) {
    const where = `${client.id} ${(account.team ?? account.enterprise).id}`;
    const grant = this.findOrCreateGrant(type === "bot" ? `bot ${where}` : `user ${where} ${account.user}`, { type, where, client });
    grant.account = account.name;
    for (const scope of scopes) grant.scopes.add(scope);
    return grant;
  }

  /** A token as a person copies it from the app's settings: `bot` or `user`, without expiry. */
  createToken(account = this.person.account, { type = "bot", scopes = ["chat:write"] } = {}) {
    return this.issue("access", this.installed(type, { id: "internal" }, this.account(account), scopes), { prefix: PREFIXES[type][0] });
  }

  issued(grant) {
    const { rotation } = grant.client;
    const access_token = this.issue("access", grant, { prefix: PREFIXES[grant.type][rotation ? 1 : 0], life: rotation ? LIFE : Infinity });
    return {
      access_token,
      token_type: grant.type,
      scope: listed(grant.scopes),
      ...(grant.type === "bot" && { bot_user_id: this.botOf(grant) }),
      ...(rotation && { expires_in: LIFE, refresh_token: this.issue("refresh", grant, { prefix: "xoxe-1-" }) }),
    };
  }

  botOf = ({ where }) => `U${idOf(`bot ${where}`)}`;

  about = (client, { team, enterprise }) => ({
    app_id: `A${idOf(client.id)}`,
    team,
    enterprise,
    is_enterprise_install: team === null,
  });

  refresh(client, params) {
    const token = this.live("refresh", params.get("refresh_token"));
    if (token?.grant.client.id !== client.id) return no("invalid_refresh_token");
    token.ends = Math.min(token.ends, this.clock.now() + GRACE);
    const { grant } = token;
    const issued = this.issued(grant);
    for (const old of this.listLiveTokens("access", grant).slice(0, -ACTIVE)) old.ended = true;
    return yes({ ...issued, ...this.about(client, this.account(grant.account)) });
  }

  call(method, request) {
    const params = request.form() ?? request.json() ?? new URLSearchParams();
    const presented = request.bearer() ?? params.get("token");
    if (!presented) return no("not_authed");
    const token = this.findToken("access", presented);
    if (!token) return no("invalid_auth");
    const { grant, state } = token;
    if (state === "expired") return no("token_expired");
    if (state === "ended") return no(grant.ended && grant.type === "bot" ? "account_inactive" : "token_revoked");
    if (method === "auth.test") return this.test(grant);
    if (method === "auth.revoke") return this.revokeToken(token, params);
    if (method === "apps.uninstall") return this.uninstall(grant, params);
    const needed = METHODS[method];
    if (!needed) return no("unknown_method");
    const provided = listed(grant.scopes);
    const headers = { "x-oauth-scopes": provided, "x-accepted-oauth-scopes": needed };
    return grant.scopes.has(needed) ? yes({}, headers) : no("missing_scope", { needed, provided }, headers);
  }

  test(grant) {
    const { name, user, team, enterprise } = this.account(grant.account);
    const of = team ?? enterprise;
    const whose =
      grant.type === "bot" ? { user: "connections", user_id: this.botOf(grant), bot_id: `B${idOf(grant.where)}` } : { user: name, user_id: user };
    const more = { ...(enterprise && { enterprise_id: enterprise.id }), is_enterprise_install: team === null };
    return yes({ url: "https://acme.slack.com/", team: of.name, team_id: of.id, ...whose, ...more }, { "x-oauth-scopes": listed(grant.scopes) });
  }

  /** With rotation it ends this token. Without rotation it ends the whole authorization. */
  revokeToken(token, params) {
    if (params.get("test") === "1") return yes({ revoked: false });
    if (token.grant.client.rotation) token.ended = true;
    else this.endInstall(token.grant);
    return yes({ revoked: true });
  }

  uninstall(grant, params) {
    const { id, secret } = grant.client;
    if (params.get("client_id") !== id) return no("invalid_client_id");
    if (params.get("client_secret") !== secret) return no("bad_client_secret");
    this.endInstall(grant);
    return yes({});
  }

  endInstall({ where, account }) {
    for (const grant of this.grants.values()) if (grant.where === where && (grant.type === "bot" || grant.account === account)) this.end(grant);
  }
}
