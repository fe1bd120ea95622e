// What a device keeps of a dictionary, so that edits outlive the page and its browser.

import assert from "node:assert/strict";
import { test } from "node:test";
import { field, row, says, set, settled, shown, status, value } from "./entries.mjs";
import { installClock, lostConnection, openPage, Profile, screenshot, Server, startBrowser, visit } from "./harness.mjs";

test("edits made offline survive a killed browser", async (t) => {
  const server = await Server.start(t);
  const profile = await Profile.make(t);
  const before = await profile.openPage();
  await visit(before, server.url);
  await set(before, "espresso", "2.20");
  await settled(before);
  await server.kill();
  await status(before, "Connection", "Offline");
  await set(before, "espresso", "2.40");
  await set(before, "latte", "3.10");
  // The first letter is after the surrogates of UTF-16.
  await set(before, "Ｔｅａ", "2.80");
  await status(before, "Sync", "3 edits saved on this device");
  await profile.kill();

  await server.restart();
  const after = await profile.openPage();
  await visit(after, server.url);
  await settled(after);
  const expected = { espresso: "2.40", latte: "3.10", Ｔｅａ: "2.80" };
  assert.deepEqual(await shown(after), expected);
  const other = await openPage(t, await startBrowser(t));
  await visit(other, server.url);
  await settled(other);
  assert.deepEqual(await shown(other), expected);
});

/** Who edits in a page. */
const author = (page) => page.evaluate(() => localStorage.getItem("keybook.author"));

test("whose browser is killed right after a first visit comes back as the same author", async (t) => {
  // Chromium writes localStorage to the disk some seconds late. Who was killed before came back as somebody else, and could no more
  // dismiss for everybody what they had lost.
  const server = await Server.start(t);
  const profile = await Profile.make(t);
  const before = await profile.openPage();
  await visit(before, server.url);
  await set(before, "espresso", "2.20");
  await settled(before);
  const first = await author(before);
  assert.match(first, /^[0-9a-f]{32} ./);
  await profile.kill();
  const after = await profile.openPage();
  await visit(after, server.url);
  await settled(after);
  assert.equal(await author(after), first);
});

test("a first visit does not wait for a database that hangs", async (t) => {
  const server = await Server.start(t);
  const page = await openPage(t, await startBrowser(t));
  await page.addInitScript(() => {
    const { open } = IDBFactory.prototype;
    IDBFactory.prototype.open = function (name, ...rest) {
      return name === "keybook" ? new EventTarget() : open.call(this, name, ...rest);
    };
  });
  await visit(page, server.url);
  await set(page, "espresso", "2.20");
  await settled(page);
  assert.match(await author(page), /^[0-9a-f]{32} ./);
});

test("an author is named once, though localStorage has lost it and two tabs come at once", async (t) => {
  const server = await Server.start(t);
  const page = await openPage(t, await startBrowser(t));
  const button = (page) => page.getByRole("button", { name: /^You are / });
  // As at a first visit, where neither tab finds what the other keeps.
  await page.context().addInitScript(() => (Storage.prototype.getItem = () => null));
  const other = await page.context().newPage();
  await Promise.all([page, other].map((each) => visit(each, server.url)));
  assert.equal(await button(other).innerText(), await button(page).innerText());
  await button(page).click();
  await field(page, "Your name").fill("Ada");
  await field(page, "Your name").press("Enter");
  await says(button(page), "You are Ada");
  // What opens the database later reads it later.
  const kept = await page.evaluate(async () => {
    const done = (request) => new Promise((resolve) => (request.onsuccess = () => resolve(request.result)));
    const database = await done(indexedDB.open("keybook"));
    return done(database.transaction("author").objectStore("author").get("author"));
  });
  assert.match(kept, /^[0-9a-f]{32} Ada$/);
  await visit(other, server.url);
  await says(button(other), "You are Ada");
});

test("a tab that is closed leaves its edits to the others, the last ones too", async (t) => {
  const server = await Server.start(t);
  const closed = await openPage(t, await startBrowser(t), { allowed: lostConnection });
  const open = await closed.context().newPage();
  await closed.routeWebSocket(/./, (socket) => socket.close());
  await visit(closed, server.url);
  await set(closed, "first", "1");
  await status(closed, "Sync", "1 edit saved on this device");
  await visit(open, server.url);
  await status(open, "Sync", "1 edit saved on this device");
  await set(closed, "second", "2");
  await status(closed, "Sync", "2 edits saved on this device");
  await closed.close();
  await row(open, "second").waitFor();
  await settled(open);
  assert.deepEqual(await shown(open), { first: "1", second: "2" });
});

test("a page that comes back reads what changed, and not what it has kept", async (t) => {
  const server = await Server.start(t);
  const context = await openPage(t, await startBrowser(t));
  const other = await openPage(t, await startBrowser(t));
  await visit(other, `${server.url}/d/kept`);
  for (const key of ["a", "b", "c"]) await set(other, key, "1");
  await settled(other);
  const fetches = [];
  context.on("request", (request) => request.url().endsWith("/snapshot") && fetches.push(request.url()));
  await visit(context, `${server.url}/d/kept`);
  await settled(context);
  assert.equal(fetches.length, 1);
  await context.goto("about:blank");
  await set(other, "b", "2");
  await settled(other);
  await visit(context, `${server.url}/d/kept`);
  await settled(context);
  assert.equal(fetches.length, 1, "what it has kept is not fetched again");
  assert.deepEqual(await shown(context), { a: "1", b: "2", c: "1" });
  assert.equal(await value(context, "b").textContent(), "2");
});

test("a browser that keeps nothing says so", async (t) => {
  const server = await Server.start(t);
  const page = await openPage(t, await startBrowser(t), { allowed: lostConnection });
  await page.addInitScript(() => Object.defineProperty(window, "indexedDB", { value: undefined }));
  await visit(page, server.url);
  await settled(page);
  await server.kill();
  await status(page, "Connection", "Offline");
  await set(page, "espresso", "2.20");
  await status(page, "Sync", "Not saved");
  await page.getByText("1 edit waits in this tab").waitFor();
  await page.getByText("This device keeps nothing: this browser has no IndexedDB.").waitFor();
  await server.restart();
  await settled(page);
});

/** What the button that exports edits saves. */
async function exported(page) {
  const saving = page.waitForEvent("download");
  await page.getByRole("button", { name: "Export them" }).click();
  const download = await saving;
  assert.equal(download.suggestedFilename(), "unsaved-edits.json");
  const chunks = [];
  for await (const chunk of await download.createReadStream()) chunks.push(chunk);
  return JSON.parse(Buffer.concat(chunks).toString());
}

/** Opens the panel "This device". */
async function panel(page) {
  await page.getByRole("button", { name: "This device" }).click();
  return page.locator("section[popover]");
}

test("a device without room says so, offers the edits as a file, and keeps them once there is room", async (t) => {
  const server = await Server.start(t);
  const page = await openPage(t, await startBrowser(t), { allowed: lostConnection });
  await installClock(page);
  // Chromium cannot be given less room by its own means, so its refusal is planted where it would come.
  await page.addInitScript(() => {
    const put = IDBObjectStore.prototype.put;
    IDBObjectStore.prototype.put = function (...row) {
      if (window.isFull) throw new DOMException("the quota has been exceeded", "QuotaExceededError");
      return put.apply(this, row);
    };
  });
  await visit(page, server.url);
  await set(page, "latte", "3.10");
  await settled(page);
  await server.kill();
  await status(page, "Connection", "Offline");
  await page.evaluate(() => (window.isFull = true));
  const long = "x".repeat(60_000);
  await set(page, "espresso", long);
  await status(page, "Sync", "Not saved");
  await page.getByText("This device keeps nothing: the quota has been exceeded.").waitFor();
  await page.getByRole("button", { name: "Remove latte" }).dispatchEvent("click");
  await page.getByText("2 edits wait in this tab").waitFor();
  await screenshot(page, "no-room");
  assert.deepEqual(await exported(page), [
    { key: "espresso", value: long },
    { key: "latte", remove: true },
  ]);
  await page.evaluate(() => (window.isFull = false));
  await page.clock.runFor(10_000);
  await status(page, "Sync", "2 edits saved on this device");
});

test("a base that cannot be read is fetched anew, and no edit is lost", async (t) => {
  const server = await Server.start(t);
  const profile = await Profile.make(t);
  const before = await profile.openPage();
  await visit(before, server.url);
  await set(before, "espresso", "2.20");
  await settled(before);
  await server.kill();
  await status(before, "Connection", "Offline");
  await set(before, "latte", "3.10");
  await status(before, "Sync", "1 edit saved on this device");
  await before.evaluate(async () => {
    const database = await new Promise((resolve) => {
      indexedDB.open("keybook main").onsuccess = (event) => resolve(event.target.result);
    });
    const transaction = database.transaction("base", "readwrite", { durability: "strict" });
    transaction.objectStore("base").put(new Uint8Array([1, 2, 3]), "snapshot");
    await new Promise((resolve) => (transaction.oncomplete = resolve));
  });
  await profile.kill();

  await server.restart();
  const after = await profile.openPage();
  await visit(after, server.url);
  await settled(after);
  await after.getByText("What this device had kept cannot be read: the entries").waitFor();
  assert.deepEqual(await shown(after), { espresso: "2.20", latte: "3.10" });
});

test("what a newer version keeps is left alone", async (t) => {
  const server = await Server.start(t);
  const page = await openPage(t, await startBrowser(t), { allowed: lostConnection });
  await visit(page, `${server.url}/d/other`);
  await page.evaluate(async () => {
    const request = indexedDB.open("keybook main", 1000);
    request.onupgradeneeded = () => request.result.createObjectStore("of tomorrow");
    await new Promise((resolve) => (request.onsuccess = resolve));
    request.result.close();
  });
  await visit(page, server.url);
  await set(page, "espresso", "2.20");
  await settled(page);
  await (await panel(page)).getByText("a newer version of this page keeps it").waitFor();
  const databases = await page.evaluate(() => indexedDB.databases());
  assert.equal(databases.find(({ name }) => name === "keybook main").version, 1000);
});

test("the panel says what is kept and forgets it, in every tab", async (t) => {
  const server = await Server.start(t);
  const page = await openPage(t, await startBrowser(t), { allowed: lostConnection });
  const other = await page.context().newPage();
  for (const each of [page, other]) {
    await visit(each, server.url);
    await settled(each);
  }
  await page.bringToFront();
  await set(page, "espresso", "2.20");
  await row(other, "espresso").waitFor();
  await settled(page);
  const device = await panel(page);
  await device.getByText("Entries and edits are kept on this device").waitFor();
  await device.getByText(/This site takes \d+\.\d MB of \d+ GB/).waitFor();
  await screenshot(page, "device");
  await page.keyboard.press("Escape");
  await server.kill();
  await status(page, "Connection", "Offline");
  await set(page, "latte", "3.10");
  await status(page, "Sync", "1 edit saved on this device");

  await panel(page);
  await device.getByRole("button", { name: "Forget this dictionary" }).click();
  await device.getByRole("button", { name: "Forget 1 unsaved too" }).click();
  await device.getByText("it was forgotten here").waitFor();
  await status(page, "Sync", "Not saved");
  await other.bringToFront();
  await (await panel(other)).getByText("another tab has deleted what is kept here").waitFor();
  const left = await page.evaluate(async () => {
    // Deleting once more waits until it is gone.
    await new Promise((resolve) => (indexedDB.deleteDatabase("keybook main").onsuccess = resolve));
    return indexedDB.databases();
  });
  assert.deepEqual(left, [{ name: "keybook", version: 1 }], "who edits here is kept, and nothing else");
});

test("a difference from the server is found, mended and counted", async (t) => {
  const server = await Server.start(t);
  const browser = await startBrowser(t);
  const [page, other] = [await openPage(t, browser), await openPage(t, browser)];
  await visit(other, server.url);
  await settled(other);
  const device = async () => (await panel(page)).innerText();
  // What the server sends is changed on its way, as by a fault of the memory.
  let plants = true;
  await page.routeWebSocket(/./, (socket) => {
    const line = socket.connectToServer();
    line.onMessage((message) => {
      const at = plants ? message.indexOf('"espresso is 2.20"') : -1;
      if (at >= 0) message[at + 1] = "E".charCodeAt();
      socket.send(message);
    });
  });
  await visit(page, server.url);
  await settled(page);
  assert.match(await device(), /All entries here are those of the server/);
  await page.keyboard.press("Escape");
  await set(other, "price", "espresso is 2.20");
  await says(value(page, "price"), "Espresso is 2.20");
  plants = false;
  await panel(page);
  await page.getByRole("button", { name: "Check now" }).click();
  await page.getByText("They differed 1 time, and were fetched anew.").waitFor();
  await settled(page);
  await says(value(page, "price"), "espresso is 2.20");
  await page.getByRole("button", { name: "Check now" }).click();
  await settled(page);
  assert.equal(await page.getByText("They differed 1 time").count(), 1, "once");
});
