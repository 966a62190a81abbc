// vscode.cjs begin|again URL: a person who works in VS Code in the browser, and who comes back to it. Fails with a picture.
"use strict";
const { chromium } = require("playwright-core");
const { command, file, inTerminal, openFile } = require("./editor.cjs");

const [part, url] = process.argv.slice(2);
const LINE = "written in the browser";
const PATIENCE = 60_000;

async function open(page) {
  await page.goto(url);
  await file(page, "README").waitFor();
}

async function begin(page) {
  await open(page);
  const tabs = await page.locator(".tab").allTextContents();
  if (tabs.length > 0) throw new Error(`it opens with ${tabs}, and not with the project alone`);
  await openFile(page, "README");
  await page.locator(".editor-instance .monaco-editor .view-line").first().click();
  await page.keyboard.press("Control+End");
  await page.keyboard.type(`\n${LINE}\n`);
  await page.keyboard.press("Control+s");
  await page.locator(".tab.active:not(.dirty)").waitFor();
  // It goes into the settings of the user.
  await page.locator(".editor-instance .minimap").first().waitFor();
  await command(page, "View: Toggle Minimap");
  await page.locator(".editor-instance .minimap").first().waitFor({ state: "hidden" });
  await inTerminal(page, "git commit --quiet --all --message=Terminal; echo $((6 * 7)) in $PWD >from-terminal");
  // The explorer sees what the terminal does.
  await file(page, "from-terminal").waitFor();
}

async function again(page) {
  await open(page);
  await openFile(page, "from-terminal");
  await page.locator(".view-line").filter({ hasText: "42 in /projects/code" }).waitFor();
  await openFile(page, "README");
  await page.locator(".view-line").filter({ hasText: LINE }).first().waitFor();
  if (await page.locator(".editor-instance .minimap").first().isVisible()) throw new Error("the setting is lost");
  await inTerminal(page, "git push --quiet && touch pushed");
  await file(page, "pushed").waitFor();
}

async function main() {
  const here = new URL(url).host;
  const strangers = new Set();
  const browser = await chromium.launch({
    executablePath: "/usr/bin/chromium",
    // Names of other hosts lead nowhere, whatever asks for them.
    args: ["--no-sandbox", "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"],
  });
  const page = await browser.newPage({ viewport: { width: 1280, height: 800 } });
  page.setDefaultTimeout(PATIENCE);
  const seen = (address) => {
    const to = new URL(address);
    if (/^(https?|wss?):$/.test(to.protocol) && to.host !== here) strangers.add(to.origin);
  };
  page.context().on("request", (request) => seen(request.url()));
  page.on("websocket", (socket) => seen(socket.url()));
  try {
    await { begin, again }[part](page);
    if (strangers.size > 0) throw new Error(`the page asks others: ${[...strangers].join(", ")}`);
  } catch (error) {
    const picture = `/tmp/workstead-vscode-${part}.png`;
    await page.screenshot({ path: picture }).catch(() => {});
    console.error(`${error.stack}\nWhat was to be seen then: ${picture}`);
    process.exitCode = 1;
  } finally {
    await browser.close();
  }
}

main();
