// VS Code and the terminal, as a person uses them.
"use strict";
const { waitUntil } = require("./stage.cjs");

// A file of the explorer.
const file = (page, name) => page.locator(".explorer-folders-view").getByRole("treeitem", { name, exact: true });

async function openFile(page, name) {
  await file(page, name).dblclick();
  await page.locator(".tab.active").filter({ hasText: name }).waitFor();
  await page.locator(".editor-instance .monaco-editor .view-line").first().waitFor();
}

async function command(page, name) {
  await page.keyboard.press("F1");
  const input = page.locator(".quick-input-widget input");
  await input.waitFor();
  await input.fill(`>${name}`);
  await page.locator(".quick-input-list .monaco-list-row").filter({ hasText: name }).first().waitFor();
  await page.keyboard.press("Enter");
  await input.waitFor({ state: "hidden" });
}

// A line in the terminal of VS Code.
async function inTerminal(page, line) {
  const screen = page.locator(".terminal-wrapper.active .xterm-screen").first();
  if (!(await screen.isVisible())) await page.keyboard.press("Control+Backquote");
  await screen.waitFor();
  await page.locator(".terminal-wrapper.active textarea").focus();
  await page.keyboard.type(`${line}\n`);
}

// What stands in the window of the terminal that is an editor by itself.
function shown(page) {
  return page.evaluate(() => {
    const buffer = window.term?.buffer.active;
    const lines = Array.from({ length: buffer?.length ?? 0 }, (_, at) => buffer.getLine(at)?.translateToString(true) ?? "");
    return lines.join("\n");
  });
}

async function terminalIsOpen(tab) {
  await tab.page.locator(".xterm-screen").waitFor();
  await tab.isLive();
}

// Types a line there, and waits for what comes of it.
async function inShell(tab, line, answer) {
  await tab.page.locator(".xterm-helper-textarea").focus();
  await tab.page.keyboard.type(`${line}\n`);
  await waitUntil(`${answer} in the terminal`, async () => (await shown(tab.page)).includes(answer));
}

module.exports = { command, file, inShell, inTerminal, openFile, terminalIsOpen };
