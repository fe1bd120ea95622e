// Several tabs of one browser that show the same dictionary: what each shows of the others' edits, and what becomes of those
// when tabs end.

import assert from "node:assert/strict";
import { test } from "node:test";
import { row, says, set, settled, shown, state, status, value } from "./entries.mjs";
import { openPage, Profile, screenshot, Server, startBrowser, visit } from "./harness.mjs";
import { Random, seed } from "./random.mjs";

/** What Chromium itself writes when a WebSocket fails; no page can keep it from doing so. */
const lostConnection = { allowed: [/WebSocket connection to .* failed/] };

test("two tabs without a server agree, both ways", async (t) => {
  const server = await Server.start(t);
  const first = await openPage(t, await startBrowser(t), lostConnection);
  const second = await first.context().newPage();
  await visit(first, server.url);
  await set(first, "espresso", "2.20");
  await settled(first);
  await visit(second, server.url);
  await settled(second);
  await server.kill();
  await Promise.all([first, second].map((page) => status(page, "Connection", "Offline")));

  await set(first, "espresso", "2.40");
  await says(value(second, "espresso"), "2.40");
  await says(state(second, "espresso"), "On this device");
  await status(second, "Sync", "1 edit saved on this device");
  await set(second, "latte", "3.10");
  await set(second, "espresso", "2.50");
  await says(value(first, "espresso"), "2.50");
  await row(first, "latte").hover();
  await first.getByRole("button", { name: "Remove latte" }).click();
  await row(second, "latte").waitFor({ state: "detached" });
  const expected = { espresso: "2.50" };
  assert.deepEqual(await shown(first), expected);
  assert.deepEqual(await shown(second), expected);

  await server.restart();
  await Promise.all([first, second].map(settled));
  assert.deepEqual(await shown(first), expected);
  assert.deepEqual(await shown(second), expected);
});

test("a tab shows at once what waits in another that is open", async (t) => {
  const server = await Server.start(t);
  const cut = await openPage(t, await startBrowser(t), lostConnection);
  const open = await cut.context().newPage();
  await cut.routeWebSocket(/./, (socket) => socket.close());
  await open.routeWebSocket(/./, (socket) => socket.close());
  await visit(cut, server.url);
  await set(cut, "first", "1");
  await status(cut, "Sync", "1 edit saved on this device");
  await visit(open, server.url);
  await row(open, "first").waitFor();
  await status(open, "Sync", "1 edit saved on this device");
  await set(cut, "second", "2");
  await row(open, "second").waitFor();
  // The other is gone, its edits are not.
  await cut.close();
  await status(open, "Sync", "2 edits saved on this device");
  assert.deepEqual(await shown(open), { first: "1", second: "2" });
});

test("ten tabs opened, closed and killed at random lose nothing", async (t) => {
  const random = new Random(seed, "tabs");
  const server = await Server.start(t);
  const profile = await Profile.make(t);
  const [tabs, written] = [[], new Map()];
  const open = async () => {
    const page = await profile.openPage();
    await visit(page, server.url);
    tabs.push(page);
  };
  while (tabs.length < 10) await open();
  let isUp = true;
  for (let step = 0; step < 60; step++) {
    t.diagnostic(`${step}: ${tabs.length} tabs, the server ${isUp ? "runs" : "is down"}`);
    const page = random.pick(tabs);
    const dice = random.below(20);
    if (dice < 12) {
      const key = `key ${random.below(8)}`;
      await set(page, key, String(step));
      // Kept, or with the server: from now on nothing may lose it.
      await page.getByRole("status", { name: "Sync", exact: true }).filter({ hasText: /^Saved$|device$/ }).waitFor();
      written.set(key, String(step));
    } else if (dice < 15 && tabs.length > 1) {
      tabs.splice(tabs.indexOf(page), 1);
      await page.close();
    } else if (dice < 17 && tabs.length > 1) {
      tabs.splice(tabs.indexOf(page), 1);
      await crash(page);
    } else if (dice < 19 && isUp && tabs.length < 10) {
      await open();
    } else if (isUp) {
      await server.kill();
      isUp = false;
      await Promise.all(tabs.map((each) => status(each, "Connection", "Offline")));
    } else {
      await server.restart();
      isUp = true;
    }
  }
  if (!isUp) await server.restart();
  await Promise.all(tabs.map(settled));
  const expected = Object.fromEntries([...written].sort());
  for (const page of tabs) assert.deepEqual(await shown(page), expected);
  const other = await openPage(t, await startBrowser(t));
  await visit(other, server.url);
  await settled(other);
  assert.deepEqual(await shown(other), expected);
});

/** Ends the process of a page. */
async function crash(page) {
  const session = await page.context().newCDPSession(page);
  const crashed = page.waitForEvent("crash");
  // It never answers.
  session.send("Page.crash").catch(() => {});
  await crashed;
}

test("a page that the browser keeps to bring it back leaves its edits, and comes back as another", async (t) => {
  const server = await Server.start(t);
  const profile = await Profile.make(t);
  const page = await profile.openPage();
  let isCut = true;
  await page.context().routeWebSocket(/./, (socket) => (isCut ? socket.close() : socket.connectToServer()));
  await visit(page, server.url);
  await set(page, "before", "1");
  await status(page, "Sync", "1 edit saved on this device");
  await page.evaluate(() => (window.isFirst = true));
  await page.goto("about:blank");
  const other = await profile.openPage();
  await visit(other, server.url);
  await row(other, "before").waitFor();
  await set(other, "meanwhile", "2");

  isCut = false;
  // It is not loaded by this, so nothing says when it is.
  await page.goBack({ waitUntil: "commit" });
  await page.waitForFunction(() => !window.isFirst && document.body?.hasAttribute("data-hydrated"));
  await set(page, "after", "3");
  await Promise.all([page, other].map(settled));
  for (const each of [page, other]) assert.deepEqual(await shown(each), { after: "3", before: "1", meanwhile: "2" });
  const { held } = await page.evaluate(() => navigator.locks.query());
  assert.equal(new Set(held.map(({ clientId }) => clientId)).size, 2, "each page holds locks of its own");
});

test("over plain HTTP the page syncs, keeps its edits, and says what does not work", async (t) => {
  const server = await Server.start(t, ["--host", "keybook.test"]);
  const browser = await startBrowser(t, ["--host-resolver-rules=MAP keybook.test 127.0.0.1"]);
  const url = server.url.replace("127.0.0.1", "keybook.test");
  const looks = {
    light: { colorScheme: "light", viewport: { width: 1200, height: 800 } },
    dark: { colorScheme: "dark", viewport: { width: 1200, height: 800 } },
    phone: { colorScheme: "light", viewport: { width: 360, height: 720 }, hasTouch: true },
  };
  const note = (page) => page.getByRole("note").filter({ hasText: "plain HTTP" });
  for (const [look, options] of Object.entries(looks)) {
    const page = await openPage(t, browser, { ...lostConnection, ...options });
    await visit(page, `${url}/d/${look}`);
    assert.equal(await page.evaluate(() => isSecureContext || "locks" in navigator || "serviceWorker" in navigator), false);
    await note(page).waitFor();
    await set(page, "espresso", "2.20");
    await settled(page);
    await screenshot(page, `plain-http-${look}`);
    await note(page).getByRole("button", { name: "Close" }).click();
    await note(page).waitFor({ state: "hidden" });
  }

  const page = await openPage(t, browser, lostConnection);
  let isCut = true;
  await page.context().routeWebSocket(/./, (socket) => (isCut ? socket.close() : socket.connectToServer()));
  await visit(page, url);
  await set(page, "kept", "1");
  await status(page, "Sync", "1 edit saved on this device");
  await visit(page, url);
  await row(page, "kept").waitFor();
  await status(page, "Sync", "1 edit saved on this device");
  const open = await page.context().newPage();
  await visit(open, url);
  await row(open, "kept").waitFor();
  await set(open, "kept", "2");
  await says(value(page, "kept"), "2");
  await status(page, "Sync", "2 edits saved on this device");
  isCut = false;
  await Promise.all([page, open].map(settled));
  for (const each of [page, open]) assert.deepEqual(await shown(each), { kept: "2" });
});
