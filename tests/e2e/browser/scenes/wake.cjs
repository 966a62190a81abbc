// A visit of a workspace that is stopped. Nobody loads the page again: it does so itself. Arguments: {alice: {url, link |
// email, password}}.
"use strict";
const assert = require("node:assert/strict");
const { terminalIsOpen } = require("../editor.cjs");
const { play } = require("../stage.cjs");

play(async (stage, { alice }) => {
  const person = await stage.person();
  const tab = await person.tab();
  assert.equal((await person.enter(tab, alice)).status(), 503);
  await tab.page.getByRole("heading", { name: "The workspace is being woken" }).waitFor();
  await stage.picture(tab, "waking");
  await terminalIsOpen(tab);
});
