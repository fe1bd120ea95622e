// What a device keeps of a dictionary, so that edits outlive the page and its browser.

import assert from "node:assert/strict";
import { test } from "node:test";
import { row, set, settled, shown, status, value } from "./entries.mjs";
import { openPage, Profile, Server, startBrowser, visit } from "./harness.mjs";

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

test("a tab that is closed leaves its edits to the others, the last ones too", async (t) => {
  const server = await Server.start(t);
  const closed = await openPage(t, await startBrowser(t), { allowed: [/WebSocket connection to .* failed/] });
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
  const page = await openPage(t, await startBrowser(t), { allowed: [/WebSocket connection to .* failed/] });
  await page.addInitScript(() => Object.defineProperty(window, "indexedDB", { value: undefined }));
  await visit(page, server.url);
  await settled(page);
  await server.kill();
  await status(page, "Connection", "Offline");
  await set(page, "espresso", "2.20");
  await status(page, "Sync", "Not saved");
  await page.getByText("1 edit waits in this tab").waitFor();
  await server.restart();
  await settled(page);
});
