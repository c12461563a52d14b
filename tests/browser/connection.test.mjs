// Owns the life of a connection on its page in Chromium, with and without scripts, by keyboard alone: what a person does with it
// from the consent to the end, and what the API says afterwards.

import assert from "node:assert/strict";
import { before, suite, test } from "node:test";
import { lastPart, pressByKeyboard, tabTo, typeByKeyboard, useBrowser } from "../support/browser.mjs";

const site = useBrowser();
const get = (id) => site.installation.requestOk("GET", `/v1/connections/${id}`);

for (const javaScriptEnabled of [true, false]) {
  suite(javaScriptEnabled ? "with scripts" : "without scripts", () => {
    const account = javaScriptEnabled ? "ada" : "grace";
    let person, page, id;

    const button = (name) => page.getByRole("button", { name }).last();
    const link = (name) => page.getByRole("link", { name }).first();
    const press = (locator, key) => pressByKeyboard(page, locator, key);
    /** The sentence at the top, which has the focus, so that a screen reader reads it and the keyboard goes on from there. */
    const expectNotice = async (text) => {
      await page.locator("#notice", { hasText: text }).waitFor();
      assert.equal(await page.evaluate(() => document.activeElement.id), "notice", "the focus is on what has changed");
    };
    /** At the local OAuth server, without a permission. */
    const consent = async (login, withheld) => {
      await typeByKeyboard(page, page.locator("input[name=login]"), login);
      await page.keyboard.press("Enter");
      // The server asks whoever was another account before to go on, by a script or by a button.
      await page.getByRole("button", { name: /^(Allow|Continue)$/ }).waitFor();
      if (!javaScriptEnabled && (await button("Continue").count()) > 0) await press(button("Continue"));
      if (withheld) await press(page.getByRole("checkbox", { name: withheld }), "Space");
      await press(page.getByRole("button", { name: "Allow" }));
    };
    const openMenu = async () => {
      await press(page.locator("main details.menu > summary").first());
    };

    before(async () => {
      person = await site.newPerson({ id: account, javaScriptEnabled });
      page = person.page;
    });

    test("a person connects, and one permission is missing", async () => {
      await press(link("Connect an app"));
      await press(link(/^Acme/));
      await press(button("Continue to Acme"));
      await consent(account, "profile");
      await expectNotice(`Connected as ${account}@example.test.`);
      id = lastPart(page);
      await page.getByRole("heading", { name: "Missing permissions" }).waitFor();
      assert.deepEqual((await get(id)).scopes.missing, ["profile"]);
    });

    test("gives it a name, and keeps the old one where the new one is refused", async () => {
      await press(page.locator("main summary", { hasText: "Rename" }));
      await typeByKeyboard(page, page.getByLabel("Name of this connection"), "Quarterly figures");
      await page.keyboard.press("Enter");
      await expectNotice("Name saved.");
      await page.getByRole("heading", { level: 1, name: "Quarterly figures" }).waitFor();
      await press(page.locator("main summary", { hasText: "Rename" }));
      await typeByKeyboard(page, page.getByLabel("Name of this connection"), "\u200b");
      await page.keyboard.press("Enter");
      await page.getByText("Enter a name of up to 100 characters").first().waitFor();
      assert.match(await page.title(), /^Not accepted/);
      await person.open(`/connections/${id}`);
      assert.equal((await get(id)).name, "Quarterly figures");
    });

    test("checks it, and a second check at once asks nobody", async () => {
      const requests = () => site.installation.oauth.requests.userinfo ?? 0;
      const before = requests();
      await press(button("Check now"));
      await page.locator("#notice").waitFor();
      assert.match(await page.locator("#notice").innerText(), /works/);
      await press(button("Check now"));
      await expectNotice(/less than a minute ago/);
      assert.ok(requests() - before <= 1, `${requests() - before}`);
    });

    test("asks for the missing permission, and the connection keeps its id and its name", async () => {
      await press(link("Ask for the missing permissions"));
      await press(button("Continue to Acme"));
      await consent(account);
      await expectNotice(`Connected as ${account}@example.test.`);
      assert.equal(lastPart(page), id);
      assert.equal(await page.getByRole("heading", { name: "Missing permissions" }).count(), 0);
      const now = await get(id);
      assert.deepEqual([now.scopes.missing, now.name], [[], "Quarterly figures"]);
    });

    test("lets another connection answer for it, and ends that", async () => {
      await person.open("/connect");
      await press(link(/^Acme/));
      await press(button("Continue to Acme"));
      await consent(`${account}-two`);
      await expectNotice(`Connected as ${account}-two@example.test.`);
      const other = lastPart(page);
      await person.open(`/connections/${id}`);
      await openMenu();
      await press(link("Replace…"));
      await tabTo(page, page.getByLabel("Connection that answers instead"));
      await press(button("Let it answer instead"));
      await expectNotice("Replaced.");
      const asked = await site.installation.resolve(id, { workflow: "Month end", step: "Read" });
      assert.equal(asked.body.connection.id, other);
      await press(button("Use this connection again"));
      await expectNotice("Workflows that name this connection get it again.");
      assert.equal((await site.installation.resolve(id, { workflow: "Month end", step: "Read" })).body.connection.id, id);
    });

    test("sees who uses it", async () => {
      await person.open(`/connections/${id}`);
      const uses = page.getByRole("region", { name: /^Used by/ });
      await uses.getByRole("rowheader", { name: "Month end" }).waitFor();
      await press(uses.getByRole("link", { name: "Month end" }));
      await page.getByRole("heading", { level: 1, name: /Month end/ }).waitFor();
    });

    test("disconnects it after seeing what stops, and undoes it", async () => {
      await person.open(`/connections/${id}`);
      await openMenu();
      await press(link("Disconnect…"));
      await page.getByRole("listitem").filter({ hasText: "Month end" }).waitFor();
      await press(button("Disconnect now"));
      await expectNotice("Quarterly figures is disconnected.");
      assert.equal((await site.installation.resolve(id)).status, 404);
      await press(page.locator("#notice").getByRole("button", { name: "Undo" }));
      await expectNotice("It is connected again.");
      assert.equal((await site.installation.resolve(id)).status, 200);
      assert.equal(lastPart(page), id);
    });

    test("disconnects it for good, and the app knows it at once", async () => {
      const { body } = await site.installation.resolve(id);
      await openMenu();
      await press(link("Disconnect…"));
      await press(button("Disconnect now"));
      await press(page.locator("#notice").getByRole("button", { name: "Revoke now" }));
      await expectNotice("The app confirmed that the access is revoked.");
      assert.equal((await site.installation.requestApi("GET", `/v1/connections/${id}`)).status, 404);
      const asked = await fetch(`${site.installation.oauth.issuer}/me`, { headers: body.request.headers });
      assert.equal(asked.status, 401);
      assert.deepEqual(person.complaints, []);
    });
  });
}
