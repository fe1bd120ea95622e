// The page where its server cannot be reached, and where it is exchanged for another build.

import assert from "node:assert/strict";
import { once } from "node:events";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import http from "node:http";
import { tmpdir } from "node:os";
import path from "node:path";
import { test } from "node:test";
import { field, row, says, set, settled, shown, status, value } from "./entries.mjs";
import { atEnd, binary, fetchRaw, openPage, Profile, screenshot, Server, startBrowser, visit } from "./harness.mjs";
import { Line } from "./line.mjs";
import { Random, seed } from "./random.mjs";

/** What Chromium itself writes when nobody answers, the last two when it looks for a new worker. */
const lostConnection = [
  /WebSocket connection to .* failed/,
  /net::ERR_/,
  /An unknown error occurred when fetching the script/,
  /A bad HTTP response code \(502\) was received when fetching the script/,
];

const newVersion = (page) => page.getByText("A new version is ready.");
const notHere = (page) => page.getByText("This dictionary is not on this device yet.");
const reload = (page) => page.getByRole("button", { name: "Reload" });

/** Waits until a worker would open this page. */
const hasWorker = (page) => page.evaluate(async () => void (await navigator.serviceWorker.ready));

/** Asks a page again and again until it says yes. (`waitForFunction` takes a promise for a yes.) */
async function until(page, ask, argument) {
  const patience = AbortSignal.timeout(20_000);
  while (!(await page.evaluate(ask, argument))) patience.throwIfAborted();
}

/** Waits until the device has the entries of a dictionary: its base is a header and what it is the header of. */
const isKept = (page, name) =>
  until(page, async (name) => {
    const result = (request) => new Promise((resolve) => (request.onsuccess = () => resolve(request.result)));
    const database = await result(indexedDB.open(`keybook ${name}`));
    const count = await result(database.transaction("base").objectStore("base").count());
    database.close();
    return count >= 2;
  }, name);

/** The hashes in the names of the files that a page has loaded. */
async function opened(page) {
  const names = await page.evaluate(() => performance.getEntriesByType("resource").map((entry) => entry.name));
  const hashes = names.flatMap((name) => /\/pkg\/keybook\.([\w-]{22})\./.exec(name)?.[1] ?? []);
  return [...new Set(hashes)].sort();
}

/** What the device keeps of builds: the hashes of each. */
const caches = (page) =>
  page.evaluate(async () => {
    const files = async (name) => (await (await caches.open(name)).keys()).map((request) => new URL(request.url).pathname);
    return Promise.all((await caches.keys()).map(files));
  });

/** Takes pictures of the page in light, in dark, and on a phone. */
async function lookAt(page, name) {
  for (const [look, colorScheme, width] of [
    ["light", "light", 1200],
    ["dark", "dark", 1200],
    ["phone", "light", 360],
  ]) {
    await page.emulateMedia({ colorScheme });
    await page.setViewportSize({ width, height: 740 });
    await screenshot(page, `${name}-${look}`);
  }
}

/**
 * The release binary as another build would be: all its files have other names. The order of the names stays, for the binary
 * looks them up by it.
 */
async function otherBuild(test) {
  const folder = await mkdtemp(path.join(tmpdir(), "keybook-build-"));
  atEnd(test, () => rm(folder, { recursive: true }));
  const bytes = (await readFile(binary)).toString("latin1");
  const other = bytes.replace(/(keybook\.[\w-]{21})([\w-])(?=\.(?:js|wasm|css))/g, (_, stem, last) => stem + (last === "A" ? "B" : "A"));
  assert.equal(other.length, bytes.length);
  const executable = path.join(folder, "keybook");
  await writeFile(executable, other, { encoding: "latin1", mode: 0o755 });
  return executable;
}

test("a page opens and edits without its server, after its browser was killed", async (t) => {
  const server = await Server.start(t);
  const address = `${server.url}/d/prices`;
  const browser = await startBrowser(t);
  const other = await openPage(t, browser, { allowed: lostConnection });
  await visit(other, address);
  await set(other, "espresso", "2.20");
  await set(other, "latte", "3.10");
  await settled(other);

  const profile = await Profile.make(t);
  const before = await profile.openPage();
  await visit(before, address);
  await settled(before);
  await Promise.all([hasWorker(before), isKept(before, "prices")]);
  await profile.kill();
  await server.kill();

  const offline = await profile.openPage();
  const started = performance.now();
  const response = await visit(offline, address);
  assert.ok(response.fromServiceWorker());
  await row(offline, "latte").waitFor();
  t.diagnostic(`its entries are there after ${Math.round(performance.now() - started)} ms`);
  await status(offline, "Connection", "Offline");
  await status(offline, "Sync", "Saved");
  assert.equal(await offline.title(), "prices · Keybook");
  await says(offline.getByRole("heading", { level: 1 }), "prices");
  await set(offline, "espresso", "2.40");
  await offline.getByRole("button", { name: "Remove latte" }).click();
  await set(offline, "tea", "2.80");
  await status(offline, "Sync", "3 edits saved on this device");
  await screenshot(offline, "offline");
  await profile.kill();

  const again = await profile.openPage();
  await visit(again, address);
  await status(again, "Sync", "3 edits saved on this device");
  const expected = { espresso: "2.40", tea: "2.80" };
  assert.deepEqual(await shown(again), expected);
  const answers = [];
  again.on("response", (answer) => answers.push(answer));
  await server.restart();
  await settled(again);
  await settled(other);
  assert.deepEqual(await shown(again), expected);
  assert.deepEqual(await shown(other), expected);
  for (const answer of answers) assert.ok(!(answer.url().includes("/api/") && answer.fromServiceWorker()), answer.url());
});

test("a dictionary that this device has never seen says so, and takes edits", async (t) => {
  const server = await Server.start(t);
  const browser = await startBrowser(t);
  const page = await openPage(t, browser, { allowed: lostConnection });
  await visit(page, `${server.url}/d/empty`);
  await settled(page);
  await Promise.all([hasWorker(page), isKept(page, "empty")]);
  await server.kill();

  // An empty one that was seen is empty, and not unknown.
  await visit(page, `${server.url}/d/empty`);
  await page.getByText("Nothing here yet.").waitFor();
  await status(page, "Connection", "Offline");
  assert.ok(await notHere(page).isHidden());

  await visit(page, `${server.url}/d/never-seen`);
  await notHere(page).waitFor();
  assert.ok(await page.getByText("Nothing here yet.").isHidden());
  await lookAt(page, "not-here");
  await set(page, "espresso", "2.20");
  await status(page, "Sync", "1 edit saved on this device");
  // What was set is not all that there is.
  assert.ok(await notHere(page).isVisible());
  assert.ok(await page.getByText("1 entry").isHidden());

  await server.restart();
  await settled(page);
  assert.ok(await notHere(page).isHidden());
  assert.ok(await page.getByText("1 entry").isVisible());
  const other = await openPage(t, browser, { allowed: lostConnection });
  await visit(other, `${server.url}/d/never-seen`);
  await says(value(other, "espresso"), "2.20");

  // What is no dictionary's address is not opened as if it were.
  await server.kill();
  await assert.rejects(page.goto(`${server.url}/d/Never`), /ERR_CONNECTION_REFUSED/);
});

test("a new version waits until somebody agrees, and builds do not mix", async (t) => {
  const server = await Server.start(t);
  const worker = async () => String((await fetchRaw(`${server.url}/worker.js`)).body);
  const old = await openPage(t, await startBrowser(t), { allowed: lostConnection });
  const beside = await old.context().newPage();
  await visit(old, server.url);
  await visit(beside, server.url);
  await Promise.all([settled(old), settled(beside), hasWorker(old)]);
  const oldWorker = await worker();
  const oldFiles = await opened(old);
  assert.equal(oldFiles.length, 3);
  await field(beside, "Key").fill("half a th");

  await server.kill();
  await server.restart();
  assert.equal(await worker(), oldWorker, "a build that starts again is no new one");
  await server.kill();
  await server.restart(await otherBuild(t));
  assert.notEqual(await worker(), oldWorker);

  // The old pages go on, and say it.
  await Promise.all([newVersion(old).waitFor(), newVersion(beside).waitFor()]);
  await Promise.all([settled(old), settled(beside)]);
  await set(old, "edited", "in the old page");
  await says(value(beside, "edited"), "in the old page");
  assert.equal((await caches(old)).length, 2);
  await lookAt(old, "new-version");

  // One person agrees, in one tab.
  await Promise.all([old.waitForEvent("load"), reload(old).click()]);
  await settled(old);
  assert.ok(await newVersion(old).isHidden());
  const newFiles = await opened(old);
  assert.equal(newFiles.length, 3);
  assert.deepEqual(newFiles.filter((hash) => oldFiles.includes(hash)), []);
  await until(old, async () => (await caches.keys()).length === 1);
  const [kept] = await caches(old);
  for (const hash of newFiles) assert.ok(kept.some((file) => file.includes(hash)), `${hash} is kept`);
  for (const hash of oldFiles) assert.ok(!kept.some((file) => file.includes(hash)), `${hash} is gone`);

  // The other tab has lost nothing, and is asked still.
  assert.equal(await field(beside, "Key").inputValue(), "half a th");
  assert.deepEqual(await opened(beside), oldFiles);
  await set(beside, "edited", "in the other old page");
  await says(value(old, "edited"), "in the other old page");
  await Promise.all([beside.waitForEvent("load"), reload(beside).click()]);
  await settled(beside);
  assert.deepEqual(await opened(beside), newFiles);

  // What opens without the server is of the new build alone.
  await server.kill();
  await visit(old, server.url);
  await status(old, "Connection", "Offline");
  await says(value(old, "edited"), "in the other old page");
  assert.deepEqual(await opened(old), newFiles);
});

test("a page of the new version lets it in, and old tabs go on", async (t) => {
  const server = await Server.start(t);
  const old = await openPage(t, await startBrowser(t), { allowed: lostConnection });
  await visit(old, server.url);
  await Promise.all([settled(old), hasWorker(old)]);
  const [kept, oldFiles] = [String(await old.evaluate(() => caches.keys())), String(await opened(old))];
  await server.kill();
  await server.restart(await otherBuild(t));

  // A server that is slow to answer is passed over, and what is opened then is of the old build.
  const page = await old.context().newPage();
  do await visit(page, server.url);
  while (String(await opened(page)) === oldFiles);
  await until(page, async (old) => String(await caches.keys()) !== old && (await caches.keys()).length === 1, kept);
  assert.ok(await newVersion(page).isHidden());
  await newVersion(old).waitFor();
  await set(old, "edited", "in the old page");
  await says(value(page, "edited"), "in the old page");
});

test("a page whose version the server refuses asks for a reload, and keeps its edits", async (t) => {
  const server = await Server.start(t);
  const page = await openPage(t, await startBrowser(t));
  let isOld = true;
  await page.routeWebSocket(/./, (socket) => {
    const upstream = socket.connectToServer();
    socket.onMessage((message) => upstream.send(isOld ? ofVersion(2, message) : message));
  });
  await visit(page, server.url);
  await page.getByText("This page and its server speak different versions").waitFor();
  await set(page, "espresso", "2.20");
  await status(page, "Sync", "1 edit saved on this device");
  // Not before: the page connects by itself too, and then there is nothing to reload for.
  page.once("framenavigated", () => (isOld = false));
  await Promise.all([page.waitForEvent("load"), page.getByRole("link", { name: "Reload" }).click()]);
  await settled(page);
  assert.deepEqual(await shown(page), { espresso: "2.20" });
});

/** A Hello of another version: `[0, [oldest, newest], …]`. Other messages are as they were. */
function ofVersion(version, message) {
  const bytes = Buffer.from(message);
  if (bytes[1] === 0) bytes.fill(version, 3, 5);
  return bytes;
}

test("a server that does not answer is passed over", async (t) => {
  const server = await Server.start(t);
  const line = await Line.start(t, server, new Random(seed, "line"));
  const page = await openPage(t, await startBrowser(t), { allowed: lostConnection });
  await visit(page, `${line.url}/d/slow`);
  await set(page, "espresso", "2.20");
  await Promise.all([settled(page), hasWorker(page)]);
  line.holdAnswers("/d/slow");
  const response = await visit(page, `${line.url}/d/slow`);
  assert.ok(response.fromServiceWorker());
  await settled(page);
  assert.deepEqual(await shown(page), { espresso: "2.20" });
});

test("a proxy whose server is gone is passed over", async (t) => {
  const server = await Server.start(t);
  const page = await openPage(t, await startBrowser(t), { allowed: lostConnection });
  await visit(page, server.url);
  await set(page, "espresso", "2.20");
  await Promise.all([settled(page), hasWorker(page)]);
  await server.kill();
  const proxy = http.createServer((_, response) => response.writeHead(502).end());
  proxy.listen(new URL(server.url).port, "127.0.0.1");
  await once(proxy, "listening");
  atEnd(t, () => proxy.close());
  await visit(page, server.url);
  await status(page, "Connection", "Offline");
  assert.deepEqual(await shown(page), { espresso: "2.20" });
});

test("it can be installed, and the worker fetches nothing twice", async (t) => {
  const server = await Server.start(t);
  const profile = await Profile.make(t);
  const page = await profile.openPage();
  await visit(page, server.url);
  await settled(page);
  await hasWorker(page);

  const devTools = await page.context().newCDPSession(page);
  assert.deepEqual((await devTools.send("Page.getInstallabilityErrors")).installabilityErrors, []);
  const { errors, data } = await devTools.send("Page.getAppManifest");
  assert.deepEqual(errors, []);
  for (const { src, type, sizes } of JSON.parse(data).icons) {
    const icon = await fetchRaw(new URL(src, server.url));
    assert.equal(icon.status, 200, src);
    assert.equal(icon.headers["content-type"], type, src);
    // A PNG says its width in the bytes 16 to 19.
    if (type === "image/png") assert.equal(`${icon.body.readUInt32BE(16)}x${icon.body.readUInt32BE(20)}`, sizes, src);
  }

  const [worker] = page.context().serviceWorkers();
  const fetched = await worker.evaluate(() =>
    performance.getEntriesByType("resource").map(({ name, transferSize }) => [new URL(name).pathname, transferSize]),
  );
  for (const [file, bytes] of fetched) {
    t.diagnostic(`the worker fetched ${file}: ${bytes} bytes`);
    if (file.startsWith("/pkg/")) assert.equal(bytes, 0, `${file} comes from the browser's cache`);
  }
  assert.equal(fetched.filter(([file]) => file.startsWith("/pkg/")).length, 3);
});
