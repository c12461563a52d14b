// Owns a minimal app that can be told to misbehave. It accepts any code as the code of the account with that name, and
// can return no refresh token, return errors, or not answer. For correct behaviour, use the real OAuth server.

import { once } from "node:events";
import { createServer } from "node:http";
import { CLIENT_ID } from "./installation.mjs";
import { connectionIdFrom } from "./person.mjs";

/** Starts the app: `{ definition, requests, down, close }`. While `down` is set it answers 500 to everything. */
export async function startMinimalApp({ refreshTokens = false, expiresIn = 3600 } = {}) {
  const app = { requests: {}, down: false };
  let issued = 0;
  const server = createServer(async (request, response) => {
    const path = request.url.split("?")[0];
    app.requests[path] = (app.requests[path] ?? 0) + 1;
    let body = "";
    for await (const chunk of request) body += chunk;
    const answer = (status, json) => response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(json));
    if (app.down) return answer(500, { message: "out of order" });
    const sent = new URLSearchParams(body);
    const account = sent.get("code") ?? accountOf(sent.get("refresh_token") ?? request.headers.authorization);
    if (path === "/me") return answer(200, { id: account, name: account });
    const token = () => `${Buffer.from(account).toString("base64url")}.${(issued += 1)}`;
    answer(200, { access_token: token(), token_type: "Bearer", expires_in: expiresIn, ...(refreshTokens && { refresh_token: token() }) });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const origin = `http://localhost:${server.address().port}`;
  app.definition = {
    id: "small",
    name: "Small",
    auth: { type: "oauth2", authorize_url: `${origin}/authorize`, token_url: `${origin}/token`, rotation: "strict" },
    scopes: ["read"],
    identity: { url: `${origin}/me`, id: "/id", label: "/name" },
  };
  app.close = () => {
    server.closeAllConnections();
    server.close();
  };
  return app;
}

/** A token begins with the name of its account. */
const accountOf = (token) => Buffer.from(/[\w-]+(?=\.\d+$)/.exec(token)[0], "base64url").toString();

/** Defines the app in the installation's workspace, with a client. */
export async function defineMinimalApp(installation, { definition }) {
  await installation.requestOk("POST", "/v1/apps", definition);
  await installation.requestOk("PUT", `/v1/apps/${definition.id}/client`, { client_id: CLIENT_ID, client_secret: "a-small-secret" });
}

/** Connects an account, without opening the app's page: the app would redirect back at once. */
export async function connectMinimalApp(person, account, app = "small") {
  const asked = new URL(await person.startFlow(`/oauth/start/${app}`)).searchParams;
  const back = new URL(asked.get("redirect_uri"));
  back.search = new URLSearchParams({ code: account, state: asked.get("state") });
  return connectionIdFrom(await person.followCallback(back.href));
}
