// Chromium, driven by playwright-core.

import { startBrowser } from "../harness.mjs";
import { Tab } from "./tab.mjs";

/** Chromium with a fresh profile for each person. */
export const chromium = {
  name: "Chromium",

  /** Opens an empty page of a person of its own. It closes with the test. */
  async meet(test, { isDark = false } = {}) {
    const browser = await startBrowser(test);
    const context = await browser.newContext({ colorScheme: isDark ? "dark" : "light" });
    const problems = [];
    const open = async () => new ChromiumTab(await context.newPage(), open, problems);
    return open();
  },

  /** Nothing outlives its test. */
  end() {},
};

class ChromiumTab extends Tab {
  /** The elements of a role and a name that a person can see. */
  find(role, name) {
    return this.page.getByRole(role, { name, exact: true }).elementHandles();
  }

  async doubleClick(selector) {
    await this.page.locator(selector).dblclick();
  }

  async press(key, { control = false, shift = false } = {}) {
    await this.page.keyboard.press([control && "Control", shift && "Shift", key].filter(Boolean).join("+"));
  }

  async resize(width, height) {
    await this.page.setViewportSize({ width, height });
  }
}
