// A workspace whose editor is a terminal. Arguments: {alice: {url, link | email, password}}.
"use strict";
const assert = require("node:assert/strict");
const { inShell, terminalIsOpen } = require("../editor.cjs");
const { play } = require("../stage.cjs");

play(async (stage, { alice }) => {
  const person = await stage.person();
  const tab = await person.tab();
  assert.equal((await person.enter(tab, alice)).status(), 200);
  await terminalIsOpen(tab);
  await inShell(tab, "cat README.md; git --no-pager log --oneline; echo $((6 * 7)) by socket", "42 by socket");
  await stage.picture(tab, "terminal");
});
