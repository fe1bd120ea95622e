// Firefox, driven by puppeteer-core over WebDriver BiDi.
//
// Each page is a window of its own: of the tabs of a window all but one are hidden, and a hidden page shows nothing.

import { setTimeout } from "node:timers/promises";
import puppeteer from "puppeteer-core";
import { atEnd } from "../harness.mjs";
import { Tab } from "./tab.mjs";

const executablePath = process.env.FIREFOX ?? "/usr/bin/firefox-esr";

/** How long Firefox may take to end, in milliseconds. */
const endMsMax = 10_000;

/** Firefox takes seconds to start: all share one of each colour scheme, in which each person has a container. */
const browsers = new Map();

/** Firefox. A container has storage of its own, which goes with it. */
export const firefox = {
  name: "Firefox",

  /** Opens an empty page of a person of its own. It closes with the test. */
  async meet(test, { isDark = false } = {}) {
    if (!browsers.has(isDark)) browsers.set(isDark, start(isDark));
    const context = await (await browsers.get(isDark)).createBrowserContext();
    atEnd(test, () => context.close());
    const problems = [];
    const open = async () => new FirefoxTab(await context.newPage({ type: "window" }), open, problems);
    return open();
  },

  /** Ends what was started. */
  async end() {
    for (const browser of await Promise.all(browsers.values())) {
      await Promise.race([browser.close(), setTimeout(endMsMax, undefined, { ref: false })]);
      browser.process().kill("SIGKILL");
    }
  },
};

function start(isDark) {
  const extraPrefsFirefox = { "layout.css.prefers-color-scheme.content-override": isDark ? 0 : 1 };
  return puppeteer.launch({ browser: "firefox", executablePath, headless: true, extraPrefsFirefox });
}

class FirefoxTab extends Tab {
  /** The elements of a role and a name that a person can see, as Firefox tells screen readers. */
  find(role, name) {
    return this.page.$$(`aria/${name}[role="${role}"]`);
  }

  async click(element) {
    await this.page.bringToFront();
    await super.click(element);
  }

  async doubleClick(selector) {
    await this.page.bringToFront();
    const element = await this.page.$(selector);
    await element.click({ count: 2 });
  }

  async press(key, { control = false, shift = false } = {}) {
    const held = [control && "Control", shift && "Shift"].filter(Boolean);
    for (const each of held) await this.page.keyboard.down(each);
    await this.page.keyboard.press(key);
    for (const each of held.reverse()) await this.page.keyboard.up(each);
  }

  async resize(width, height) {
    await this.page.setViewport({ width, height });
  }
}
