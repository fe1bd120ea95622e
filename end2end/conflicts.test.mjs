// What people see of conflicts and decide about them, and what a page says that has been away.

import assert from "node:assert/strict";
import { test } from "node:test";
import { field, grid, row, says, set, settled, shown, status, value } from "./entries.mjs";
import { installClock, openPage, Profile, screenshot, Server, startBrowser, visit } from "./harness.mjs";

/** What Chromium itself writes when a WebSocket or a fetch fails; no page can keep it from doing so. */
const lostConnection = [/WebSocket connection to .* failed/, /net::ERR_/];

const dialog = (page, name = "Conflicts") => page.getByRole("dialog", { name, exact: true });
const item = (page, key, name) => dialog(page, name).getByRole("listitem", { name: key, exact: true });
const button = (page, name) => page.getByRole("button", { name, exact: true });
const conflictsButton = (page) => button(page, /^Conflicts \d+$/);

/** What an item says, line by line. */
const lines = async (locator) => (await locator.innerText()).trim().split(/\s*\n\s*/);

/** Says who edits in a page, before it is visited. */
async function name(page, text) {
  const secret = Buffer.from(text.padEnd(16)).toString("hex").slice(0, 32);
  await page.context().addInitScript((author) => localStorage.setItem("keybook.author", author), `${secret} ${text}`);
}

async function openTwo(t, url, options = {}) {
  const browser = await startBrowser(t);
  const pages = [await openPage(t, browser, options), await openPage(t, browser, options)];
  await Promise.all([name(pages[0], "Ada"), name(pages[1], "Ben")]);
  await Promise.all(pages.map((page) => visit(page, url)));
  return pages;
}

/** While the winner edits a key in place, the loser sets it. */
async function conflict(winner, loser, key, [winning, losing]) {
  await set(winner, key, "0");
  await says(value(loser, key), "0");
  await value(winner, key).dblclick();
  await set(loser, key, losing);
  // It lies over the value that changes below it.
  await winner.getByText(/ has set it to .* meanwhile\./s).waitFor();
  await field(winner, `Value of ${key}`).fill(winning);
  await field(winner, `Value of ${key}`).press("Enter");
  await says(value(loser, key), winning);
}

test("a conflict of two who were offline is found by both, and restored by the one who lost", async (t) => {
  const server = await Server.start(t);
  const people = await openTwo(t, server.url, { allowed: lostConnection });
  const [ada, ben] = people;
  await set(ada, "espresso", "2.20");
  await says(value(ben, "espresso"), "2.20");
  await Promise.all(people.map(settled));
  await server.kill();
  await Promise.all(people.map((page) => status(page, "Connection", "Offline")));
  const written = new Map([[ada, "2.40"], [ben, "2.50"]]);
  for (const [page, text] of written) await set(page, "espresso", text);
  await Promise.all(people.map((page) => status(page, "Sync", "1 edit saved on this device")));

  await server.restart();
  await Promise.all(people.map(settled));
  await Promise.all(people.map((page) => says(conflictsButton(page), "Conflicts 1")));
  const { espresso } = await shown(ada);
  assert.deepEqual(await shown(ben), { espresso });
  const [winner, loser] = espresso === written.get(ada) ? [ada, ben] : [ben, ada];
  const [winnerName, loserName] = winner === ada ? ["Ada", "Ben"] : ["Ben", "Ada"];

  await loser.getByText("1 of your edits lost to another’s.").waitFor();
  assert.equal(await winner.getByText("lost to").isVisible(), false, "who won is not alarmed");
  await screenshot(loser, "conflict-notice");
  await button(loser, "Review").click();
  await button(winner, "Conflict of espresso").click();
  for (const page of people) {
    const [key, now, nowValue, nowBy, lost, lostValue, lostBy] = await lines(item(page, "espresso"));
    assert.deepEqual([key, now, nowValue, lost, lostValue], ["espresso", "Now", espresso, "Lost", written.get(loser)]);
    assert.deepEqual([nowBy, lostBy], [`${winnerName}, just now`, `${loserName}, just now`]);
  }
  await button(winner, `Restore ${loserName}’s`).waitFor();
  await screenshot(loser, "conflicts");

  await button(loser, "Restore mine").click();
  await Promise.all(people.map((page) => dialog(page).getByText("No conflict is open.").waitFor()));
  await Promise.all(people.map((page) => page.keyboard.press("Escape")));
  await Promise.all(people.map((page) => dialog(page).waitFor({ state: "hidden" })));
  await Promise.all(people.map(settled));
  for (const page of people) {
    assert.deepEqual(await shown(page), { espresso: written.get(loser) });
    assert.equal(await conflictsButton(page).count(), 0);
    assert.equal(await button(page, "Conflict of espresso").count(), 0);
    assert.equal(await page.getByText("lost to").isVisible(), false);
    assert.equal(await grid(page).evaluate((element) => element === document.activeElement), true, "the focus is kept");
  }
});

test("a dismissed conflict is gone for both, by keyboard too", async (t) => {
  const server = await Server.start(t);
  const [ada, ben] = await openTwo(t, server.url);
  const markup = "<b>2.20</b>";
  await conflict(ben, ada, "espresso", ["2.40", markup]);
  await conflict(ada, ben, "latte", ["3.10", "3.00"]);
  await says(conflictsButton(ada), "Conflicts 2");
  await conflictsButton(ada).press("Enter");
  const keys = await dialog(ada).getByRole("listitem").evaluateAll((items) => items.map((each) => each.ariaLabel));
  assert.deepEqual(keys, ["espresso", "latte"], "one's own come first");
  assert.equal((await lines(item(ada, "espresso")))[5], markup);
  assert.equal(await dialog(ada).locator("b").count(), 0, "a value is no markup");
  await grid(ada).evaluate((element) => element.focus());
  assert.equal(await dialog(ada).evaluate((element) => element.contains(document.activeElement)), true, "it keeps the focus");

  await item(ada, "espresso").getByRole("button", { name: "Dismiss" }).press("Enter");
  await item(ada, "espresso").waitFor({ state: "detached" });
  assert.equal(await dialog(ada).evaluate((element) => element.contains(document.activeElement)), true, "it has it still");
  await says(conflictsButton(ben), "Conflicts 1");
  await ada.keyboard.press("Escape");
  await dialog(ada).waitFor({ state: "hidden" });
  assert.equal(await conflictsButton(ada).evaluate((element) => element === document.activeElement), true, "it goes back");
  for (const page of [ada, ben]) {
    assert.equal(await button(page, "Conflict of espresso").count(), 0);
    await button(page, "Conflict of latte").waitFor();
    assert.deepEqual(await shown(page), { espresso: "2.40", latte: "3.10" });
  }
});

test("a conflict that was decided offline stays so when the browser is killed", async (t) => {
  const server = await Server.start(t);
  const ada = await openPage(t, await startBrowser(t), { allowed: lostConnection });
  await visit(ada, server.url);
  const profile = await Profile.make(t);
  const before = await profile.openPage();
  await visit(before, server.url);
  await conflict(ada, before, "espresso", ["2.40", "2.20"]);
  await conflict(ada, before, "latte", ["3.10", "3.00"]);
  await Promise.all([ada, before].map(settled));
  await server.kill();
  await status(before, "Connection", "Offline");
  await conflictsButton(before).click();
  await item(before, "espresso").getByRole("button", { name: "Restore mine" }).click();
  await item(before, "latte").getByRole("button", { name: "Dismiss" }).click();
  await dialog(before).getByText("No conflict is open.").waitFor();
  await status(before, "Sync", "2 edits saved on this device");
  await profile.kill();
  assert.equal(await conflictsButton(ada).textContent(), "Conflicts 2", "nobody else knows of it");

  await server.restart();
  const after = await profile.openPage();
  await visit(after, server.url);
  await Promise.all([ada, after].map(settled));
  await says(value(ada, "espresso"), "2.20");
  for (const page of [ada, after]) {
    await conflictsButton(page).waitFor({ state: "hidden" });
    assert.deepEqual(await shown(page), { espresso: "2.20", latte: "3.10" });
  }
});

test("a page that was away says what others changed, and what its person has lost", async (t) => {
  const server = await Server.start(t);
  const [ada, ben] = await openTwo(t, server.url, { allowed: lostConnection });
  for (const key of ["changed", "kept", "lost", "removed"]) await set(ada, key, "1");
  await row(ben, "removed").waitFor();
  await settled(ben);
  await ben.close();

  const offline = await ben.context().newPage();
  // An hour ago, so that what is written now is later.
  await installClock(offline, { time: Date.now() - 3_600_000 });
  await offline.routeWebSocket(/./, (socket) => socket.close());
  await visit(offline, server.url);
  await status(offline, "Connection", "Offline");
  await set(offline, "lost", "Ben’s");
  await status(offline, "Sync", "1 edit saved on this device");
  await offline.close();

  await set(ada, "changed", "2");
  await set(ada, "lost", "2");
  await set(ada, "new", "2");
  await row(ada, "removed").hover();
  await button(ada, "Remove removed").click();
  await settled(ada);
  const back = await ben.context().newPage();
  await visit(back, server.url);
  await back.getByText("While you were away: 4 changed, 1 of yours lost.").waitFor();
  await settled(back);
  await screenshot(back, "absence-notice");
  await button(back, "Review").click();
  const changes = (key) => item(back, key, "While you were away");
  const now = "Ada, just now";
  assert.deepEqual(await lines(changes("changed")), ["changed", "Now", "2", now, "Before", "1"]);
  assert.deepEqual(await lines(changes("new")), ["new", "Now", "2", now, "Before", "nothing"]);
  assert.deepEqual(await lines(changes("removed")), ["removed", "Now", "removed", now, "Before", "1"]);
  assert.deepEqual((await lines(changes("lost"))).slice(0, 4), ["lost", "Now", "2", now]);
  assert.equal(await changes("kept").count(), 0);
  await screenshot(back, "absence");
  await dialog(back, "While you were away").getByRole("button", { name: "Close" }).click();
  await dialog(back, "While you were away").waitFor({ state: "hidden" });

  await conflictsButton(back).click();
  await button(back, "Restore mine").click();
  await says(value(ada, "lost"), "Ben’s");
  await back.keyboard.press("Escape");
  await back.getByText("While you were away: 4 changed.").waitFor();
  await button(back, "Close").click();
  assert.equal(await back.getByText("While you were away").isVisible(), false);
  await back.reload();
  await back.locator("body[data-hydrated]").waitFor();
  await settled(back);
  assert.equal(await back.getByText("While you were away").isVisible(), false, "nothing has changed since");
});

test("the dialog fits a phone, in the light and in the dark", async (t) => {
  const server = await Server.start(t);
  const options = { viewport: { width: 360, height: 640 }, hasTouch: true, isMobile: true };
  const [ada, ben] = await openTwo(t, server.url, options);
  const long = `${"a long value that goes on ".repeat(20)}${"x".repeat(200)}`;
  await set(ben, "menu/espresso/price in the evening and on public holidays", "2.20");
  for (const [key, texts] of [["espresso", ["2.40", "2.20"]], ["latte", ["{\"price\":3.10}", long]]]) {
    await set(ben, key, "0");
    await says(value(ada, key), "0");
    await row(ben, key).tap();
    await row(ben, key).tap();
    await set(ada, key, texts[1]);
    await ben.getByText(/ has set it to .* meanwhile\./s).waitFor();
    await field(ben, `Value of ${key}`).fill(texts[0]);
    await field(ben, `Value of ${key}`).press("Enter");
    await says(value(ada, key), texts[0]);
  }
  await ada.getByText("2 of your edits lost to others’.").waitFor();
  await screenshot(ada, "conflict-notice-360");
  // A second tap edits, but for the mark.
  await row(ada, "latte").tap();
  await button(ada, "Conflict of latte").tap();
  await dialog(ada).waitFor();
  assert.equal(await grid(ada).locator(".editor").count(), 0);
  await ada.keyboard.press("Escape");
  for (const colorScheme of ["light", "dark"]) {
    await ada.emulateMedia({ colorScheme });
    await conflictsButton(ada).tap();
    await screenshot(ada, `conflicts-360-${colorScheme}`);
    const fits = await dialog(ada).evaluate((element) => {
      const { left, right, top, bottom } = element.getBoundingClientRect();
      const isInside = left >= 0 && top >= 0 && right <= innerWidth && bottom <= innerHeight;
      return isInside && element.scrollWidth <= element.clientWidth && document.documentElement.scrollWidth <= innerWidth;
    });
    assert.equal(fits, true);
    await ada.keyboard.press("Escape");
  }
  await ada.setViewportSize({ width: 1200, height: 800 });
  await conflictsButton(ada).tap();
  await screenshot(ada, "conflicts-dark");
});
