// Owns a person's browser at the Worker's pages: keeps cookies, reads the forms of a page, and posts them with the
// origin that a browser sends. Does not follow redirects, so that a test sees every step.

import { completeAuthorization } from "./oauth-browser.mjs";

export class Person {
  cookies = new Map();

  constructor(installation, user = { id: "ada", name: "Ada Lovelace" }, role = "member") {
    this.installation = installation;
    this.user = user;
    this.role = role;
  }

  /** A person who is signed in with a new sign-in link. */
  static async createSignedIn(installation, user, role) {
    const person = new Person(installation, user, role);
    await person.signIn();
    return person;
  }

  get = (path, headers) => this.send(path, { method: "GET", headers });

  /** Posts exactly these `fields`, without reading a page. A field with several values is a list. */
  post = (path, fields = {}, headers) =>
    this.send(path, {
      method: "POST",
      body: new URLSearchParams(toPairs(fields)).toString(),
      headers: { "content-type": "application/x-www-form-urlencoded", origin: this.installation.publicUrl, ...headers },
    });

  /**
   * Opens a page and presses a button: that of the first form, of the form that posts to `to`, or of the form with the
   * button `choice`. Sends the boxes that the page has ticked, without `untick` and with `tick`.
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

  /** Uses a sign-in link: presses the button on its page. */
  async signIn(url) {
    const link = url ?? (await this.installation.requestOk("POST", "/v1/sign-in-links", { user: this.user, role: this.role })).url;
    return this.submit(pathOf(link));
  }

  /**
   * Starts a flow on the page that offers it, and returns the address at the app. `boxes` says what to tick and untick.
   */
  async startFlow(path, boxes) {
    const { status, location, html } = await this.submit(path, {}, boxes);
    if (status !== 303) throw new Error(`${path} did not lead to an app (${status}): ${readText(html)}`);
    return location;
  }

  /** Follows the redirect of the app, and returns where the Worker's callback leads. */
  async followCallback(callback) {
    const { status, location, text } = await this.get(pathOf(callback));
    if (status !== 303) throw new Error(`The callback answered ${status}: ${text}`);
    return location;
  }

  /** Starts a flow, signs in at the app as `login`, allows access, and comes back. Returns the last address. */
  async completeFlow(path, at = {}) {
    return this.followCallback(await completeAuthorization(await this.startFlow(path), at));
  }

  /** Connects an app as a signed-in person. Returns the connection's id. */
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

/** The id of the connection that an address belongs to. */
export function connectionIdFrom(location) {
  const id = /^\/connections\/(con_[\w-]+)/.exec(location)?.[1];
  if (!id) throw new Error(`Connecting led to ${location}`);
  return id;
}

/** The path and query of an address. */
export const pathOf = (url) => url.slice(new URL(url).origin.length);

/** The forms in a page's main part: action, hidden fields, checkboxes, and the values of the buttons. */
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

/** The text that a person reads on a page. */
export const readText = (html) =>
  unescapeHtml(html.replace(/<head>.*?<\/head>/s, "").replace(/<[^>]*>/g, " "))
    .replace(/\s+/g, " ")
    .trim();

const unescapeHtml = (text) =>
  text.replaceAll("&quot;", '"').replaceAll("&#39;", "'").replaceAll("&lt;", "<").replaceAll("&gt;", ">").replaceAll("&amp;", "&");
