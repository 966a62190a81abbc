// What scenes share: a browser in which all names are this machine's, people in it, and the talk with the test that plays
// the scene. The test gives one argument, JSON: {domains, authority?, pictures?, …}; the scene prints a line of JSON where it has
// got to something, and reads one before it goes on.
"use strict";
const { execFileSync } = require("node:child_process");
const fs = require("node:fs");
const os = require("node:os");
const path = require("node:path");
const readline = require("node:readline");
const { chromium } = require("playwright-core");

const PATIENCE = 60_000;
// A stream that is to be cut has 2 seconds. How long it takes is measured by the figure `revocation`; here a browser and a whole
// node share two cores, and what counts is that it is cut, and not ended by anything that comes later.
const CUT = 10_000;
// Where the login leads: the auth host's, the provider's, the workspace's.
const AUTHORIZATION = "/auth";
const LOGIN = "/.workstead-proxy/login";
const TICKET = "/.workstead-proxy/callback";

// waitUntil(WHAT, TEST, LIMIT): what TEST gives once that is true.
async function waitUntil(what, test, limit = PATIENCE) {
  const end = Date.now() + limit;
  for (;;) {
    const found = await test();
    if (found) return found;
    if (Date.now() > end) throw new Error(`waited ${limit} ms in vain for ${what}`);
    await new Promise((again) => setTimeout(again, 20));
  }
}

// A window of somebody, and the WebSockets of it through which something has come and that are open.
class Tab {
  constructor(page) {
    this.page = page;
    this.live = new Set();
    page.on("request", (request) => {
      const { origin, pathname } = new URL(request.url());
      // Of the login that this window went through.
      if (pathname === LOGIN) this.authHost = origin;
      if (pathname === AUTHORIZATION) this.provider = origin;
      if (pathname === TICKET) this.ticket = request.url();
    });
    // The sockets of a page that is left close without a word.
    page.on("domcontentloaded", () => this.live.clear());
    page.on("websocket", (socket) => {
      socket.on("framereceived", () => !socket.isClosed() && this.live.add(socket));
      socket.on("close", () => this.live.delete(socket));
      socket.on("socketerror", () => this.live.delete(socket));
    });
  }

  // The status with which something of this window's own origin is answered to a script.
  status(address) {
    return this.page.evaluate(async (address) => (await fetch(address)).status, address);
  }

  async isCut() {
    await waitUntil("the end of all that was open", () => this.live.size === 0, CUT);
  }

  async isLive() {
    await waitUntil("an open WebSocket", () => this.live.size > 0);
  }
}

// Somebody with a browser of their own: cookies, storage.
class Person {
  constructor(context) {
    this.context = context;
  }

  async tab() {
    return new Tab(await this.context.newPage());
  }

  // Signs in with a link, or at the identity provider, and gives the answer of the workspace.
  async enter(tab, { url, link, email, password }) {
    if (link) return tab.page.goto(link);
    await tab.page.goto(url);
    await tab.page.getByLabel("E-mail address").fill(email);
    await tab.page.getByLabel("Password").fill(password);
    const answer = tab.page.waitForResponse((response) => response.url() === url && response.status() !== 303);
    await tab.page.getByRole("button", { name: "Sign in" }).click();
    return answer;
  }

  // Names of the cookies of a host.
  async cookies(url) {
    return (await this.context.cookies(url)).map(({ name }) => name);
  }
}

class Stage {
  constructor(args, browser) {
    this.args = args;
    this.browser = browser;
    this.people = [];
    this.lines = readline.createInterface({ input: process.stdin })[Symbol.asyncIterator]();
  }

  async person(more = {}) {
    const context = await this.browser.newContext({ viewport: { width: 1280, height: 800 }, ...more });
    context.setDefaultTimeout(PATIENCE);
    const person = new Person(context);
    this.people.push(person);
    return person;
  }

  // Tells the test how far it is, and waits until the test has done its part.
  async reach(what, more = {}) {
    console.log(JSON.stringify({ reached: what, ...more }));
    const { value, done } = await this.lines.next();
    if (done) throw new Error(`the test ended when ${what} was reached`);
    return JSON.parse(value);
  }

  // For the README, where somebody wants it.
  async picture(tab, name) {
    const { pictures } = this.args;
    if (pictures) await tab.page.screenshot({ path: path.join(pictures, `${name}.png`) });
  }

  async lastSight() {
    const folder = fs.mkdtempSync(path.join(os.tmpdir(), "workstead-browser-"));
    const pages = this.people.flatMap(({ context }) => context.pages());
    for (const [number, page] of pages.entries()) {
      await page.screenshot({ path: path.join(folder, `${number}.png`) }).catch(() => {});
    }
    return `${folder}: ${pages.map((page) => page.url().split("?")[0]).join(" ")}`;
  }
}

// A home in which the browser trusts an authority, as `make up OIDC=1` tells people to do it.
function homeThatTrusts(authority) {
  const home = fs.mkdtempSync(path.join(os.tmpdir(), "workstead-home-"));
  const store = path.join(home, ".pki/nssdb");
  fs.mkdirSync(store, { recursive: true });
  execFileSync("certutil", ["-d", `sql:${store}`, "-N", "--empty-password"]);
  execFileSync("certutil", ["-d", `sql:${store}`, "-A", "-t", "C,,", "-n", "workstead", "-i", authority]);
  return home;
}

// *.localhost is this machine by itself, other domains are so here; all other names lead nowhere, whatever asks for them.
function resolverRules(domains) {
  const mapped = domains.filter((domain) => !domain.endsWith(".localhost")).map((domain) => `MAP *.${domain} 127.0.0.1`);
  return [...mapped, "MAP * ~NOTFOUND", "EXCLUDE *.localhost", "EXCLUDE 127.0.0.1"].join(", ");
}

// play(SCENE): runs it and ends with its success. What went wrong comes with pictures of what was to be seen then.
async function play(scene) {
  const args = JSON.parse(process.argv[2]);
  const home = args.authority && homeThatTrusts(args.authority);
  const browser = await chromium.launch({
    executablePath: "/usr/bin/chromium",
    env: home ? { ...process.env, HOME: home } : process.env,
    args: ["--no-sandbox", `--host-resolver-rules=${resolverRules(args.domains)}`],
  });
  const stage = new Stage(args, browser);
  try {
    await scene(stage, args);
    console.log(JSON.stringify({ reached: "the end" }));
  } catch (error) {
    console.error(`${error.stack}\nWhat was to be seen then: ${await stage.lastSight()}`);
    process.exitCode = 1;
  } finally {
    await browser.close();
    if (home) fs.rmSync(home, { recursive: true, force: true });
    process.stdin.destroy();
  }
}

module.exports = { PATIENCE, play, waitUntil };
