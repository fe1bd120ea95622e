// Somebody at a page, in whatever engine: what they do, and what they see.
//
// A driver (chromium.mjs, firefox.mjs, webkit.mjs) has for each page an object of the same few methods; everything else is here,
// once. Nothing sleeps: a person waits until the page shows something, and looks again at each change.

import assert from "node:assert/strict";

/** How long anything may take that is waited for, in milliseconds: far above what it takes. */
const patienceMs = 20_000;

/** A person at a page. */
export class Person {
  #tab;

  constructor(tab) {
    this.#tab = tab;
  }

  /** The same person at another page. */
  async beside() {
    return new Person(await this.#tab.beside());
  }

  // What they do.

  /** Goes to an address and waits until the page reacts. */
  async visit(url) {
    await this.#tab.go(url);
    await this.#begin();
  }

  async reload() {
    await this.#tab.reload();
    await this.#begin();
  }

  async click(role, name) {
    await this.#tab.click(await this.find(role, name));
  }

  /** Clicks twice on the value of a key. */
  async openValue(key) {
    await this.until((seen, key) => key in seen.rows, key);
    await this.#tab.doubleClick(`[role=row][aria-label="${key}"] [role=rowheader] + [role=gridcell]`);
    await this.until((seen, key) => seen.focus === `Value of ${key}`, key);
  }

  /** Types into what has the focus. */
  type(text) {
    return this.#tab.type(text);
  }

  /** Presses a key, perhaps while others are held. */
  press(key, held) {
    return this.#tab.press(key, held);
  }

  /** Types into a field instead of what is there. */
  async fill(role, name, text) {
    await this.click(role, name);
    await this.press("a", { control: true });
    await this.type(text);
  }

  /** Sets an entry by the form. */
  async set(key, text) {
    await this.fill("textbox", "Key", key);
    await this.fill("textbox", "Value", text);
    await this.click("button", "Set");
    await this.until((seen, [key, text]) => seen.rows[key]?.value === text, [key, text]);
  }

  /** Says that the network is back, as a browser does. */
  goOnline() {
    return this.evaluate(() => void window.dispatchEvent(new Event("online")));
  }

  resize(width, height) {
    return this.#tab.resize(width, height);
  }

  picture(path) {
    return this.#tab.picture(path);
  }

  close() {
    return this.#tab.close();
  }

  // What they see.

  /** The element of a role and a name, once there is exactly one. */
  async find(role, name) {
    const patience = AbortSignal.timeout(patienceMs);
    for (;;) {
      const found = await this.#tab.find(role, name);
      if (found.length === 1) return found[0];
      if (patience.aborted) assert.fail(`${found.length} of role ${role} are called "${name}":\n${await this.#describe()}`);
      // Engines tell screen readers of a change some time after it.
      await this.#frame();
    }
  }

  /** What the page shows now; see `look`. */
  see() {
    return this.evaluate(look);
  }

  /** All keys and values that the page shows, once it has drawn what it knows. */
  async entries() {
    await this.#frame();
    await this.#frame();
    const { rows } = await this.see();
    return Object.fromEntries(Object.entries(rows).map(([key, { value }]) => [key, value]));
  }

  /** Waits until the page shows something: `ask` runs in the page, with what is seen and an argument. Returns its answer. */
  async until(ask, argument = null) {
    const answer = await this.#tab.run(`(${watch})(${look}, ${ask}, ${JSON.stringify(argument)}, ${patienceMs})`);
    if (answer) return answer;
    const asked = `${ask} with ${JSON.stringify(argument)}`;
    assert.fail(`not seen within ${patienceMs} ms: ${asked}\n${await this.#describe()}`);
  }

  /** Waits until a key has this value; undefined for none. */
  async says(key, value) {
    await this.until((seen, [key, value]) => (seen.rows[key]?.value ?? null) === value, [key, value ?? null]);
  }

  /** Waits until these are all keys and values. States may tell of an edit a frame before its row is there. */
  async shows(entries) {
    await this.until((seen, entries) => {
      const keys = Object.keys(seen.rows);
      return keys.length === Object.keys(entries).length && keys.every((key) => seen.rows[key].value === entries[key]);
    }, entries);
  }

  /** Waits until the states say this. */
  async isIn(connection, sync) {
    await this.until((seen, [connection, sync]) => seen.connection === connection && seen.sync === sync, [connection, sync]);
  }

  /** Waits until the replica is the server's, all edits acknowledged and all digests equal. */
  async settles() {
    await this.until((seen) => seen.connection === "Live" && seen.sync === "Saved" && seen.isVerified);
  }

  /** Waits until the page would open without its server. */
  async canOpenAlone() {
    const ready = `navigator.serviceWorker.ready.then(() => true)`;
    const vain = `new Promise((resolve) => setTimeout(resolve, ${patienceMs}, false))`;
    assert.ok(await this.#tab.run(`Promise.race([${ready}, ${vain}])`), "the page has no service worker");
  }

  /** Runs a function in the page; what it gives is JSON. */
  evaluate(run, argument = null) {
    return this.#tab.run(`(${run})(${JSON.stringify(argument)})`);
  }

  /** Fails if the page has thrown anything. */
  async assertWell() {
    const problems = (await this.#tab.problems()).filter((problem) => !lostConnection.some((pattern) => pattern.test(problem)));
    assert.deepEqual(problems, [], "the page reported errors");
  }

  /** Waits until the page is about to be drawn. */
  #frame() {
    return this.evaluate(() => new Promise((resolve) => requestAnimationFrame(() => resolve())));
  }

  async #begin() {
    await this.until((seen) => seen.isAlive);
  }

  async #describe() {
    return JSON.stringify(await this.see(), undefined, 1);
  }
}

/** What engines themselves write when a WebSocket or a fetch fails; no page can keep them from doing so. */
const lostConnection = [
  /WebSocket connection to .* failed/,
  /net::ERR_/,
  /Firefox can’t establish a connection to the server at/,
  /The connection to ws:\S+ was interrupted/,
  /NetworkError when attempting to fetch resource/,
];

/** Runs in the page: what it shows, as data. */
function look() {
  const isSeen = (element) => element !== null && element.checkVisibility({ visibilityProperty: true });
  const text = (element) => element?.innerText.trim();
  const one = (selector, within = document) => within.querySelector(selector);
  const label = (element) => element.ariaLabel ?? text(element.closest("label")?.querySelector("span"));
  const rows = [...document.querySelectorAll("[role=grid] [role=row]")].filter((row) => one("[role=rowheader]", row));
  const cell = (row, at) => row.querySelectorAll("[role=gridcell]")[at];
  const said = [...document.querySelectorAll("[role=alert], [role=status]:not([aria-label]), [role=note], [aria-live]")];
  const dialog = one("dialog[open]");
  return {
    isAlive: document.body.hasAttribute("data-hydrated"),
    connection: text(one("[role=status][aria-label=Connection]")),
    sync: text(one("[role=status][aria-label=Sync]")),
    isVerified: isSeen(one(".verified")),
    rows: Object.fromEntries(
      rows.map((row) => [
        one("[role=rowheader]", row).textContent,
        { value: one(".text", cell(row, 0)).textContent, hasCursor: one("#cursor", row) !== null },
      ]),
    ),
    /** The name of what has the focus; of what has no name, its element. */
    focus: label(document.activeElement) ?? document.activeElement.tagName,
    /** What is typed in the field that has the focus. */
    typed: document.activeElement?.value ?? null,
    /** What the page tells by itself. */
    said: said.filter(isSeen).map(text).filter(Boolean),
    buttons: [...document.querySelectorAll("button")].filter(isSeen).map((each) => each.ariaLabel ?? text(each)),
    dialog: dialog && text(dialog),
    panel: text(one("[popover]:popover-open")) ?? null,
  };
}

/** Runs in the page: waits until `ask` says something true of what is seen. In vain it is false. */
function watch(look, ask, argument, patienceMs) {
  return new Promise((resolve, reject) => {
    const events = ["input", "focusin", "focusout", "toggle"];
    const end = (answer) => {
      clearTimeout(timer);
      observer.disconnect();
      for (const each of events) document.removeEventListener(each, check, true);
      resolve(answer);
    };
    const check = () => {
      try {
        const answer = ask(look(), argument);
        if (answer) end(answer);
      } catch (error) {
        reject(error);
      }
    };
    const observer = new MutationObserver(check);
    const timer = setTimeout(() => end(false), patienceMs);
    observer.observe(document, { attributes: true, characterData: true, childList: true, subtree: true });
    for (const each of events) document.addEventListener(each, check, true);
    check();
  });
}
