// Owns the simulated apps as one server on this machine. The first part of the path is the app's own host:
// http://localhost:PORT/slack.com/api/auth.test is https://slack.com/api/auth.test. Refuses unknown hosts.

import { once } from "node:events";
import { createServer } from "node:http";
import { Dropbox } from "./dropbox.mjs";
import { Google } from "./google.mjs";
import { Microsoft } from "./microsoft.mjs";
import { Notion } from "./notion.mjs";
import { Request } from "./oauth.mjs";
import { Slack } from "./slack.mjs";
import { Stripe } from "./stripe.mjs";
import { Telegram } from "./telegram.mjs";

const APPS = { slack: Slack, google: Google, notion: Notion, stripe: Stripe, microsoft: Microsoft, dropbox: Dropbox, telegram: Telegram };

/** Starts all simulated apps: `{ origin, slack, google, notion, stripe, microsoft, dropbox, telegram, close }`. */
export async function startApps() {
  const apps = {};
  const serve = async (incoming, outgoing) => {
    const { method, url, headers } = incoming;
    const chunks = [];
    for await (const chunk of incoming) chunks.push(chunk);
    const request = new Request({ method, url, headers, text: Buffer.concat(chunks).toString() });
    const app = Object.values(apps).find(({ hosts }) => hosts.includes(request.host));
    if (!app) return outgoing.writeHead(502).end(`There is no ${request.host} here.`);
    const answer = await app.handle(request);
    if (answer.broken) return incoming.socket.destroy();
    const body = typeof answer.body === "string" ? answer.body : JSON.stringify(answer.body);
    const type = typeof answer.body === "string" ? {} : { "content-type": "application/json" };
    outgoing.writeHead(answer.status, { ...type, ...answer.headers }).end(body);
  };
  // An error in a simulator must be visible. Without this the request would hang.
  const server = createServer((incoming, outgoing) => serve(incoming, outgoing).catch((error) => outgoing.writeHead(599).end(error.stack)));
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const origin = `http://localhost:${server.address().port}`;
  for (const [name, Simulated] of Object.entries(APPS)) apps[name] = new Simulated(origin);
  return {
    origin,
    ...apps,
    close() {
      server.closeAllConnections();
      server.close();
    },
  };
}

/** Parts of a definition with addresses that are for reading and are never called. */
const FOR_READING = new Set(["docs", "sources", "client_help", "approval", "fields"]);
const isAddress = (field) => field === "url" || field === "issuer" || field.endsWith("_url");

/**
 * A catalogue definition that points to the simulated apps: another id and name (those of the catalogue are reserved),
 * its own client, and every address moved.
 */
export function relocateDefinition({ client_family: _, ...definition }, origin) {
  const moved = (value, field) => {
    if (FOR_READING.has(field)) return value;
    if (typeof value === "string") return isAddress(field) ? value.replace(/^https:\/\//, `${origin}/`) : value;
    if (Array.isArray(value)) return value.map((item) => moved(item, field));
    if (value === null || typeof value !== "object") return value;
    return Object.fromEntries(Object.entries(value).map(([name, item]) => [name, moved(item, name)]));
  };
  return { ...moved(definition, ""), id: `sim-${definition.id}`, name: `${definition.name} simulated` };
}
