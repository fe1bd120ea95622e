// Chromium, driven by playwright-core.

import { startBrowser } from "../harness.mjs";

/** Chromium with a fresh profile for each person. */
export const chromium = {
  name: "Chromium",

  /** Opens an empty page of a person of its own. It closes with the test. */
  async meet(test, { isDark = false } = {}) {
    const browser = await startBrowser(test);
    const context = await browser.newContext({ colorScheme: isDark ? "dark" : "light" });
    return Tab.open(context, []);
  },

  /** Nothing outlives its test. */
  end() {},
};

/** A page. */
class Tab {
  #context;
  #page;
  #problems;

  static async open(context, problems) {
    const tab = new Tab();
    tab.#problems = problems;
    tab.#context = context;
    tab.#page = await context.newPage();
    tab.#page.on("console", (message) => message.type() === "error" && problems.push(message.text()));
    tab.#page.on("pageerror", (error) => problems.push(String(error.stack ?? error)));
    return tab;
  }

  /** Opens another page of the same person. */
  beside() {
    return Tab.open(this.#context, this.#problems);
  }

  /** What the pages of this person have written as errors, and what nobody has caught. */
  problems() {
    return this.#problems;
  }

  async go(url) {
    await this.#page.goto(url);
  }

  async reload() {
    await this.#page.reload();
  }

  /** What an expression is, or what its promise brings. */
  run(expression) {
    return this.#page.evaluate(expression);
  }

  /** The elements of a role and a name that a person can see. */
  find(role, name) {
    return this.#page.getByRole(role, { name, exact: true }).elementHandles();
  }

  async click(element) {
    await element.click();
  }

  async doubleClick(selector) {
    await this.#page.locator(selector).dblclick();
  }

  async type(text) {
    await this.#page.keyboard.type(text);
  }

  async press(key, { control = false, shift = false } = {}) {
    await this.#page.keyboard.press([control && "Control", shift && "Shift", key].filter(Boolean).join("+"));
  }

  async resize(width, height) {
    await this.#page.setViewportSize({ width, height });
  }

  async picture(path) {
    await this.#page.screenshot({ path });
  }

  async close() {
    await this.#page.close();
  }
}
