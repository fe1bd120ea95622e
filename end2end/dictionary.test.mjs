// What two people see who edit the same dictionary.

import assert from "node:assert/strict";
import { test } from "node:test";
import { field, grid, row, says, set, settled, shown, state, status, value } from "./entries.mjs";
import { lostConnection, openPage, Server, startBrowser, visit } from "./harness.mjs";

async function openTwo(t, path = "/", options = {}) {
  const server = await Server.start(t);
  const browser = await startBrowser(t);
  const [ada, ben] = [await openPage(t, browser, options), await openPage(t, browser, options)];
  await Promise.all([ada, ben].map((page) => visit(page, server.url + path)));
  return { server, ada, ben };
}

test("two browsers agree on what is added, changed and removed", async (t) => {
  const { ada, ben } = await openTwo(t);
  await set(ada, "colour", "blue");
  await set(ben, "size", "42");
  await says(value(ben, "colour"), "blue");
  await says(value(ada, "size"), "42");

  await value(ben, "colour").dblclick();
  await field(ben, "Value of colour").fill("green");
  await field(ben, "Value of colour").press("Enter");
  await says(value(ada, "colour"), "green");

  await row(ada, "size").hover();
  await ada.getByRole("button", { name: "Remove size" }).click();
  await row(ben, "size").waitFor({ state: "detached" });
  await ada.getByRole("button", { name: "Undo the removal" }).click();
  await says(value(ben, "size"), "42");

  await Promise.all([settled(ada), settled(ben)]);
  assert.deepEqual(await shown(ada), { colour: "green", size: "42" });
  assert.deepEqual(await shown(ben), await shown(ada));
});

test("values are text or JSON, as they are typed, and never markup", async (t) => {
  const { ada, ben } = await openTwo(t, "/d/values");
  const typed = {
    array: "[1, 2]",
    markup: "<img src=x onerror=alert(1)>",
    number: "7.50",
    quoted: '"7"',
    text: "007",
    true: "true",
  };
  for (const [key, text] of Object.entries(typed)) await set(ada, key, text);
  await says(value(ben, "true"), "true");
  assert.deepEqual(await shown(ben), { ...typed, array: "[1,2]" });
  assert.equal(await grid(ben).locator("img").count(), 0);
});

test("an edit is on the screen in the next frame, without a server", async (t) => {
  const { server, ada } = await openTwo(t, "/", { allowed: lostConnection });
  await settled(ada);
  await server.kill();
  await status(ada, "Connection", "Offline");
  await field(ada, "Key").fill("speed");
  await field(ada, "Value").fill("at once");
  const text = await ada.evaluate(async () => {
    document.querySelector("form button").click();
    await new Promise((resolve) => requestAnimationFrame(() => requestAnimationFrame(resolve)));
    return document.querySelector("[role=row][aria-label=speed]")?.textContent;
  });
  assert.match(text, /at once/);
  await says(state(ada, "speed"), "On this device");
  await status(ada, "Sync", "1 edit saved on this device");
});

test("a server killed and started again while both edit loses nothing", async (t) => {
  const { server, ada, ben } = await openTwo(t, "/", { allowed: lostConnection });
  await set(ada, "before", "1");
  await says(value(ben, "before"), "1");
  await Promise.all([settled(ada), settled(ben)]);

  await server.kill();
  await Promise.all([ada, ben].map((page) => status(page, "Connection", "Offline")));
  for (let number = 0; number < 5; number++) {
    await set(ada, `ada-${number}`, String(number));
    await set(ben, `ben-${number}`, String(number));
  }
  await value(ben, "before").dblclick();
  await field(ben, "Value of before").fill("2");
  await field(ben, "Value of before").press("Enter");
  await server.restart();

  await Promise.all([settled(ada), settled(ben)]);
  const numbered = (name) => Array.from({ length: 5 }, (_, number) => [`${name}-${number}`, String(number)]);
  const expected = Object.fromEntries([...numbered("ada"), ["before", "2"], ...numbered("ben")]);
  await says(value(ada, "before"), "2");
  await row(ada, "ben-4").waitFor();
  await row(ben, "ada-4").waitFor();
  assert.deepEqual(await shown(ada), expected);
  assert.deepEqual(await shown(ben), expected);
});

test("what is being typed is not overwritten by what others write", async (t) => {
  const { ada, ben } = await openTwo(t);
  await set(ada, "title", "draft");
  await value(ben, "title").dblclick();
  await field(ben, "Value of title").fill("ben's");
  await set(ada, "title", "ada's");
  await ben.getByText(/ has set it to .* meanwhile\./s).waitFor();
  assert.equal(await field(ben, "Value of title").inputValue(), "ben's");
  await field(ben, "Value of title").press("Escape");
  await says(value(ben, "title"), "ada's");
});

test("the keyboard is enough", async (t) => {
  const { ada, ben } = await openTwo(t);
  await field(ada, "Key").focus();
  for (const [key, text] of [["one", "1"], ["two", "2"], ["three", "3"]]) {
    await ada.keyboard.type(key);
    await ada.keyboard.press("Enter");
    await ada.keyboard.type(text);
    await ada.keyboard.press("Enter");
    await says(value(ada, key), text);
  }
  // From the form over its button, the search, Undo and This device to the grid.
  for (let stop = 0; stop < 6; stop++) await ada.keyboard.press("Tab");
  await ada.waitForFunction(() => document.activeElement.getAttribute("role") === "grid");
  const current = () => ada.locator("[role=row]:has(#cursor)").getAttribute("aria-label");
  await ada.keyboard.press("Home");
  assert.equal(await current(), "one");
  await ada.keyboard.press("ArrowDown");
  assert.equal(await current(), "three");
  await ada.keyboard.press("End");
  assert.equal(await current(), "two");
  await ada.keyboard.press("ArrowUp");

  await ada.keyboard.press("Enter");
  await ada.keyboard.type("drei");
  await ada.keyboard.press("Enter");
  await says(value(ben, "three"), "drei");
  await ada.keyboard.press("Enter");
  await ada.keyboard.type("forgotten");
  await ada.keyboard.press("Escape");
  await says(value(ada, "three"), "drei");
  await ada.keyboard.press("Delete");
  await row(ben, "three").waitFor({ state: "detached" });
  assert.equal(await current(), "two");
  assert.deepEqual(await shown(ada), { one: "1", two: "2" });
});

test("Enter that ends a composition commits nothing", async (t) => {
  const { ada } = await openTwo(t);
  await set(ada, "word", "old");
  await value(ada, "word").dblclick();
  const editor = field(ada, "Value of word");
  await editor.fill("にほん");
  await editor.dispatchEvent("keydown", { key: "Enter", isComposing: true, bubbles: true });
  assert.equal(await editor.inputValue(), "にほん");
  await editor.press("Enter");
  await says(value(ada, "word"), "にほん");

  await field(ada, "Key").fill("another");
  await field(ada, "Value").fill("かな");
  await field(ada, "Value").dispatchEvent("keydown", { key: "Enter", isComposing: true, bubbles: true });
  assert.equal(await field(ada, "Value").inputValue(), "かな");
  assert.equal(await row(ada, "another").count(), 0);
});

test("a refused edit says what it was and what the limit is", async (t) => {
  const { ada } = await openTwo(t);
  for (const [key, text, message] of [
    ["", "1", "key is empty"],
    ["k".repeat(513), "1", "key is 513 bytes, limit is 512"],
    ["long", "v".repeat(70_000), "value is 70002 bytes, limit is 65536"],
  ]) {
    await set(ada, key, text);
    await ada.getByText(message).waitFor();
    assert.equal(await field(ada, "Value").inputValue(), text, "what was typed stays");
  }
  await set(ada, "colour", "blue");
  await field(ada, "Key").fill("colour");
  await ada.getByText("replaces blue").waitFor();
});

test("the search narrows by key and by value, and offers what it does not find", async (t) => {
  const { ada } = await openTwo(t);
  await set(ada, "alpha", "first");
  await set(ada, "beta", "second");
  const search = ada.getByRole("searchbox", { name: "Search" });
  await search.fill("ALPH");
  await row(ada, "beta").waitFor({ state: "detached" });
  await search.fill("second");
  await row(ada, "beta").waitFor();
  assert.deepEqual(await shown(ada), { beta: "second" });
  await search.fill("gamma");
  await ada.getByRole("button", { name: "Add “gamma”" }).click();
  assert.equal(await field(ada, "Key").inputValue(), "gamma");
});

test("a person has a name, and keeps it", async (t) => {
  const { ada, ben } = await openTwo(t);
  await ada.getByRole("button", { name: /^You are / }).click();
  await field(ada, "Your name").fill("Ada Lovelace");
  await field(ada, "Your name").press("Enter");
  await ada.getByRole("button", { name: "You are Ada Lovelace" }).waitFor();
  await set(ada, "engine", "analytical");
  await row(ben, "engine").getByText("Ada Lovelace").waitFor();
  await settled(ada);
  await ada.reload();
  await ada.getByRole("button", { name: "You are Ada Lovelace" }).waitFor();
});

test("without JavaScript the first entries can be read", async (t) => {
  const { server, ada } = await openTwo(t);
  await set(ada, "colour", "blue");
  await settled(ada);
  const reader = await openPage(t, ada.context().browser(), { javaScriptEnabled: false });
  await reader.goto(server.url);
  await says(value(reader, "colour"), "blue");
  await row(reader, "colour").locator("time").waitFor();
  assert.equal(await field(reader, "Key").count(), 0);
});
