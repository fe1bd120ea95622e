// What people see whose line to the server is bad.

import assert from "node:assert/strict";
import { test } from "node:test";
import { row, says, set, settled, shown, status, value } from "./entries.mjs";
import { installClock, lostConnection, online, openPage, Server, startBrowser, visit } from "./harness.mjs";
import { Line } from "./line.mjs";
import { Random, seed } from "./random.mjs";

/** How often each kind of fault happens while three people edit. One hold: each costs the 10 s that an answer may take. */
const faults = {
  cut: 6,
  hold: 1,
  "delay of the browser's": 12,
  "delay of the server's": 12,
  "double Push": 8,
  "double Delta": 8,
  "double Ack": 4,
};

/** Edits of a page after which its faults should long have happened. */
const editsMax = 500;

/** Waits until a page is verified as of this change. */
const verifiedAt = (page, seq) => page.getByTitle(new RegExp(`equals the server's, as of change ${seq}\\.$`)).waitFor();

test("three people edit over a line that cuts, holds, delays and doubles, and end with the same", async (t) => {
  t.diagnostic(`KEYBOOK_SEED=${seed}`);
  const server = await Server.start(t);
  const line = await Line.start(t, server, new Random(seed, "line"));
  const browser = await startBrowser(t);
  const people = await Promise.all(["ada", "ben", "cleo"].map(async (name) => {
    const page = await openPage(t, browser, { allowed: lostConnection, viewport: { width: 1000, height: 1500 } });
    await visit(page, line.url);
    return { name, page, random: new Random(seed, name), last: {} };
  }));
  await Promise.all(people.map(({ page }) => settled(page)));

  line.trouble(faults);
  await Promise.all(people.map(async (person) => {
    let edits = 0;
    for (; edits < editsMax && line.planned > 0; edits++) {
      await edit(person, edits);
      // Somebody who waits looks at the page now and then.
      if (edits % 8 === 7) await online(person.page);
    }
    t.diagnostic(`${person.name} made ${edits} edits`);
  }));
  assert.deepEqual(line.happened, faults);

  await Promise.all(people.map(({ page }) => online(page)));
  await Promise.all(people.map(({ page }) => settled(page)));
  // Nothing is on its way any more, so this is the end.
  const judge = await openPage(t, browser, { viewport: { width: 1000, height: 1500 } });
  await visit(judge, server.url);
  await settled(judge);
  const title = await judge.getByText("Verified", { exact: true }).getAttribute("title");
  const seq = Number(/as of change (\d+)\.$/.exec(title)[1]);
  await Promise.all(people.map(({ page }) => verifiedAt(page, seq)));
  assert.equal(line.digests.get(seq).size, 1, "the server has one digest of a change");

  const expected = await shown(judge);
  for (const { name, page } of people) assert.deepEqual(await shown(page), expected, `${name} sees what the server has`);
  const keys = new Set([...Object.keys(expected), ...people.flatMap(({ last }) => Object.keys(last))]);
  for (const key of keys) {
    // Of one person's edits the last one stays, so any other value would mean that it was lost.
    const candidates = people.filter(({ last }) => key in last).map(({ last }) => last[key]);
    assert.ok(candidates.includes(expected[key]), `${key} is ${expected[key]}, and was last ${candidates.join(", ")}`);
  }
});

/** Somebody changes a key that all share, or one that is theirs, or removes a shared one. */
async function edit({ name, page, random, last }, number) {
  const kind = random.below(10);
  const key = kind < 6 ? `shared-${random.below(6)}` : `${name}-${random.below(4)}`;
  if (kind === 0) {
    const isThere = await page.evaluate((label) => {
      const button = document.querySelector(`button[aria-label="${label}"]`);
      button?.click();
      return button !== null;
    }, `Remove ${key}`);
    if (isThere) last[key] = undefined;
    return;
  }
  last[key] = `${name} ${number}`;
  await set(page, key, last[key]);
}

for (const [how, notice] of [
  ["by its own ping", (page) => page.clock.fastForward(5_000)],
  ["at once when somebody looks", (page) => page.evaluate(() => document.dispatchEvent(new Event("visibilitychange")))],
]) {
  test(`a page whose line is held finds out ${how}, and nothing is lost`, async (t) => {
    const server = await Server.start(t);
    const line = await Line.start(t, server, new Random(seed, "line"));
    const browser = await startBrowser(t);
    const [ada, ben] = [await openPage(t, browser), await openPage(t, browser)];
    await installClock(ada);
    await Promise.all([visit(ada, line.url), visit(ben, server.url)]);
    await set(ada, "before", "1");
    await says(value(ben, "before"), "1");
    await status(ada, "Sync", "Saved");

    line.hold();
    await set(ada, "ada", "made on the dead line");
    await set(ben, "ben", "made meanwhile");
    await set(ben, "before", "2");
    await status(ben, "Sync", "Saved");
    await status(ada, "Connection", "Live");
    await status(ada, "Sync", "Saving 1");

    await notice(ada);
    await status(ada, "Connection", "Live");
    await ada.clock.fastForward(10_000);
    await set(ada, "later", "made without a line");
    await settled(ada);
    await says(value(ben, "later"), "made without a line");
    const expected = { ada: "made on the dead line", before: "2", ben: "made meanwhile", later: "made without a line" };
    assert.deepEqual(await shown(ada), expected);
    assert.deepEqual(await shown(ben), expected);
  });
}

test("a page that is offline keeps its edits until it is online again", async (t) => {
  const server = await Server.start(t);
  const browser = await startBrowser(t);
  const [ada, ben] = [await openPage(t, browser, { allowed: lostConnection }), await openPage(t, browser)];
  await Promise.all([visit(ada, server.url), visit(ben, server.url)]);
  await set(ada, "both", "0");
  await says(value(ben, "both"), "0");

  await ada.context().setOffline(true);
  await set(ada, "both", "ada's");
  for (let number = 0; number < 5; number++) await set(ada, `ada-${number}`, String(number));
  await set(ben, "both", "ben's");
  await status(ben, "Sync", "Saved");
  assert.deepEqual(await shown(ben), { both: "ben's" });
  assert.equal(await row(ada, "ada-4").count(), 1);

  await ada.context().setOffline(false);
  // What was written first comes first.
  await row(ben, "ada-4").waitFor();
  await Promise.all([settled(ada), settled(ben)]);
  const { both, ...others } = await shown(ada);
  assert.ok(["ada's", "ben's"].includes(both), both);
  assert.deepEqual(others, Object.fromEntries(Array.from({ length: 5 }, (_, number) => [`ada-${number}`, String(number)])));
  assert.deepEqual(await shown(ben), { both, ...others });
});

test("a first page whose entries never come asks for them again", async (t) => {
  const server = await Server.start(t);
  const line = await Line.start(t, server, new Random(seed, "line"));
  const browser = await startBrowser(t);
  const ben = await openPage(t, browser);
  await visit(ben, server.url);
  await set(ben, "key", "value");
  await status(ben, "Sync", "Saved");

  const ada = await openPage(t, browser, { allowed: lostConnection });
  await installClock(ada);
  line.holdAnswers("/snapshot");
  await visit(ada, line.url);
  await status(ada, "Connection", "Connecting");
  line.holdAnswers(undefined);
  await ada.clock.fastForward(60_000);
  await settled(ada);
  assert.deepEqual(await shown(ada), { key: "value" });
});
