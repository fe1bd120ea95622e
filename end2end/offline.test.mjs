// What becomes of edits that are made offline, many of them, or by a device whose clock is wrong.
//
// The line of the one who is offline is cut, while everybody else goes on. Pages still come through it, what is offline is `/api/`:
// shell.test.mjs has the browser that opens them without any line.

import assert from "node:assert/strict";
import { test } from "node:test";
import { grid, row, says, set, setAll, settled, shown, shownInAll, status, value } from "./entries.mjs";
import { lostConnection, online, openPage, Profile, Server, startBrowser, visit } from "./harness.mjs";
import { Line } from "./line.mjs";
import { Random, seed } from "./random.mjs";
import { Writer } from "./writer.mjs";

const count = 10_000;
/** Edits of each of two people. Half of them are of keys that the other one edits too. */
const edits = 1000;
const shared = edits / 2;
/** Entries that one of them adds. */
const added = edits / 4;

const key = (number) => `key-${String(number).padStart(6, "0")}`;
const range = (from, to) => Array.from({ length: to - from }, (_, index) => from + index);

for (const isKilled of [false, true]) {
  const title = `${edits} edits made offline merge with ${edits} others made meanwhile${isKilled ? ", after the browser was killed" : ""}`;
  test(title, async (t) => {
    const server = await Server.start(t);
    const line = await Line.start(t, server, new Random(seed, "line"));
    const profile = await Profile.make(t);
    const browser = await startBrowser(t);
    const elsewhere = await openPage(t, browser);
    await visit(elsewhere, `${server.url}/d/elsewhere`);
    const writer = await Writer.open(elsewhere, "merge");
    await writer.seed(count);

    const visitAsAda = async () => {
      const page = await profile.openPage();
      await visit(page, `${line.url}/d/merge`);
      return page;
    };
    let ada = await visitAsAda();
    await settled(ada);
    line.cut("/api/");
    await status(ada, "Connection", "Offline");

    // Shared keys, then those of one person alone: ada adds entries too.
    const hers = [...range(0, shared), ...range(count - added, count + added)].map((number) => [key(number), `ada ${number}`]);
    const theirs = range(0, edits).map((number) => [key(number), `"other ${number}"`]);
    await writer.putAll(theirs.slice(0, shared / 2));
    await setAll(ada, hers);
    await status(ada, "Sync", `${edits} edits saved on this device`);
    await writer.putAll(theirs.slice(shared / 2));
    if (isKilled) {
      await profile.kill();
      ada = await visitAsAda();
      await status(ada, "Connection", "Offline");
      await status(ada, "Sync", `${edits} edits saved on this device`);
      await says(value(ada, key(0)), "ada 0");
    }

    await reconnect(line, ada);
    const ben = await openPage(t, browser);
    await visit(ben, `${server.url}/d/merge`);
    await settled(ben);
    const verified = (page) => page.getByText("Verified", { exact: true }).getAttribute("title");
    assert.equal(await verified(ada), await verified(ben), "both have the server's digest of the same change");

    // Of all values those of edits alone have a space. The others are in the digest.
    const [seen, seenByBen] = await Promise.all([ada, ben].map((page) => find(page, " ")));
    assert.deepEqual(seenByBen, seen);
    assert.equal(line.conflicts.size, shared, "who has not seen the other's edit of a key is in conflict with it");
    for (const [name, json] of line.conflicts.values()) {
      const [winner, loser] = [seen[name], JSON.parse(json)];
      const number = Number(name.slice(4));
      assert.deepEqual([winner, loser].sort(), [`ada ${number}`, `other ${number}`], "neither edit is lost");
      delete seen[name];
    }
    const alone = theirs.slice(shared).map(([name, json]) => [name, JSON.parse(json)]);
    assert.deepEqual(seen, Object.fromEntries([...alone, ...hers.slice(shared)]));
  });
}

/** All keys and values that a search finds on a page that has all entries. */
async function find(page, text) {
  assert.equal(await grid(page).getAttribute("aria-rowcount"), String(1 + count + added));
  await page.getByRole("searchbox", { name: "Search" }).fill(text);
  return shownInAll(page);
}

/** Mends a page's line, and says so to it. An attempt that was cut a moment before lets it wait for up to half a minute. */
async function reconnect(line, page) {
  page.setDefaultTimeout(60_000);
  line.mend();
  await online(page);
  await settled(page);
}

const hour = 3_600_000;

for (const [how, skewMs] of [["ahead", 3 * hour], ["behind", -3 * hour]]) {
  test(`a page whose clock is 3 h ${how} edits and syncs like any other`, async (t) => {
    const server = await Server.start(t);
    const line = await Line.start(t, server, new Random(seed, "line"));
    const browser = await startBrowser(t);
    const [ada, ben] = [await openPage(t, browser, { allowed: lostConnection }), await openPage(t, browser)];
    await ada.addInitScript(shiftClock, skewMs);
    await Promise.all([visit(ada, line.url), visit(ben, server.url)]);
    await Promise.all([settled(ada), settled(ben)]);
    await ada.getByText(`Clock 3 h ${how}`, { exact: true }).waitFor();
    assert.equal(await ben.getByText(/^Clock \d/).filter({ visible: true }).count(), 0);
    /** Each one's edit replaces the other's, as they see it. */
    const takeTurns = async (when) => {
      for (const turn of [1, 2, 3]) {
        for (const [name, writer, reader] of [["ada", ada, ben], ["ben", ben, ada]]) {
          await set(writer, "turn", `${name}'s turn ${turn} ${when}`);
          await says(value(reader, "turn"), `${name}'s turn ${turn} ${when}`);
        }
      }
    };
    await takeTurns("online");

    line.cut("/api/");
    await status(ada, "Connection", "Offline");
    await set(ada, "offline", "by a page that knows the server's time");
    await set(ada, "both", "ada's");
    await set(ben, "both", "ben's");
    await status(ada, "Sync", "2 edits saved on this device");
    await status(ben, "Sync", "Saved");
    await reconnect(line, ada);
    await row(ben, "offline").waitFor();
    await assertAge(ben, "offline", 0);
    await assertAge(ben, "both", 0);
    await takeTurns("again");

    // A page that is opened offline knows no other clock than its own.
    line.cut("/api/");
    await visit(ada, line.url);
    await status(ada, "Connection", "Offline");
    await set(ada, "offline later", "by a page that does not");
    await set(ada, "turn", "ada's, made offline");
    await status(ada, "Sync", "2 edits saved on this device");
    await reconnect(line, ada);
    await says(value(ben, "offline later"), "by a page that does not");
    await says(value(ben, "turn"), "ada's, made offline");
    await takeTurns("in the end");
    await Promise.all([settled(ada), settled(ben)]);
    assert.deepEqual(await shown(ada), await shown(ben));
    await assertAge(ben, "turn", 0);
    // A time that is ahead is refused, and the edit gets another; one that is behind stays.
    await assertAge(ben, "offline later", Math.max(0, -skewMs));
  });
}

/** Runs in the page: its clock is wrong by so many milliseconds. */
function shiftClock(skewMs) {
  const now = Date.now.bind(Date);
  Date.now = () => now() + skewMs;
}

/** An entry says that it was edited so long ago, within the minute by which the server lets clocks differ. */
async function assertAge(page, key, agoMs) {
  const time = await row(page, key).locator("time").getAttribute("datetime");
  const sinceMs = Date.now() - Date.parse(time);
  assert.ok(Math.abs(sinceMs - agoMs) < 60_000, `${key} says ${time}, ${sinceMs} ms ago`);
}
