// Owns a person's browser in front of the Worker's pages: keeps cookies, reads forms as they stand on the page, and
// posts them with the origin a browser would send. Follows nothing by itself, so that a test sees every step.

import { completeAuthorization } from "./oauth-browser.mjs";
import { PUBLIC_URL } from "./installation.mjs";

export class Person {
  cookies = new Map();

  constructor(installation, user = { id: "ada", name: "Ada Lovelace" }, role = "member") {
    this.installation = installation;
    this.user = user;
    this.role = role;
  }

  /** A person who is signed in by a fresh link. */
  static async createSignedIn(installation, user, role) {
    const person = new Person(installation, user, role);
    await person.signIn();
    return person;
  }

  get = (path, headers) => this.send(path, { method: "GET", headers });

  /** Posts a form by hand: what stands in `fields` and nothing else. A field with several values has a list. */
  post = (path, fields = {}, headers) =>
    this.send(path, {
      method: "POST",
      body: new URLSearchParams(toPairs(fields)).toString(),
      headers: { "content-type": "application/x-www-form-urlencoded", origin: PUBLIC_URL, ...headers },
    });

  /**
   * Opens a page and presses a button there: the first form, or the one that posts to `to` or has the button `choice`. What
   * the page has ticked is sent, but `untick`, and `tick` beside it.
   */
  async submit(path, fields = {}, { to, tick = [], untick = [] } = {}) {
    const page = await this.get(path);
    const forms = parseForms(page.html);
    const form = forms.find((one) => (to ? one.action.startsWith(to) : fields.choice ? one.buttons.includes(fields.choice) : true));
    if (!form) throw new Error(`${path} answered ${page.status} without such a form:\n${readText(page.html)}`);
    const absent = tick.filter((one) => !form.boxes.some(({ value, disabled }) => value === one && !disabled));
    if (absent.length > 0) throw new Error(`${path} has no box to tick for ${absent.join(" ")}`);
    const sent = form.boxes.filter(({ value, checked, disabled }) => !disabled && (tick.includes(value) || (checked && !untick.includes(value))));
    const ticked = {};
    for (const { name, value } of sent) (ticked[name] ??= []).push(value);
    return this.post(form.action, { ...form.hidden, ...ticked, ...fields });
  }

  /** Uses a sign-in link: the button on its page. */
  async signIn(url) {
    const link = url ?? (await this.installation.requestOk("POST", "/v1/sign-in-links", { user: this.user, role: this.role })).url;
    return this.submit(pathOf(link));
  }

  /** Goes to the app from the page that offers it: the address at the app. `boxes` are ticked and unticked there. */
  async startFlow(path, boxes) {
    const { status, location, html } = await this.submit(path, {}, boxes);
    if (status !== 303) throw new Error(`${path} did not lead to an app (${status}): ${readText(html)}`);
    return location;
  }

  /** Comes back from the app: where the Worker's callback leads. */
  async followCallback(callback) {
    const { status, location, text } = await this.get(pathOf(callback));
    if (status !== 303) throw new Error(`The callback answered ${status}: ${text}`);
    return location;
  }

  /** Goes to the app from a page, signs in there as `login`, allows, and comes back: the clean address at the end. */
  async completeFlow(path, at = {}) {
    return this.followCallback(await completeAuthorization(await this.startFlow(path), at));
  }

  /** Connects an app as a signed-in person: the connection's id. */
  async connect(app = "acme", at = {}) {
    return connectionIdFrom(await this.completeFlow(`/oauth/start/${app}`, at));
  }

  async send(path, { headers, ...init }) {
    const cookie = [...this.cookies].map(([name, value]) => `${name}=${value}`).join("; ");
    const {
      status,
      headers: answered,
      text,
    } = await this.installation.request(path, { ...init, headers: { ...(cookie && { cookie }), ...headers } });
    for (const line of answered.getSetCookie()) this.storeCookie(line);
    return { status, headers: answered, location: answered.get("location"), html: text, text: readText(text) };
  }

  storeCookie(line) {
    const [, name, value] = /^([^=]+)=([^;]*)/.exec(line);
    if (value === "" || /max-age=0\b/i.test(line)) this.cookies.delete(name);
    else this.cookies.set(name, value);
  }
}

/** The connection whose page an address is. */
export function connectionIdFrom(location) {
  const id = /^\/connections\/(con_[\w-]+)/.exec(location)?.[1];
  if (!id) throw new Error(`Connecting led to ${location}`);
  return id;
}

/** An address of ours without its origin. */
export const pathOf = (url) => url.slice(new URL(url).origin.length);

/** The forms of a page's main part: where each posts, its hidden fields, its boxes to tick, the values of its buttons. */
export function parseForms(html) {
  const main = html.slice(html.indexOf("<main"));
  return [...main.matchAll(/<form[^>]*action="([^"]*)"[^>]*>(.*?)<\/form>/gs)].map(([, action, inside]) => ({
    action: unescapeHtml(action),
    hidden: Object.fromEntries(
      [...inside.matchAll(/<input type="hidden" name="([^"]*)" value="([^"]*)"/g)].map(([, name, value]) => [name, unescapeHtml(value)]),
    ),
    boxes: [...inside.matchAll(/<input type="checkbox" name="([^"]*)" value="([^"]*)"([^>]*)>/g)].map(([, name, value, rest]) => ({
      name,
      value: unescapeHtml(value),
      checked: /\schecked\b/.test(rest),
      disabled: /\sdisabled\b/.test(rest),
    })),
    buttons: [...inside.matchAll(/<button[^>]*value="([^"]*)"/g)].map(([, value]) => unescapeHtml(value)),
  }));
}

/** Fields as a form sends them: one pair for each value. */
const toPairs = (fields) => Object.entries(fields).flatMap(([name, values]) => [values].flat().map((value) => [name, value]));

/** What a person reads on a page. */
export const readText = (html) =>
  unescapeHtml(html.replace(/<head>.*?<\/head>/s, "").replace(/<[^>]*>/g, " "))
    .replace(/\s+/g, " ")
    .trim();

const unescapeHtml = (text) =>
  text.replaceAll("&quot;", '"').replaceAll("&#39;", "'").replaceAll("&lt;", "<").replaceAll("&gt;", ">").replaceAll("&amp;", "&");
