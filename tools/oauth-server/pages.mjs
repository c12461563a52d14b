// Owns the pages of the OAuth server: one form to sign in under any name, one to allow or deny each permission. Has no
// passwords: whoever can open these pages can use any name.

/** Handles `/interaction/{uid}`: GET shows the next form, POST takes its answer. */
export async function interaction(provider, request, response) {
  const details = await provider.interactionDetails(request, response);
  if (request.method !== "POST") return show(response, details);
  const form = new URLSearchParams(await bodyOf(request));
  const result = await answer(provider, details, form);
  // A sign-in starts a new result. A consent is added to the sign-in before it.
  await provider.interactionFinished(request, response, result, { mergeWithLastSubmission: Boolean(result.consent) });
}

async function answer(provider, { prompt, params, session, grantId }, form) {
  if (form.get("action") === "deny") return { error: "access_denied", error_description: "The person denied access." };
  if (prompt.name === "login") return { login: { accountId: form.get("login").trim() || "ada" } };
  const grant = grantId ? await provider.Grant.find(grantId) : new provider.Grant({ accountId: session.accountId, clientId: params.client_id });
  const allowed = form.getAll("scope");
  for (const scope of prompt.details.missingOIDCScope ?? []) {
    if (allowed.includes(scope)) grant.addOIDCScope(scope);
    else grant.rejectOIDCScope(scope);
  }
  return { consent: { grantId: await grant.save() } };
}

function show(response, { prompt, params, session }) {
  const body = prompt.name === "login" ? signIn() : consent(params, session, prompt.details.missingOIDCScope ?? []);
  response.setHeader("content-type", "text/html; charset=utf-8");
  response.setHeader("cache-control", "no-store");
  response.end(page(body));
}

const signIn = () => `<h1>Sign in</h1>
<p>Enter any name. Each name is a separate account.</p>
<form method="post"><label>Name <input name="login" value="ada" required autofocus pattern="[A-Za-z0-9._\\-]+"></label>
<p><button name="action" value="login">Sign in</button> <button name="action" value="deny" formnovalidate>Cancel</button></p></form>`;

const consent = (params, session, scopes) => `<h1>Allow access?</h1>
<p><b>${escape(params.client_id)}</b> requests access to the account <b>${escape(session.accountId)}</b>. Untick the permissions that you do not want to grant.</p>
<form method="post">${scopes.map(checkbox).join("")}
<p><button name="action" value="allow">Allow</button> <button name="action" value="deny">Deny</button></p></form>`;

const checkbox = (scope) => `<p><label><input type="checkbox" name="scope" value="${escape(scope)}" checked> ${escape(scope)}</label></p>`;

const page = (body) => `<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Local OAuth server</title><style>body{font:1rem/1.5 system-ui;max-width:26rem;margin:4rem auto;padding:0 1rem}</style>${body}</html>`;

const escape = (text) => String(text).replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);

async function bodyOf(request) {
  let body = "";
  for await (const chunk of request) body += chunk;
  return body;
}
