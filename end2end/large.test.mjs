// A dictionary of 100 000 entries.

import assert from "node:assert/strict";
import { test } from "node:test";
import { field, grid, row, says, set, settled, shown, value } from "./entries.mjs";
import { openPage, screenshot, Server, startBrowser, visit } from "./harness.mjs";
import { Writer } from "./writer.mjs";

const count = 100_000;
const last = `key-${String(count - 1).padStart(6, "0")}`;

test("100 000 entries open and scroll, a window of them at a time", async (t) => {
  const server = await Server.start(t);
  const browser = await startBrowser(t);
  const writer = await openPage(t, browser);
  await visit(writer, `${server.url}/d/other`);
  const writing = await Writer.open(writer, "large");
  await writing.seed(count);
  await writing.close();

  const page = await openPage(t, browser, { viewport: { width: 1200, height: 800 } });
  const opened = performance.now();
  await visit(page, `${server.url}/d/large`);
  await row(page, "key-000000").waitFor();
  t.diagnostic(`alive after ${Math.round(performance.now() - opened)} ms`);
  await settled(page);
  t.diagnostic(`read and verified after ${Math.round(performance.now() - opened)} ms`);

  const rendered = () => grid(page).locator("[role=row]").count();
  assert.equal(await grid(page).getAttribute("aria-rowcount"), String(count + 1));
  assert.ok((await rendered()) < 200, `${await rendered()} rows are in the document`);

  await grid(page).focus();
  await page.keyboard.press("End");
  await says(value(page, last), String(count - 1));
  assert.equal(await row(page, last).getAttribute("aria-rowindex"), String(count + 1));
  assert.ok((await rendered()) < 200, `${await rendered()} rows are in the document`);
  await screenshot(page, "large");

  // The middle, by the scrollbar: the rows that are seen are those of the position.
  await grid(page).evaluate((element) => (element.scrollTop = element.scrollHeight / 2));
  await row(page, "key-050000").waitFor();
  await page.keyboard.press("Home");
  await row(page, "key-000000").waitFor();

  const frames = await grid(page).evaluate(async (element) => {
    const times = [];
    let before = performance.now();
    for (let step = 0; step < 120; step++) {
      element.scrollTop += 400;
      const now = await new Promise(requestAnimationFrame);
      times.push(now - before);
      before = now;
    }
    return times.sort((a, b) => a - b);
  });
  t.diagnostic(`frames while scrolling: median ${frames[60].toFixed(1)} ms, 95 % ${frames[114].toFixed(1)} ms`);

  const searched = await page.getByRole("searchbox", { name: "Search" }).evaluate(async (field) => {
    const began = performance.now();
    field.value = "99999";
    field.dispatchEvent(new Event("input", { bubbles: true }));
    await new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve)));
    return performance.now() - began;
  });
  t.diagnostic(`a search is shown after ${Math.round(searched)} ms`);
  await row(page, "key-000000").waitFor({ state: "detached" });
  assert.deepEqual(await shown(page), { [last]: String(count - 1) });
  await page.getByRole("searchbox", { name: "Search" }).fill("");

  await set(page, "zebra", "new");
  await says(value(page, "zebra"), "new");
  await settled(page);
  assert.equal(await grid(page).getAttribute("aria-rowcount"), String(count + 2));
});

test("a flood of changes does not freeze the page", async (t) => {
  const server = await Server.start(t);
  const browser = await startBrowser(t);
  const [page, writer] = [await openPage(t, browser), await openPage(t, browser)];
  await Promise.all([visit(page, `${server.url}/d/large`), visit(writer, `${server.url}/d/other`)]);
  await settled(page);
  const writing = await Writer.open(writer, "large");
  const flood = writing.seed(20_000);
  await row(page, "key-000000").waitFor();
  await field(page, "Key").fill("amid");
  await field(page, "Value").fill("the flood");
  await field(page, "Value").press("Enter");
  await says(value(page, "amid"), "the flood");
  await flood;
  await writing.close();
  await settled(page);
  assert.equal(await grid(page).getAttribute("aria-rowcount"), "20002");
});
