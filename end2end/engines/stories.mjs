// What people do with the page, told once and played in each engine.
//
// It is a small part of what the other tests here check in Chromium alone: enough that nothing essential is missing.

import assert from "node:assert/strict";
import { mkdir } from "node:fs/promises";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { atEnd, Server } from "../harness.mjs";
import { Line } from "../line.mjs";
import { Random, seed } from "../random.mjs";
import { Person } from "./person.mjs";

const results = fileURLToPath(new URL("../results", import.meta.url));

/** Somebody with a browser and a line of their own. */
async function meet(t, engine, server, look) {
  const line = await Line.start(t, server, new Random(seed, "line"));
  const person = new Person(await engine.meet(t, look));
  atEnd(t, () => person.assertWell());
  return { person, line, url: `${line.url}/d/smoke` };
}

/** Two who look at the same dictionary. */
async function meetTwo(t, engine) {
  const server = await Server.start(t);
  const both = await Promise.all([meet(t, engine, server), meet(t, engine, server)]);
  await Promise.all(both.map(({ person, url }) => person.visit(url)));
  await Promise.all(both.map(({ person }) => person.settles()));
  return both;
}

/** Cuts somebody's line, and waits until they see it. */
async function leave({ person, line }) {
  line.cut();
  await person.until((seen) => seen.connection === "Offline");
}

/** Mends somebody's line, and waits until all is well. */
async function comeBack({ person, line }) {
  line.mend();
  await person.goOnline();
  await person.settles();
}

export const stories = {
  async "the parts have their roles and names"(t, engine) {
    const [{ person: ada }] = await meetTwo(t, engine);
    for (const [role, name] of [
      ["textbox", "Key"],
      ["textbox", "Value"],
      ["button", "Set"],
      ["searchbox", "Search"],
      ["grid", "Entries"],
      ["status", "Connection"],
      ["status", "Sync"],
      ["button", "Undo"],
      ["button", "Redo"],
    ]) {
      await ada.find(role, name);
    }
    await ada.set("espresso", "2.20");
    await ada.openValue("espresso");
    await ada.find("textbox", "Value of espresso");
    await ada.press("Escape");
    await ada.find("button", "Remove espresso");
  },

  async "two people edit and see each other"(t, engine) {
    const [{ person: ada }, { person: ben }] = await meetTwo(t, engine);
    await ada.set("colour", "blue");
    await ben.set("size", "42");
    await ben.says("colour", "blue");
    await ada.says("size", "42");

    await ben.openValue("colour");
    await ben.press("a", { control: true });
    await ben.type("green");
    await ben.press("Enter");
    await ada.says("colour", "green");

    await ada.openValue("size");
    await ada.press("Escape");
    await ada.click("button", "Remove size");
    await ben.says("size", undefined);
    await ada.click("button", "Undo the removal");
    await ben.says("size", "42");
    await Promise.all([ada.settles(), ben.settles()]);
    for (const person of [ada, ben]) await person.shows({ colour: "green", size: "42" });
  },

  async "who was offline comes back, and all is merged"(t, engine) {
    const [ada, ben] = await meetTwo(t, engine);
    await leave(ben);
    await ben.person.set("espresso", "2.20");
    await ben.person.set("latte", "3.10");
    await ben.person.isIn("Offline", "2 edits saved on this device");
    await ada.person.set("tea", "2.80");
    await comeBack(ben);
    await ada.person.says("latte", "3.10");
    for (const { person } of [ada, ben]) {
      await person.shows({ espresso: "2.20", latte: "3.10", tea: "2.80" });
    }
  },

  async "what was edited offline is there after a reload, and merges"(t, engine) {
    const [ada, ben] = await meetTwo(t, engine);
    await ada.person.set("tea", "2.80");
    await ben.person.says("tea", "2.80");
    await ben.person.settles();
    // The page comes through, its connection does not.
    ben.line.cut("/api/");
    await ben.person.until((seen) => seen.connection === "Offline");
    await ben.person.set("espresso", "2.20");
    await ben.person.isIn("Offline", "1 edit saved on this device");
    await ben.person.reload();
    await ben.person.says("espresso", "2.20");
    await ben.person.isIn("Offline", "1 edit saved on this device");
    await ben.person.set("latte", "3.10");
    await ben.person.isIn("Offline", "2 edits saved on this device");
    await ada.person.set("tea", "3.00");
    await comeBack(ben);
    await ada.person.says("latte", "3.10");
    for (const { person } of [ada, ben]) {
      await person.shows({ espresso: "2.20", latte: "3.10", tea: "3.00" });
    }
  },

  async "the page opens without its server"(t, engine) {
    const [ada, ben] = await meetTwo(t, engine);
    await ada.person.set("tea", "2.80");
    await ben.person.says("tea", "2.80");
    await ben.person.settles();
    await ben.person.canOpenAlone();
    await leave(ben);
    await ben.person.set("espresso", "2.20");
    await ben.person.isIn("Offline", "1 edit saved on this device");
    await ben.person.reload();
    await ben.person.isIn("Offline", "1 edit saved on this device");
    await ben.person.shows({ espresso: "2.20", tea: "2.80" });
    await comeBack(ben);
    await ada.person.says("espresso", "2.20");
  },

  async "undo and redo"(t, engine) {
    const [{ person: ada }, { person: ben }] = await meetTwo(t, engine);
    await ada.set("tea", "1");
    await ada.set("tea", "2");
    await ben.says("tea", "2");
    await ada.click("button", "Undo");
    await ben.says("tea", "1");
    await ada.click("button", "Redo");
    await ben.says("tea", "2");
    await ada.openValue("tea");
    await ada.press("Escape");
    await ada.press("z", { control: true });
    await ben.says("tea", "1");
    await ada.press("z", { control: true });
    await ben.says("tea", undefined);
    await ada.press("Z", { control: true, shift: true });
    await ben.says("tea", "1");
  },

  async "a conflict is shown to who lost, who restores it"(t, engine) {
    const both = await meetTwo(t, engine);
    const [ada, ben] = both;
    await ada.person.set("espresso", "2.20");
    await ben.person.says("espresso", "2.20");
    for (const { person } of both) await person.settles();
    await leave(ada);
    await leave(ben);
    await ada.person.set("espresso", "2.40");
    await ben.person.set("espresso", "2.50");
    for (const { person } of both) await person.isIn("Offline", "1 edit saved on this device");
    await comeBack(ada);
    await comeBack(ben);
    for (const { person } of both) await person.until((seen) => seen.buttons.includes("Conflicts 1"));

    const { espresso } = await ada.person.entries();
    await ben.person.shows({ espresso });
    const [winner, loser, lost] = espresso === "2.40" ? [ada.person, ben.person, "2.50"] : [ben.person, ada.person, "2.40"];
    await loser.until((seen) => seen.said.some((text) => text.startsWith("1 of your edits lost to another’s.")));
    assert.ok(!(await winner.see()).said.some((text) => text.includes("lost to")), "who won is not alarmed");
    await loser.click("button", "Review");
    await loser.find("dialog", "Conflicts");
    await loser.until((seen, values) => values.every((value) => seen.dialog?.includes(value)), ["2.40", "2.50"]);
    await loser.click("button", "Restore mine");
    await loser.until((seen) => seen.dialog?.includes("No conflict is open."));
    await loser.press("Escape");
    await loser.until((seen) => seen.dialog === null && seen.focus === "Entries");
    await winner.says("espresso", lost);
    for (const person of [winner, loser]) {
      await person.settles();
      await person.until((seen) => !seen.buttons.some((name) => name.startsWith("Conflicts")));
    }
  },

  async "the keyboard is enough"(t, engine) {
    const [{ person: ada }, { person: ben }] = await meetTwo(t, engine);
    await ada.click("textbox", "Key");
    for (const [key, text] of [["one", "1"], ["two", "2"], ["three", "3"]]) {
      await ada.type(key);
      await ada.press("Enter");
      await ada.until((seen) => seen.focus === "Value");
      await ada.type(text);
      await ada.press("Enter");
      await ada.until((seen, [key, text]) => seen.rows[key]?.value === text && seen.focus === "Key", [key, text]);
    }
    // From the form over its button, the search, Undo and This device to the grid.
    for (let stop = 0; stop < 6; stop++) await ada.press("Tab");
    await ada.until((seen) => seen.focus === "Entries");
    const cursorAt = (key) => ada.until((seen, key) => seen.rows[key]?.hasCursor, key);
    await ada.press("Home");
    await cursorAt("one");
    await ada.press("ArrowDown");
    await cursorAt("three");
    await ada.press("End");
    await cursorAt("two");
    await ada.press("ArrowUp");
    await cursorAt("three");

    for (const [opening, typed, leaving, value] of [
      ["Enter", "drei", "Enter", "drei"],
      ["F2", "forgotten", "Escape", "drei"],
    ]) {
      await ada.press(opening);
      await ada.until((seen) => seen.focus === "Value of three");
      await ada.type(typed);
      await ada.until((seen, typed) => seen.typed === typed, typed);
      await ada.press(leaving);
      await ada.until((seen) => seen.focus === "Entries");
      await ada.says("three", value);
    }
    await ben.says("three", "drei");
    await ada.press("Delete");
    await ben.says("three", undefined);
    await cursorAt("two");
    await ada.shows({ one: "1", two: "2" });
  },

  async "two tabs agree offline, and what one leaves is the other's"(t, engine) {
    const server = await Server.start(t);
    const { person: first, line, url } = await meet(t, engine, server);
    await first.visit(url);
    await first.set("espresso", "2.20");
    await first.settles();
    const second = await first.beside();
    await second.visit(url);
    await second.settles();
    line.cut();
    for (const tab of [first, second]) await tab.until((seen) => seen.connection === "Offline");
    await second.set("latte", "3.10");
    await second.isIn("Offline", "1 edit saved on this device");
    await first.says("latte", "3.10");
    await first.set("espresso", "2.40");
    await second.says("espresso", "2.40");
    await second.close();
    await first.isIn("Offline", "2 edits saved on this device");
    await comeBack({ person: first, line });
    const other = await meet(t, engine, server);
    await other.person.visit(other.url);
    await other.person.settles();
    await other.person.shows({ espresso: "2.40", latte: "3.10" });
  },

  async "what the engine lacks is said"(t, engine) {
    const server = await Server.start(t);
    const { person, url } = await meet(t, engine, server);
    await person.visit(url);
    await person.settles();
    await person.click("button", "This device");
    const tellsRoom = await person.evaluate(() => typeof navigator.storage?.estimate === "function");
    t.diagnostic(`${engine.name} ${tellsRoom ? "says" : "does not say"} how much room there is`);
    const expected = tellsRoom ? "This site takes" : "This browser does not say how much room there is";
    await person.until((seen, expected) => seen.panel?.includes(expected), expected);
    await person.press("Escape");
    await person.until((seen) => seen.panel === null);
    const lacking = await person.evaluate(() =>
      ["BroadcastChannel", "indexedDB", "isSecureContext"]
        .filter((name) => !window[name])
        .concat(["locks", "serviceWorker"].filter((name) => !(name in navigator))),
    );
    assert.deepEqual(lacking, [], "the page has other ways without these, which are not tried here");
  },

  async "the page fits wide and narrow windows, light and dark"(t, engine) {
    const server = await Server.start(t);
    await mkdir(results, { recursive: true });
    for (const isDark of [false, true]) {
      const { person, url } = await meet(t, engine, server, { isDark });
      const kind = `${engine.name.toLowerCase()}-${isDark ? "dark" : "light"}`;
      const shoot = (part) => person.picture(path.join(results, `${kind}-${part}.png`));
      await person.visit(url);
      await person.set(isDark ? "dark" : "light", "a value that is longer than a narrow window is wide");
      await person.settles();
      for (const [size, width, height] of [["wide", 1200, 800], ["narrow", 360, 740]]) {
        await person.resize(width, height);
        await shoot(size);
        const measured = await person.evaluate(() => ({
          window: innerWidth,
          page: document.documentElement.scrollWidth,
          grid: document.querySelector("[role=grid]").clientHeight,
        }));
        assert.equal(measured.window, width);
        assert.ok(measured.page <= width, `${size}: the page is ${measured.page} px wide`);
        assert.ok(measured.grid >= 190, `${size}: the grid is ${measured.grid} px high`);
        await person.click("button", "This device");
        await person.until((seen) => seen.panel !== null);
        await shoot(`${size}-device`);
        await person.press("Escape");
        await person.until((seen) => seen.panel === null);
      }
    }
  },
};
