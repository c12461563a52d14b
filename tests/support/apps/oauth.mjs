// Owns what all simulated apps have in common: who is at the app and what they allow, clients, codes and tokens with their
// ends, a clock of their own, and the hooks by which a test looks on and interferes. An app checks what it is sent as its
// documentation says and never leniently; how it words a refusal is its own. Refuses to sleep: time is only advanced.

import { createHash, randomBytes } from "node:crypto";

/** Seconds a code lives where the documentation says nothing else. */
const CODE_LIFE = 600;

export class App {
  /** Registered OAuth clients by id; `register` adds one. */
  clients = new Map();
  /** Accounts by the name that `person.account` says. Any name works; put one here to say what it is like. */
  accounts = new Map();
  /** Who sits at the app when somebody is sent there, what they untick, and whether they refuse. */
  person = { account: "ada", untick: [], deny: false };
  /** What was asked, without secrets: `{ method, path, status, error? }`. */
  requests = [];
  /** What people were sent here with: the parameters of the authorize address, without `state` and `code_challenge`. */
  visits = [];
  /** Requests at token endpoints, by grant type. */
  tokenRequests = {};
  tokens = new Map();
  codes = new Map();
  grants = new Map();
  #secrets = [];
  #failures = [];
  #ahead = 0;
  /** The app's clock, in seconds. Signed assertions are judged by the real time: whoever signs them knows no other. */
  clock = { now: () => Date.now() / 1000 + this.#ahead, advance: (seconds) => (this.#ahead += seconds) };

  constructor(origin) {
    this.origin = origin;
  }

  /** Registers a client, or changes it. `redirect_uris` are compared byte for byte; further fields are the app's. */
  register(id, fields) {
    if (fields.secret) this.remember("client", fields.secret);
    const client = { redirect_uris: [], ...this.clients.get(id), ...fields, id };
    this.clients.set(id, client);
    return client;
  }

  /** The account of a name: what the app makes of it, and what a test put into `accounts` over that. */
  account(name = this.person.account) {
    return { name, ...this.newAccount(name), ...this.accounts.get(name) };
  }

  /** Everything secret that was ever issued or registered, or only of a kind: `client`, `code`, `access`, `refresh`, `key`, `id`. */
  secrets = (kind) => this.#secrets.filter((one) => !kind || one.kind === kind).map(({ value }) => value);

  /**
   * Lets a request fail: the next one, or the next whose path contains `at`. Without a `status` the connection breaks off. With
   * `afterwards` the request is carried out first and only its answer is lost.
   */
  failNext(failure = {}) {
    this.#failures.push(failure);
  }

  /** Every access token ends now, as by its age. */
  expireAccess() {
    for (const token of this.tokens.values()) if (token.kind === "access") token.ends = this.clock.now();
  }

  /** The person takes the access back at the app. */
  revoke(account) {
    for (const grant of this.grants.values()) if (grant.account === account) this.end(grant);
  }

  /** A grant ends with all its tokens; the next consent begins another. */
  end(grant) {
    grant.ended = true;
    this.grants.delete(grant.key);
  }

  /** Everything that comes in; `serve` of the app answers it. */
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

  /** A secret that nobody can guess, remembered. */
  createSecret(kind, prefix = "", length = 32) {
    return this.remember(kind, prefix + randomBytes(length).toString("base64url").replaceAll(/[-_]/g, "x").slice(0, length));
  }

  remember(kind, value) {
    this.#secrets.push({ kind, value });
    return value;
  }

  // ---- codes

  /** Sends the person back with a code and `more`, or with their refusal and `denied`. Other fields are kept with the code. */
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

  /** What keeps an authorize request from leading back: an unknown client, a redirect URI or a challenge that won't do. */
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
   * Takes a code, once: `{ code }`, or `{ fault, code? }` with a fault `unknown`, `used`, `expired`, `client`, `redirect_uri` or
   * `pkce`. With `redirectOptional` the redirect URI is only compared where one was sent.
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

  /** The scopes of a list that the person leaves ticked. */
  keepTicked = (scopes) => scopes.filter((scope) => !this.person.untick.includes(scope));

  // ---- grants and tokens

  /** The living grant under a key, or a new one with these fields. */
  findOrCreateGrant(key, fields) {
    if (!this.grants.has(key)) this.grants.set(key, { key, scopes: new Set(), ended: false, ...fields });
    return this.grants.get(key);
  }

  /** Issues a token of a grant; `life` in seconds. */
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

  /** The living tokens of a grant, the oldest first. */
  listLiveTokens = (kind, grant) => [...this.tokens.values()].filter((token) => token.grant === grant && this.live(kind, token.value));

  count(grantType = "none") {
    this.tokenRequests[grantType] = (this.tokenRequests[grantType] ?? 0) + 1;
  }
}

const failed = ({ status, body, headers = {} }) => ({ status, headers, body: body ?? "", broken: status === undefined });

/** A request as apps look at it. `where` is host and path. */
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

  /** The body's parameters; undefined when it is not of this type. */
  form = () => (this.type === "application/x-www-form-urlencoded" ? new URLSearchParams(this.text) : undefined);

  /** The same of a JSON object of texts. */
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

  /** User name and password of `Authorization: Basic`, as they stand there. */
  basic() {
    const encoded = /^basic (.+)$/i.exec(this.headers.authorization ?? "")?.[1];
    if (!encoded) return undefined;
    const [, username, password] = /^([^:]*):?(.*)$/s.exec(Buffer.from(encoded, "base64").toString());
    return { username, password };
  }

  /** Id and secret of the client: from Basic, else from the body. Both at once are none (RFC 6749 2.3). */
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

/** An id that belongs to a name for good: upper-case letters and digits. */
export const idOf = (name, length = 9) => hashOf(name).toString("hex").toUpperCase().slice(0, length);
export const numberOf = (name) => String(hashOf(name).readUIntBE(0, 6) % 9_000_000_000 + 1_000_000_000);
export const uuidOf = (name) => hashOf(name).toString("hex").replace(/^(.{8})(.{4}).(.{3}).(.{3})(.{12}).*$/, "$1-$2-4$3-a$4-$5");
const hashOf = (name) => createHash("sha256").update(name).digest();
