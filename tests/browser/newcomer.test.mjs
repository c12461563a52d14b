// Owns how many clicks the usual things take. A click is a press of a button, a link or something that unfolds; what is typed is
// counted by fields. Clicks at the app itself are not ours. docs/pages.md has the table; the numbers here are its. How long a
// step takes is printed and proves nothing.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { after, test } from "node:test";
import { allow, lastPart, useBrowser } from "../support/browser.mjs";

const DOCS = readFileSync(new URL("../../docs/pages.md", import.meta.url), "utf8");

const site = useBrowser();
const walks = [];

/** Somebody who is counted. */
async function startWalk(task, { page }) {
  const walk = { task, clicks: 0, fields: 0, start: Date.now() };
  walks.push(walk);
  const one = (locator) => locator.first();
  return {
    click: async (locator) => ((walk.clicks += 1), one(locator).click()),
    type: async (locator, text) => ((walk.fields += 1), one(locator).fill(text)),
    link: (name) => page.getByRole("link", { name }),
    button: (name) => page.getByRole("button", { name }),
    end: () => {
      walk.seconds = (Date.now() - walk.start) / 1000;
      assert.ok(DOCS.includes(`| ${task} | ${walk.clicks} | ${walk.fields || ""} |`.replace("|  |", "| |")), `docs/pages.md does not say that "${task}" takes ${walk.clicks} clicks and ${walk.fields} fields`);
    },
  };
}

after(() => {
  for (const { task, clicks, fields, seconds } of walks) console.log(`${task}: ${clicks} clicks, ${fields} fields, ${seconds?.toFixed(1)} s`);
});

test("the first connection", async () => {
  const person = await site.newPerson({ id: "newcomer" });
  const { click, button, link, end } = await startWalk("connect an app for the first time", person);
  await click(link("Connect an app"));
  await click(link(/^Acme/));
  await click(button("Continue to Acme"));
  await allow(person.page, "newcomer");
  await person.page.getByText("Connected as newcomer@example.test.").waitFor();
  end();
});

test("the repair of a broken connection", async () => {
  const person = await site.newPerson({ id: "newcomer" });
  const [{ id }] = (await site.installation.requestOk("GET", "/v1/connections?user=newcomer")).data;
  await site.installation.run("UPDATE connections SET status = 'needs_reconnect', reconnect_reason = 'revoked' WHERE id = ?1", id);
  await person.open("/");
  const { click, button, link, end } = await startWalk("repair a broken connection", person);
  await click(link(/^Reconnect/));
  await click(button("Continue to Acme"));
  await allow(person.page, "newcomer");
  await person.page.getByText("Connected as newcomer@example.test.").waitFor();
  assert.equal(lastPart(person.page), id, "the id stays, so that no workflow changes");
  end();
});

test("who uses a connection", async () => {
  const [{ id, name }] = (await site.installation.requestOk("GET", "/v1/connections?user=newcomer")).data;
  await site.installation.resolve(id, { workflow: "Invoices", step: "Send" });
  const person = await site.newPerson({ id: "newcomer" });
  const { click, link, end } = await startWalk("find out who uses a connection", person);
  await click(link(name));
  const uses = person.page.getByRole("region", { name: /^Used by/ });
  await uses.getByRole("rowheader", { name: "Invoices" }).waitFor();
  end();
});

test("Slack's OAuth client", async () => {
  const { outbound } = site.installation;
  outbound.answer = ({ url }) => (/slack\.com/.test(url) ? Response.json({ ok: false, error: "invalid_code" }) : undefined);
  const person = await site.newPerson({ id: "admin", role: "admin" });
  const { page } = person;
  const { click, type, button, link, end } = await startWalk("set up Slack's OAuth client, and test it", person);
  await click(link("Settings"));
  await click(page.locator("main").getByRole("link", { name: /^Slack/ }));
  await type(page.getByLabel("Client id"), "24817563.0001");
  await type(page.getByLabel("Client secret"), "0123456789abcdef0123456789abcdef");
  await click(button("Save the client"));
  await click(button("Test it"));
  await page.getByText("Slack accepts this client").waitFor();
  outbound.answer = undefined;
  end();
});

test("an invitation", async () => {
  const person = await site.newPerson({ id: "admin", role: "admin" });
  const { page } = person;
  const { click, type, button, link, end } = await startWalk("invite a colleague", person);
  await click(link("Settings"));
  await click(link("People"));
  await click(page.locator("summary", { hasText: "Invite somebody" }));
  await type(page.getByLabel("E-mail address or user id"), "grace@example.test");
  await click(button("Create the sign-in link"));
  await page.getByRole("heading", { name: /^Sign-in link for/ }).waitFor();
  const url = await page.locator("#link-text").innerText();
  const invited = await site.newVisitor();
  await invited.page.goto(url);
  await invited.page.getByRole("button", { name: /sign in/i }).click();
  await invited.page.getByRole("heading", { name: "Connections", level: 1 }).waitFor();
  end();
});

test("a resolve", async () => {
  const person = await site.newPerson({ id: "newcomer" });
  const [{ name }] = (await site.installation.requestOk("GET", "/v1/connections?user=newcomer")).data;
  const { click, button, link, end } = await startWalk("see what a workflow step gets", person);
  await click(link(name));
  await click(link("Try it"));
  await click(button("Run it"));
  await person.page.getByRole("heading", { name: /^Answer/ }).waitFor();
  end();
});
