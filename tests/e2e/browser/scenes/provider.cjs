// Somebody signs in at the identity provider and signs out there. Arguments: {alice, bob: {url, email, password}}, one
// workspace of Alice's.
"use strict";
const assert = require("node:assert/strict");
const { terminalIsOpen } = require("../editor.cjs");
const { play } = require("../stage.cjs");

const asksWho = (tab) => tab.page.getByLabel("Password").waitFor();

play(async (stage, { alice, bob }) => {
  const person = await stage.person();
  const tab = await person.tab();
  await tab.page.goto(alice.url);
  await tab.page.getByLabel("E-mail address").fill(alice.email);
  await tab.page.getByLabel("Password").fill("a guess");
  await tab.page.getByRole("button", { name: "Sign in" }).click();
  await tab.page.getByRole("alert").waitFor();
  assert.ok(!(await person.cookies(alice.url)).includes("__Host-wsd"));

  assert.equal((await person.enter(tab, alice)).status(), 200);
  assert.equal(tab.page.url(), alice.url);
  await terminalIsOpen(tab);

  // Whose it is not sees what they would see if it were not there.
  const other = await stage.person();
  const others = await other.tab();
  assert.equal((await other.enter(others, bob)).status(), 404);

  // Signing out of Workstead signs out at the provider too.
  const last = await person.tab();
  await last.page.goto(`${tab.authHost}/.workstead-proxy/sign-out`);
  await last.page.getByRole("button", { name: "Sign out in this browser" }).click();
  await tab.isCut();
  await last.page.getByRole("button", { name: "Sign out", exact: true }).click();
  await last.page.getByRole("heading", { name: "You are signed out" }).waitFor();
  assert.ok(last.page.url().startsWith(tab.authHost));
  await tab.page.goto(alice.url);
  await asksWho(tab);

  // And signing out at the provider alone signs out of Workstead (back-channel logout).
  assert.equal((await person.enter(tab, alice)).status(), 200);
  await terminalIsOpen(tab);
  await last.page.goto(new URL("/session/end", tab.provider).href);
  await last.page.getByRole("button", { name: "Sign out", exact: true }).click();
  await last.page.getByRole("heading", { name: "Signed out" }).waitFor();
  await tab.isCut();
  assert.equal(await tab.status("/"), 401);
});
