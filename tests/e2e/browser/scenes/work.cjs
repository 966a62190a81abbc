// A person opens VS Code, works in it, in a second tab and on a port, and signs out of all of it. Arguments: {alice: {url,
// link | email, password}, port}.
"use strict";
const assert = require("node:assert/strict");
const { file, inTerminal, openFile } = require("../editor.cjs");
const { play, waitUntil } = require("../stage.cjs");

play(async (stage, { alice, port }) => {
  const person = await stage.person();
  const first = await person.tab();
  const answer = await person.enter(first, alice);
  assert.equal(answer.status(), 200);
  assert.equal(first.page.url().split("?")[0], alice.url);
  await file(first.page, "README.md").waitFor();
  await first.isLive();

  await inTerminal(first.page, "git log --oneline; echo $((6 * 7)) >by-socket");
  await file(first.page, "by-socket").waitFor();
  await openFile(first.page, "README.md");
  await stage.picture(first, "editor");

  const second = await person.tab();
  await second.page.goto(alice.url);
  await file(second.page, "by-socket").waitFor();
  await second.isLive();

  // A port has a host of its own, and the way in asks nobody for anything.
  await inTerminal(first.page, "busybox httpd -p 3000");
  const preview = await person.tab();
  await waitUntil("the preview of the port", async () => {
    const shown = await preview.page.goto(`${port}by-socket`);
    return shown.status() === 200 && (await shown.text()).trim() === "42";
  });
  assert.equal(preview.page.url(), `${port}by-socket`);

  // The same link opens nothing anywhere else.
  if (alice.link) {
    const thief = await stage.person();
    const window = await thief.tab();
    assert.equal((await window.page.goto(alice.link)).status(), 403);
    assert.deepEqual(await thief.cookies(alice.link), []);
    assert.equal((await window.page.goto(alice.url)).status(), 401);
    assert.deepEqual((await thief.cookies(alice.url)).filter((name) => name === "__Host-wsd"), []);
  }

  const last = await person.tab();
  await last.page.goto(`${first.authHost}/.workstead-proxy/sign-out`);
  await last.page.getByRole("button", { name: "Sign out everywhere" }).click();
  await Promise.all([first.isCut(), second.isCut()]);
  for (const tab of [first, second]) assert.equal(await tab.status("/"), 401);
  assert.equal(await preview.status("/by-socket"), 401);
});
