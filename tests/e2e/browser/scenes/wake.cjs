// A visit of a workspace that is stopped. Nobody loads the page again: it does so itself, and shows the steps of the start as
// they come. Arguments: {alice: {url, link |
// email, password}}.
"use strict";
const assert = require("node:assert/strict");
const { terminalIsOpen } = require("../editor.cjs");
const { play } = require("../stage.cjs");

// Fills with the steps that come to a page that is not loaded anew for it.
async function stepsThatCome(page) {
  const steps = [];
  await page.exposeFunction("stepCame", (text) => steps.push(text));
  await page.addInitScript(() => {
    addEventListener("DOMContentLoaded", () => {
      const list = document.querySelector("ol[aria-label=Steps]");
      const tell = (records) => records.flatMap((record) => [...record.addedNodes]).forEach((item) => stepCame(item.textContent));
      if (list) new MutationObserver(tell).observe(list, { childList: true });
    });
  });
  return steps;
}

play(async (stage, { alice }) => {
  const person = await stage.person();
  const tab = await person.tab();
  const steps = await stepsThatCome(tab.page);
  assert.equal((await person.enter(tab, alice)).status(), 503);
  await tab.page.getByRole("heading", { name: "The workspace is being woken" }).waitFor();
  await stage.picture(tab, "waking");
  await terminalIsOpen(tab);
  assert.notEqual(steps.length, 0, "no step came while the page stayed");
});
