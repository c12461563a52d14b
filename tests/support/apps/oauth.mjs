// Owns what all simulated apps share: the person at the app and what they allow, clients, codes and tokens with their
// expiry, a clock, and hooks with which a test observes and changes behaviour. An app checks requests exactly as its
// documentation says. How it words a refusal is its own. Never waits: time is only moved forward.

import { createHash, randomBytes } from "node:crypto";

/** Lifetime of a code in seconds, if the documentation gives none. */
const CODE_LIFE = 600;

export class App {
  /** Registered OAuth clients by id. `register` adds one. */
  clients = new Map();
  /** Accounts by name. Any name works for `person.account`. Add one here to set its fields. */
  accounts = new Map();
  /** The person at the app: their account, what they untick, and whether they refuse. */
  person = { account: "ada", untick: [], deny: false };
  /** The requests, without secrets: `{ method, path, status, error? }`. */
  requests = [];
  /** The parameters of each authorize address, without `state` and `code_challenge`. */
  visits = [];
  /** Requests at token endpoints, by grant type. */
  tokenRequests = {};
  tokens = new Map();
  codes = new Map();
  grants = new Map();
  #secrets = [];
  #failures = [];
  #ahead = 0;
  /**
   * The app's clock, in seconds. Signed assertions are checked with the real time, because their signer uses the real
   * time.
   */
  clock = { now: () => Date.now() / 1000 + this.#ahead, advance: (seconds) => (this.#ahead += seconds) };

  constructor(origin) {
    this.origin = origin;
  }

  /**
   * Registers a client, or changes it. `redirect_uris` are compared byte for byte. Further fields are the app's own.
   */
  register(id, fields) {
    if (fields.secret) this.remember("client", fields.secret);
    const client = { redirect_uris: [], ...this.clients.get(id), ...fields, id };
    this.clients.set(id, client);
    return client;
  }

  /** The account of a name: the app's defaults, and what a test put into `accounts`. */
  account(name = this.person.account) {
    return { name, ...this.newAccount(name), ...this.accounts.get(name) };
  }

  /**
   * Every secret that was issued or registered, or only those of a kind: `client`, `code`, `access`, `refresh`, `key`,
   * `id`.
   */
  secrets = (kind) => this.#secrets.filter((one) => !kind || one.kind === kind).map(({ value }) => value);

  /**
   * Lets a request fail: the next one, or the next whose path contains `at`. Without a `status` the connection breaks.
   * With `afterwards` the request is carried out and only its answer is lost.
   */
  failNext(failure = {}) {
    this.#failures.push(failure);
  }

  /** Every access token expires now. */
  expireAccess() {
    for (const token of this.tokens.values()) if (token.kind === "access") token.ends = this.clock.now();
  }

  /** The person revokes the access at the app. */
  revoke(account) {
    for (const grant of this.grants.values()) if (grant.account === account) this.end(grant);
  }

  /** Ends a grant with all its tokens. The next consent begins another. */
  end(grant) {
    grant.ended = true;
    this.grants.delete(grant.key);
  }

  /** Handles every request. The app's `serve` answers it. */
  async handle(request) {
    const failure = this.#failures.find(({ at }) => !at || request.where.includes(at));
    if (failure) this.#failures.splice(this.#failures.indexOf(failure), 1);
    const served = failure && !failure.afterwards ? undefined : await this.serve(request);
    const answer = failure ? failed(failure) : served;
    const entry = { method: request.method, path: this.redacted(request.where), status: answer.status };
    if (typeof answer.body?.error === "string") entry.error = answer.body.error;
    this.requests.push(entry);
    return answer;
  }

  redacted(where) {
    return where;
  }

  /** Creates a random secret and records it. */
  createSecret(kind, prefix = "", length = 32) {
    return this.remember(kind, prefix + randomBytes(length).toString("base64url").replaceAll(/[-_]/g, "x").slice(0, length));
  }

  remember(kind, value) {
    this.#secrets.push({ kind, value });
    return value;
  }

  // ---- codes

  /**
   * Redirects the person back with a code and `more`, or with their refusal and `denied`. Other fields are stored with
   * the code.
   */
  visit(request, { scopes, life = CODE_LIFE, prefix, refused = this.person.deny, denied = {}, more = {}, ...rest }) {
    const asked = request.query;
    this.visits.push(Object.fromEntries([...asked].filter(([name]) => !["state", "code_challenge"].includes(name))));
    const back = new URL(asked.get("redirect_uri"));
    const answer = refused
      ? { error: "access_denied", ...denied }
      : { code: this.newCode(request, { scopes, life, prefix, ...rest }), ...more };
    for (const [name, value] of Object.entries(answer)) back.searchParams.set(name, value);
    if (asked.has("state")) back.searchParams.set("state", asked.get("state"));
    return { status: 302, headers: { location: back.href }, body: "" };
  }

  /**
   * Why an authorize request does not redirect back: an unknown client, a redirect URI or a challenge that is not
   * accepted.
   */
  visitFault({ query }) {
    const client = this.clients.get(query.get("client_id"));
    if (!client) return "client_id";
    if (!this.isRegisteredRedirect(client, query.get("redirect_uri"))) return "redirect_uri";
    if (query.has("code_challenge") && !/^[\w-]{43}$/.test(query.get("code_challenge"))) return "code_challenge";
    if (query.has("code_challenge") && query.get("code_challenge_method") !== "S256") return "code_challenge_method";
    return undefined;
  }

  isRegisteredRedirect = (client, uri) => client.redirect_uris.includes(uri);

  newCode({ query }, { prefix, life, ...rest }) {
    const value = this.createSecret("code", prefix);
    const asked = { client: query.get("client_id"), redirectUri: query.get("redirect_uri"), challenge: query.get("code_challenge") };
    this.codes.set(value, { ...asked, account: this.person.account, ends: this.clock.now() + life, used: false, ...rest });
    return value;
  }

  /**
   * Redeems a code, once: `{ code }`, or `{ fault, code? }` with a fault `unknown`, `used`, `expired`, `client`,
   * `redirect_uri` or `pkce`. With `redirectOptional` the redirect URI is compared only if one was sent.
   */
  redeemCode(client, params, { redirectOptional = false } = {}) {
    const code = this.codes.get(params.get("code"));
    if (!code) return { fault: "unknown" };
    if (code.client !== client.id) return { fault: "client" };
    if (code.used) return { fault: "used", code };
    if (this.clock.now() >= code.ends) return { fault: "expired" };
    const redirected = params.get("redirect_uri");
    if (redirected !== code.redirectUri && !(redirectOptional && redirected === null)) return { fault: "redirect_uri" };
    const verifier = params.get("code_verifier");
    const challenge = verifier === null ? null : createHash("sha256").update(verifier).digest("base64url");
    if (challenge !== code.challenge) return { fault: "pkce" };
    code.used = true;
    return { code };
  }

  /** The scopes that the person leaves ticked. */
  keepTicked = (scopes) => scopes.filter((scope) => !this.person.untick.includes(scope));

  // ---- grants and tokens

  /** The active grant of a key, or a new one with these fields. */
  findOrCreateGrant(key, fields) {
    if (!this.grants.has(key)) this.grants.set(key, { key, scopes: new Set(), ended: false, ...fields });
    return this.grants.get(key);
  }

  /** Issues a token of a grant. `life` is in seconds. */
  issue(kind, grant, { prefix, length = 48, life = Infinity, ...more }) {
    const value = this.createSecret(kind, prefix, length);
    this.tokens.set(value, { value, kind, grant, made: this.clock.now(), ends: this.clock.now() + life, ended: false, ...more });
    return value;
  }

  /** A token that was issued, with its `state`: `live`, `expired` or `ended`. */
  findToken(kind, value) {
    const token = this.tokens.get(value);
    if (token?.kind !== kind) return undefined;
    token.state = token.ended || token.grant.ended ? "ended" : this.clock.now() >= token.ends ? "expired" : "live";
    return token;
  }

  live(kind, value) {
    const token = this.findToken(kind, value);
    return token?.state === "live" ? token : undefined;
  }

  /** The valid tokens of a grant, the oldest first. */
  listLiveTokens = (kind, grant) => [...this.tokens.values()].filter((token) => token.grant === grant && this.live(kind, token.value));

  count(grantType = "none") {
    this.tokenRequests[grantType] = (this.tokenRequests[grantType] ?? 0) + 1;
  }
}

const failed = ({ status, body, headers = {} }) => ({ status, headers, body: body ?? "", broken: status === undefined });

/** A request as apps see it. `where` is host and path. */
export class Request {
  constructor({ method, url, headers, text }) {
    Object.assign(this, { method, headers, text });
    const { pathname, searchParams } = new URL(url, "http://localhost");
    this.where = pathname.slice(1);
    this.host = this.where.split("/")[0];
    this.path = this.where.slice(this.host.length);
    this.query = searchParams;
    this.type = (headers["content-type"] ?? "").split(";")[0].trim().toLowerCase();
  }

  is = (method, path) => this.method === method && this.where === path;

  /** The parameters of a form body, or undefined for another content type. */
  form = () => (this.type === "application/x-www-form-urlencoded" ? new URLSearchParams(this.text) : undefined);

  /** The parameters of a JSON body whose values are texts. */
  json() {
    if (this.type !== "application/json") return undefined;
    try {
      return new URLSearchParams(JSON.parse(this.text));
    } catch {
      return undefined;
    }
  }

  /** The token of `Authorization: Bearer`. */
  bearer = () => /^bearer (.+)$/i.exec(this.headers.authorization ?? "")?.[1];

  /** User name and password of `Authorization: Basic`, not decoded further. */
  basic() {
    const encoded = /^basic (.+)$/i.exec(this.headers.authorization ?? "")?.[1];
    if (!encoded) return undefined;
    const [, username, password] = /^([^:]*):?(.*)$/s.exec(Buffer.from(encoded, "base64").toString());
    return { username, password };
  }

  /** Id and secret of the client, from Basic or from the body. Both at once are refused (RFC 6749 2.3). */
  client(params) {
    const basic = this.basic();
    if (basic && params.has("client_secret")) return {};
    if (basic) return { id: basic.username, secret: basic.password, by: "basic" };
    return { id: params.get("client_id"), secret: params.get("client_secret"), by: "body" };
  }
}

export const json = (status, body, headers = {}) => ({ status, headers: { "content-type": "application/json", ...headers }, body });
export const page = (status, text) => ({ status, headers: { "content-type": "text/html" }, body: text });
export const plain = (status, text) => ({ status, headers: { "content-type": "text/plain" }, body: text });

/** An id that is always the same for a name: upper-case letters and digits. */
export const idOf = (name, length = 9) => hashOf(name).toString("hex").toUpperCase().slice(0, length);
export const numberOf = (name) => String(hashOf(name).readUIntBE(0, 6) % 9_000_000_000 + 1_000_000_000);
export const uuidOf = (name) => hashOf(name).toString("hex").replace(/^(.{8})(.{4}).(.{3}).(.{3})(.{12}).*$/, "$1-$2-4$3-a$4-$5");
const hashOf = (name) => createHash("sha256").update(name).digest();
