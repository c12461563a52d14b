// Owns the browser and the person at the local OAuth server: follows redirects one by one, keeps cookies, and fills in
// the sign-in and consent forms. Does not follow the last redirect, back to the Worker: the test sends that request
// itself.

/** Signs in as `login`, allows everything except `withhold`, and returns the callback URL with its `code`. */
export const completeAuthorization = (authorizeUrl, { login = "ada", withhold = [] } = {}) =>
  followRedirects(authorizeUrl, (form) => (form.has("login") ? signIn(login) : allow(form.getAll("scope").filter((scope) => !withhold.includes(scope)))));

/** Signs in as `login`, denies at the consent form, and returns the callback URL with its `error`. */
export const denyAuthorization = (authorizeUrl, { login = "ada" } = {}) =>
  followRedirects(authorizeUrl, (form) => (form.has("login") ? signIn(login) : new URLSearchParams({ action: "deny" })));

const signIn = (login) => new URLSearchParams({ action: "login", login });
const allow = (scopes) => new URLSearchParams([["action", "allow"], ...scopes.map((scope) => ["scope", scope])]);

/**
 * Follows redirects within one origin, fills in each form with `fill(fields)`, and returns the first address at another
 * origin.
 */
export async function followRedirects(authorizeUrl, fill) {
  const browser = new Browser();
  const { origin } = new URL(authorizeUrl);
  let url = authorizeUrl;
  let body;
  for (let step = 0; step < 20; step += 1) {
    const response = await browser.request(url, body);
    body = undefined;
    const location = response.headers.get("location");
    if (location) {
      url = new URL(location, url).href;
      if (new URL(url).origin !== origin) return url;
    } else {
      const page = await response.text();
      if (!page.includes("<form")) throw new Error(`The OAuth server answered ${response.status}: ${page.slice(0, 300)}`);
      body = fill(parseFields(page));
    }
  }
  throw new Error(`The OAuth server sent us round in circles; the last address was ${url}`);
}

/** The named inputs of the page's form, with their values. */
function parseFields(page) {
  const fields = new URLSearchParams();
  for (const [input] of page.matchAll(/<input[^>]*>/g)) fields.append(/name="([^"]*)"/.exec(input)?.[1] ?? "", /value="([^"]*)"/.exec(input)?.[1] ?? "");
  return fields;
}

/**
 * Sends one request at a time, with cookies. Respects the path of a cookie, because the server sets one per
 * interaction.
 */
class Browser {
  cookies = new Map();

  async request(url, body) {
    const { pathname } = new URL(url);
    const cookie = [...this.cookies.values()].filter(({ path }) => pathname.startsWith(path)).map(({ pair }) => pair).join("; ");
    const response = await fetch(url, { method: body ? "POST" : "GET", body, headers: { cookie }, redirect: "manual" });
    response.headers.getSetCookie().forEach((line) => this.storeCookie(line));
    return response;
  }

  storeCookie(line) {
    const [pair, ...attributes] = line.split(/;\s*/);
    const name = pair.slice(0, pair.indexOf("="));
    const path = attributes.find((attribute) => /^path=/i.test(attribute))?.slice(5) ?? "/";
    const gone = pair === `${name}=` || attributes.some((attribute) => /^expires=thu, 01 jan 1970/i.test(attribute));
    if (gone) this.cookies.delete(`${name} ${path}`);
    else this.cookies.set(`${name} ${path}`, { pair, path });
  }
}
