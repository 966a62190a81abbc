// A visit of a workspace that is stopped. Nobody loads the page again: it does so itself, and shows the steps of the start as
// they come. Arguments: {alice: {url, link |
// email, password}}.
"use strict";
const assert = require("node:assert/strict");
const { terminalIsOpen } = require("../editor.cjs");
const { play } = require("../stage.cjs");

// Fills with the headings of the pages, and with the steps that come to one that is not loaded anew for them. A page may
// have gone on before anybody looks for what it said.
async function seen(page) {
  const [headings, steps] = [[], []];
  await page.exposeFunction("headingCame", (text) => headings.push(text));
  await page.exposeFunction("stepCame", (text) => steps.push(text));
  await page.addInitScript(() => {
    addEventListener("DOMContentLoaded", () => {
      const heading = document.querySelector("h1");
      if (heading) headingCame(heading.textContent.trim());
      const list = document.querySelector("ol[aria-label=Steps]");
      const tell = (records) => records.flatMap((record) => [...record.addedNodes]).forEach((item) => stepCame(item.textContent));
      if (list) new MutationObserver(tell).observe(list, { childList: true });
    });
  });
  return { headings, steps };
}

play(async (stage, { alice }) => {
  const person = await stage.person();
  const tab = await person.tab();
  const { headings, steps } = await seen(tab.page);
  assert.equal((await person.enter(tab, alice)).status(), 503);
  await stage.picture(tab, "waking");
  await terminalIsOpen(tab);
  assert.ok(headings.includes("The workspace is being woken"), headings.join("; "));
  assert.notEqual(steps.length, 0, "no step came while the page stayed");
});
