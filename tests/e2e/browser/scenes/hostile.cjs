// Two people whose workspaces do not trust each other. Alice visits a page of Bob's workspace, which then tries all that a
// page can to get at hers. Arguments: {alice, bob: {url, link | email, password}, own, theirs}: own is Alice's program on a
// port, theirs is Bob's page. Her program answers with a secret, and keeps account of who made it.
"use strict";
const assert = require("node:assert/strict");
const { terminalIsOpen } = require("../editor.cjs");
const { play, waitUntil } = require("../stage.cjs");

const SECRET = "secret of alice";
const SESSION = "__Host-wsd";

// Runs in Bob's page: what each attempt could read, by its name. PROGRAM leads to Alice's, EDITOR to her shell.
async function attempts({ program, editor, authHost }) {
  const target = (by) => `${program}cgi-bin/mark?by=${by}`;
  const read = (address, options) => fetch(address, { credentials: "include", ...options }).then((answer) => answer.text());
  const loaded = (element) =>
    new Promise((resolve) => {
      element.onload = () => resolve("loaded");
      element.onerror = () => resolve("failed");
      document.body.append(element);
    });
  const element = (name, fields) => loaded(Object.assign(document.createElement(name), fields));
  const socket = (address, protocol) =>
    new Promise((resolve) => {
      const opened = new WebSocket(address.replace(/^http/, "ws"), protocol);
      opened.onopen = () => resolve("opened");
      opened.onerror = () => resolve("failed");
    });
  const tries = {
    fetch: () => read(target("fetch")),
    "fetch-no-cors": () => read(target("fetch-no-cors"), { mode: "no-cors" }),
    post: () => read(target("post"), { mode: "no-cors", method: "POST", body: "x" }),
    put: () => read(target("put"), { method: "PUT", headers: { "X-Forged": "1" } }),
    beacon: async () => `sent ${navigator.sendBeacon(target("beacon"), "x")}`,
    script: () => element("script", { src: target("script") }),
    image: () => element("img", { src: target("image") }),
    events: () =>
      new Promise((resolve) => {
        const source = new EventSource(target("events"), { withCredentials: true });
        source.onopen = () => resolve("opened");
        source.onerror = () => (source.close(), resolve("failed"));
      }),
    socket: () => socket(`${program}cgi-bin/mark?by=socket`),
    shell: () => socket(`${editor}ws`, "tty"),
    worker: () => navigator.serviceWorker.register(`${editor}sw.js`).then(() => "registered"),
    "sign-out": () => read(`${authHost}/.workstead-proxy/sign-out`, { method: "POST", mode: "no-cors", body: "scope=everywhere" }),
    cookies: async () => document.cookie,
    storage: async () => localStorage.getItem("mine"),
    echo: () => read("/cgi-bin/mark?by=own"),
  };
  const results = {};
  for (const [name, attempt] of Object.entries(tries)) {
    results[name] = await attempt().catch((error) => `refused: ${error.name}`);
  }
  return results;
}

// Frames and windows of hers: what is in them, and whether Bob's script gets at it.
async function embed(tab, address) {
  await tab.page.evaluate(
    (src) => new Promise((resolve) => document.body.append(Object.assign(document.createElement("iframe"), { src, onload: resolve }))),
    address,
  );
  const frames = tab.page.frames().filter((frame) => frame !== tab.page.mainFrame());
  return (await Promise.all(frames.map((frame) => frame.content().catch(() => "")))).join("\n");
}

async function openAndReach(tab, address) {
  const popup = tab.page.waitForEvent("popup");
  const reached = tab.page.evaluate(async (url) => {
    const opened = window.open(url);
    const tries = {
      document: () => opened.document.title,
      storage: () => opened.localStorage.length,
      location: () => opened.location.href,
    };
    const results = [];
    // It begins as an empty page of the opener's own.
    for (let round = 0; round < 40; round += 1) {
      await new Promise((again) => setTimeout(again, 50));
      for (const [name, attempt] of Object.entries(tries)) {
        try {
          const value = attempt();
          if (value && value !== "about:blank") results.push(`${name}: ${value}`);
        } catch (error) {
          if (error.name !== "SecurityError") throw error;
        }
      }
    }
    return results;
  }, address);
  const window = await popup;
  assert.deepEqual(await reached, [], `${address} is readable to its opener`);
  await window.close();
}

// A form that Bob's page fills in, sent in a window of its own.
async function submit(tab, address) {
  const popup = tab.page.waitForEvent("popup");
  await tab.page.evaluate((action) => {
    const form = Object.assign(document.createElement("form"), { action, method: "post", target: "_blank" });
    document.body.append(form);
    form.submit();
  }, address);
  const window = await popup;
  await window.waitForLoadState();
  const text = await window.content();
  await window.close();
  return text;
}

// Whether Bob's page can set a cookie for Alice's hosts; and tries to with names that look like ours.
function toss(tab) {
  return tab.page.evaluate(() => {
    const parent = location.hostname.split(".").slice(1).join(".");
    for (const name of ["__Host-wsd", "__HOST-WSD", "\u2000__Host-wsd", "__Host-wsd-n-x", "tossed"]) {
      for (const secure of ["", "; Secure"]) document.cookie = `${name}=evil; Path=/; Domain=${parent}${secure}`;
    }
    document.cookie = `=__Host-wsd=evil; Path=/; Domain=${parent}`;
    return document.cookie.includes("tossed");
  });
}

play(async (stage, { alice, bob, own, theirs }) => {
  const victim = await stage.person();
  const editor = await victim.tab();
  assert.equal((await victim.enter(editor, alice)).status(), 200);
  await terminalIsOpen(editor);
  const program = await victim.tab();
  assert.equal((await program.page.goto(own)).status(), 200);
  await program.page.evaluate(() => localStorage.setItem("mine", "secret of alice"));
  // What the attempts are about works from her own page.
  const answer = await program.page.evaluate(async () => (await fetch("/cgi-bin/mark?by=own", { method: "POST" })).text());
  assert.ok(answer.includes(SECRET), answer);
  assert.ok((await victim.cookies(alice.url)).includes(SESSION));

  const evil = await victim.tab();
  assert.equal((await evil.page.goto(theirs)).status(), 200);
  const results = await evil.page.evaluate(attempts, { program: own, editor: alice.url, authHost: editor.authHost });
  for (const [name, result] of Object.entries(results)) {
    assert.ok(!String(result).includes(SECRET), `${name} read: ${result}`);
    assert.ok(!String(result).includes("__Host-"), `${name} saw a cookie of ours: ${result}`);
  }
  for (const name of ["fetch", "put", "worker"]) assert.match(results[name], /^refused/, name);
  for (const name of ["script", "events", "socket", "shell"]) assert.equal(results[name], "failed", name);
  assert.equal(results.storage, null);
  assert.match(results.echo, /^secret of bob/);

  for (const address of [alice.url, own, `${editor.authHost}/.workstead-proxy/sign-out`]) {
    const inside = await embed(evil, address);
    for (const word of [SECRET, "ttyd", "Sign out everywhere"]) assert.ok(!inside.includes(word), `a frame shows ${word}`);
  }
  await openAndReach(evil, alice.url);
  await openAndReach(evil, own);
  assert.ok(!(await submit(evil, `${own}cgi-bin/mark?by=form`)).includes(SECRET));
  await submit(evil, `${editor.authHost}/.workstead-proxy/sign-out`);

  // A worker of Bob's page stands between while Alice is let in there. A ticket that it may see is worth nothing in any other
  // browser, nor twice.
  await evil.page.evaluate(() => navigator.serviceWorker.register("/sw.js"));
  await evil.page.waitForFunction(() => navigator.serviceWorker.controller);
  await victim.context.clearCookies({ name: SESSION, domain: new URL(theirs).hostname });
  // The login comes back from another origin, and the worker hides that it is into a window: a page of ours goes on by itself.
  await evil.page.goto(theirs);
  await evil.page.getByText("A page of somebody.").waitFor();
  const seen = await evil.page.evaluate(async () => (await (await caches.open("seen")).keys()).map(({ url }) => url));
  assert.ok(seen.length > 0, "the worker stands between");
  assert.ok(evil.ticket, "there is a ticket for Bob's page");
  const thief = await stage.person();
  for (const somebody of [thief, victim]) {
    const before = await somebody.cookies(theirs);
    const window = await somebody.tab();
    assert.equal((await window.page.goto(evil.ticket)).status(), 400);
    assert.deepEqual(await somebody.cookies(theirs), before);
  }

  // She is still signed in, as herself, with her shell open.
  assert.equal(editor.live.size, 1);
  const isParent = await toss(evil);
  assert.equal(isParent, stage.args.oneParent, "the layout is the one that the test is about");
  assert.equal((await editor.page.reload()).status(), 200);
  await terminalIsOpen(editor);

  // In Bob's own browser nothing of hers opens either.
  const attacker = await stage.person();
  const desk = await attacker.tab();
  assert.equal((await attacker.enter(desk, bob)).status(), 200);
  assert.equal((await desk.page.goto(alice.url)).status(), 404);
  assert.equal((await desk.page.goto(own)).status(), 404);

  if (isParent) await survivesBomb(victim, evil, editor, alice);
});

// A neighbour can fill the cookies of the parent domain until no request has room for them. The answer takes them away.
async function survivesBomb(victim, evil, editor, alice) {
  await evil.page.evaluate(() => {
    const parent = location.hostname.split(".").slice(1).join(".");
    for (let number = 0; number < 60; number += 1) document.cookie = `bomb${number}=${"x".repeat(3900)}; Path=/; Domain=${parent}`;
  });
  // The browser takes them in by and by.
  await waitUntil("the cookies of the neighbour", async () => (await victim.cookies(alice.url)).length >= 60);
  assert.equal((await editor.page.goto(alice.url)).status(), 431);
  assert.notEqual((await editor.page.goto(alice.url)).status(), 431);
}
