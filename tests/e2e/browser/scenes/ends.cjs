// How a session ends while somebody works: it runs out, an administrator ends it, its owner does. Arguments: {alice, again,
// phone: {url, link}}.
"use strict";
const assert = require("node:assert/strict");
const { terminalIsOpen } = require("../editor.cjs");
const { play } = require("../stage.cjs");

async function opens(person, way) {
  const tab = await person.tab();
  assert.equal((await person.enter(tab, way)).status(), 200);
  await terminalIsOpen(tab);
  return tab;
}

play(async (stage, { alice, again, phone }) => {
  const person = await stage.person();
  const tab = await opens(person, alice);

  // It runs out: scripts of the page are told so and led nowhere; the window itself is signed in anew, and asks for nothing.
  await person.context.clearCookies({ name: "__Host-wsd" });
  assert.equal(await tab.status("/"), 401);
  assert.equal((await tab.page.reload()).status(), 200);
  await terminalIsOpen(tab);

  await stage.reach("to be revoked");
  await tab.isCut();
  assert.equal(await tab.status("/"), 401);
  assert.equal((await tab.page.goto(alice.url)).status(), 401);

  // Who signs in within the second of the revocation is still meant by it.
  await tab.page.waitForTimeout(1_100);
  const first = await opens(person, again);
  const second = await person.tab();
  await second.page.goto(alice.url);
  await terminalIsOpen(second);
  const elsewhere = await opens(await stage.person(), phone);

  await tab.page.goto(`${first.authHost}/.workstead-proxy/sign-out`);
  await tab.page.getByRole("button", { name: "Sign out everywhere" }).click();
  await Promise.all([first, second, elsewhere].map((one) => one.isCut()));
  for (const one of [first, second, elsewhere]) {
    assert.equal(await one.status("/"), 401);
    assert.equal((await one.page.goto(alice.url)).status(), 401);
  }
});
