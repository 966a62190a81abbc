// Somebody shares a workspace with a colleague, and takes it back. Arguments: {alice, bob: {url, link | email, password}}, one
// workspace of two people.
"use strict";
const assert = require("node:assert/strict");
const { terminalIsOpen } = require("../editor.cjs");
const { play, waitUntil } = require("../stage.cjs");

play(async (stage, { alice, bob }) => {
  const [owner, colleague] = [await stage.person(), await stage.person()];
  const [own, theirs] = [await owner.tab(), await colleague.tab()];
  assert.equal((await owner.enter(own, alice)).status(), 200);
  await terminalIsOpen(own);
  assert.equal((await colleague.enter(theirs, bob)).status(), 404);

  await stage.reach("to be shared");
  await waitUntil("the share", async () => (await theirs.page.goto(bob.url)).status() === 200);
  await terminalIsOpen(theirs);

  await stage.reach("to be taken back");
  await theirs.isCut();
  assert.equal(await theirs.status("/"), 404);
  assert.equal(own.live.size, 1, "the owner's own terminal stays open");
});
