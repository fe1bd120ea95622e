// Undo and redo: each user's own, offline, and over reloads.

import assert from "node:assert/strict";
import { test } from "node:test";
import { field, grid, row, says, set, settled, shown, status, value } from "./entries.mjs";
import { openPage, Profile, Server, startBrowser, visit } from "./harness.mjs";

const press = (page, name) => page.getByRole("button", { name, exact: true }).click();

test("each takes back what is their own, and is told who has changed the rest", async (t) => {
  const server = await Server.start(t);
  const browser = await startBrowser(t);
  const [ada, ben] = [await openPage(t, browser), await openPage(t, browser)];
  for (const page of [ada, ben]) {
    await visit(page, server.url);
    await settled(page);
    assert.ok(await page.getByRole("button", { name: "Undo", exact: true }).isDisabled());
  }
  await ben.getByRole("button", { name: "You are" }).click();
  await field(ben, "Your name").fill("Ben");
  await field(ben, "Your name").press("Enter");

  await set(ada, "tea", "1");
  await set(ada, "tea", "2");
  await set(ada, "milk", "3");
  await row(ben, "milk").waitFor();
  await set(ben, "milk", "4");
  await says(value(ada, "milk"), "4");

  await press(ada, "Undo");
  await ada.getByRole("alert").getByText("Ben has changed milk since").waitFor();
  assert.deepEqual(await shown(ada), { milk: "4", tea: "2" });
  await press(ada, "Undo");
  await says(value(ben, "tea"), "1");
  await press(ada, "Undo");
  await row(ben, "tea").waitFor({ state: "detached" });
  assert.ok(await ada.getByRole("button", { name: "Undo", exact: true }).isDisabled());

  await press(ada, "Redo");
  await press(ada, "Redo");
  await says(value(ben, "tea"), "2");
  assert.ok(await ada.getByRole("button", { name: "Redo", exact: true }).isDisabled());
  await grid(ada).focus();
  await grid(ada).press("Control+z");
  await says(value(ben, "tea"), "1");
  await grid(ada).press("Control+Shift+Z");
  await says(value(ben, "tea"), "2");
});

test("what was done before the browser was killed can be undone after it, offline", async (t) => {
  const server = await Server.start(t);
  const profile = await Profile.make(t);
  const before = await profile.openPage();
  await visit(before, server.url);
  await set(before, "price", "2.20");
  await set(before, "price", "2.40");
  await settled(before);
  await server.kill();
  await status(before, "Connection", "Offline");
  await set(before, "price", "2.60");
  await status(before, "Sync", "1 edit saved on this device");
  await profile.kill();

  await server.restart();
  const after = await profile.openPage();
  await visit(after, server.url);
  await settled(after);
  await says(value(after, "price"), "2.60");
  await server.kill();
  await status(after, "Connection", "Offline");
  await press(after, "Undo");
  await press(after, "Undo");
  await says(value(after, "price"), "2.20");
  await press(after, "Redo");
  await says(value(after, "price"), "2.40");
  await server.restart();
  await settled(after);
  const other = await openPage(t, await startBrowser(t));
  await visit(other, server.url);
  await settled(other);
  assert.deepEqual(await shown(other), { price: "2.40" });
});
