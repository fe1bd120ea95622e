// What is typed and not yet set: it is neither published nor lost by anything that nobody asked for.

import assert from "node:assert/strict";
import { test } from "node:test";
import { field, grid, row, says, set, setAll, settled, value } from "./entries.mjs";
import { openPage, Server, startBrowser, visit } from "./harness.mjs";

const keys = Array.from({ length: 200 }, (_, number) => `k${String(number).padStart(3, "0")}`);

/** Two who have a dictionary of many entries open. */
async function openMany(t) {
  const server = await Server.start(t);
  const browser = await startBrowser(t);
  const [ada, ben] = [await openPage(t, browser), await openPage(t, browser)];
  await Promise.all([ada, ben].map((page) => visit(page, server.url)));
  await setAll(ada, keys.map((key) => [key, "whole"]));
  await Promise.all([ada, ben].map(settled));
  return { ada, ben };
}

/** Ada edits one of them, half way. */
async function openHalf(t, key) {
  const { ada, ben } = await openMany(t);
  // The form has gone to the last.
  await grid(ada).evaluate((grid) => grid.scrollTo(0, 0));
  await row(ada, "k000").waitFor();
  await value(ada, key).dblclick();
  await field(ada, `Value of ${key}`).fill("half");
  return { ada, ben };
}

/** The editor is in sight, holds what was typed, and has the focus. */
async function isOpen(page, key) {
  const editor = field(page, `Value of ${key}`);
  assert.equal(await editor.inputValue(), "half");
  assert.ok(await editor.evaluate((field) => field === document.activeElement), "it has the focus");
  const [box, frame] = [await editor.boundingBox(), await grid(page).boundingBox()];
  assert.ok(box.y >= frame.y && box.y + box.height <= frame.y + frame.height, JSON.stringify({ box, frame }));
}

const scroll = (page, top) =>
  grid(page).evaluate(async (grid, top) => {
    grid.scrollTop = top;
    for (let frame = 0; frame < 3; frame++) await new Promise((resolve) => requestAnimationFrame(resolve));
  }, top);

test("scrolling publishes nothing, and the row that is edited stays in sight", async (t) => {
  const { ada, ben } = await openHalf(t, "k003");
  for (const top of [3000, 7000, 1000, 0, 5000]) {
    await scroll(ada, top);
    await isOpen(ada, "k003");
  }
  await settled(ada);
  assert.equal(await value(ben, "k003").textContent(), "whole");
  await ada.keyboard.type("way");
  await ada.keyboard.press("Enter");
  await says(value(ben, "k003"), "halfway");
});

test("inserts, a search and a removal publish nothing", async (t) => {
  const { ada, ben } = await openHalf(t, "k003");
  await setAll(ben, Array.from({ length: 100 }, (_, number) => [`a${number}`, "new"]));
  await ada.getByText("300 entries", { exact: true }).waitFor();
  await isOpen(ada, "k003");
  await ada.getByRole("searchbox").evaluate((field) => {
    field.value = "a99";
    field.dispatchEvent(new Event("input", { bubbles: true }));
  });
  await row(ada, "a99").waitFor();
  await isOpen(ada, "k003");
  await grid(ben).evaluate((grid) => grid.scrollTo(0, 100 * 36));
  await row(ben, "k003").hover();
  await ben.getByRole("button", { name: "Remove k003" }).click();
  await ada.getByText("It was removed meanwhile. Enter sets it again, Escape leaves it removed.").waitFor();
  await isOpen(ada, "k003");
  await ada.keyboard.press("Escape");
  await row(ada, "k003").waitFor({ state: "detached" });
  await settled(ada);
  assert.equal(await ada.getByRole("button", { name: /^Unfinished/ }).isVisible(), false);
});

test("a click elsewhere writes what is valid, and keeps what somebody else has overtaken", async (t) => {
  const { ada, ben } = await openHalf(t, "k003");
  await value(ada, "k005").click();
  await says(value(ben, "k003"), "half");

  await value(ada, "k004").dblclick();
  await field(ada, "Value of k004").fill("mine");
  await set(ben, "k004", "theirs");
  await ada.getByText(/ has set it to theirs meanwhile\. Enter replaces that, Escape keeps it\./).waitFor();
  await value(ada, "k006").click();
  await field(ada, "Value of k004").waitFor({ state: "detached" });
  await settled(ada);
  assert.equal(await value(ben, "k004").textContent(), "theirs");
  await ada.getByRole("button", { name: "Unfinished: k004", exact: true }).click();
  assert.equal(await field(ada, "Value of k004").inputValue(), "mine");
  await field(ada, "Value of k004").press("Enter");
  await says(value(ben, "k004"), "mine");
  assert.equal(await ada.getByRole("button", { name: /^Unfinished/ }).isVisible(), false);
});

test("Tab writes what is edited and goes on", async (t) => {
  const { ada, ben } = await openHalf(t, "k003");
  await ada.keyboard.press("Tab");
  await says(value(ben, "k003"), "half");
  await field(ada, "Value of k003").waitFor({ state: "detached" });
});

test("a press hits the row that is under the pointer, whatever others insert", async (t) => {
  const { ada, ben } = await openMany(t);
  // The first press: the grid has had no focus.
  await grid(ben).evaluate((grid) => grid.scrollTo(0, 3010));
  const target = row(ben, "k090");
  await target.waitFor();
  const before = await target.boundingBox();
  await ben.mouse.move(before.x + 200, before.y + 10);
  await setAll(ada, Array.from({ length: 40 }, (_, number) => [`a${number}`, "new"]));
  await ben.getByText("240 entries", { exact: true }).waitFor();
  await ben.mouse.down();
  await setAll(ada, Array.from({ length: 40 }, (_, number) => [`b${number}`, "new"]));
  await ben.getByText("280 entries", { exact: true }).waitFor();
  await ben.mouse.up();
  await grid(ben).locator(".row.current").waitFor();
  assert.equal(await grid(ben).locator(".row.current").getAttribute("aria-label"), "k090");
  const after = await target.boundingBox();
  assert.ok(Math.abs(after.y - before.y) <= 1, JSON.stringify({ before, after }));
});
