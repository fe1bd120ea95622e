// WebKit, driven by selenium-webdriver: WebKitGTK's MiniBrowser by its WebKitWebDriver, on a display that nobody sees.
//
// A driver has one session, and a session one profile, which is forgotten with it. So each person has a driver, and a display too:
// there is no window manager, and without one the window under the pointer has the focus.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { readdir, readFile, readlink, writeFile } from "node:fs/promises";
import { setTimeout } from "node:timers/promises";
import { Builder, By, Capabilities, error, Key } from "selenium-webdriver";
import { atEnd } from "../harness.mjs";

/** How long a display or a driver may take to start, a page to load or a script to run, and a session to end, in milliseconds. */
const startMsMax = 20_000;
const scriptMsMax = 60_000;
const endMsMax = 10_000;

/** WebKit with a fresh profile for each person. */
export const webkit = {
  name: "WebKit",

  /** Opens an empty page of a person of its own. It closes with the test. */
  async meet(test, { isDark = false } = {}) {
    const display = await startDisplay(test);
    const port = await startDriver(test, display);
    const capabilities = new Capabilities({
      browserName: "MiniBrowser",
      "webkitgtk:browserOptions": {
        // Without its toolbar the window can be as narrow as a phone.
        args: ["--automation", "--full-screen", ...(isDark ? ["--dark-mode"] : [])],
      },
    });
    const driver = await new Builder().usingServer(`http://127.0.0.1:${port}`).withCapabilities(capabilities).build();
    // If it does not answer any more, it ends with its driver and its display.
    atEnd(test, () => Promise.race([driver.quit(), setTimeout(endMsMax, undefined, { ref: false })]));
    await driver.manage().setTimeouts({ script: scriptMsMax, pageLoad: scriptMsMax });
    const tab = new Tab(driver, await driver.getWindowHandle());
    await tab.resize(1200, 800);
    return tab;
  },

  /** Nothing outlives its test. */
  end() {},
};

/** Starts a display, which chooses its number itself. */
async function startDisplay(test) {
  const child = spawn("Xvfb", ["-displayfd", "3", "-screen", "0", "1200x800x24", "-nolisten", "tcp", "-nolisten", "unix"], {
    stdio: ["ignore", "ignore", "ignore", "pipe"],
  });
  endWith(test, child);
  const [number] = await once(child.stdio[3], "data", { signal: AbortSignal.timeout(startMsMax) });
  return `:${String(number).trim()}`;
}

/** Starts a driver on a free port, which it does not tell; Linux does. */
async function startDriver(test, display) {
  const environment = { ...process.env, DISPLAY: display, GDK_BACKEND: "x11", LIBGL_ALWAYS_SOFTWARE: "1" };
  const child = spawn("WebKitWebDriver", ["--port=0"], { env: environment, stdio: "ignore" });
  endWith(test, child);
  const patience = AbortSignal.timeout(startMsMax);
  for (;;) {
    patience.throwIfAborted();
    const port = await listeningPort(child.pid);
    if (port !== undefined) return port;
  }
}

/** The port at which a process listens, if it does. */
async function listeningPort(pid) {
  const files = await readdir(`/proc/${pid}/fd`);
  const links = await Promise.all(files.map((file) => readlink(`/proc/${pid}/fd/${file}`).catch(() => "")));
  const sockets = new Set(links.flatMap((link) => /^socket:\[(\d+)\]$/.exec(link)?.[1] ?? []));
  const table = (await readFile(`/proc/${pid}/net/tcp`, "latin1")).trim().split("\n").slice(1);
  for (const line of table) {
    // number: address:port peer:port state ... inode; 0A is LISTEN.
    const [, local, , state, , , , , , inode] = line.trim().split(/\s+/);
    if (state === "0A" && sockets.has(inode)) return parseInt(local.split(":")[1], 16);
  }
  return undefined;
}

function endWith(test, child) {
  const exit = once(child, "exit");
  atEnd(test, async () => {
    child.kill();
    await exit;
  });
}

/** Where elements of a role are looked for; WebKit says which of them it is. */
const selectors = {
  button: "button",
  dialog: "dialog",
  grid: "[role=grid]",
  searchbox: "input",
  status: "[role=status]",
  textbox: "input, textarea",
};

/** A page. */
class Tab {
  #driver;
  #window;
  #problems = [];

  constructor(driver, window) {
    [this.#driver, this.#window] = [driver, window];
  }

  /** Opens another page of the same person: a window, for of the tabs of a window all but one are hidden. */
  async beside() {
    await this.#driver.switchTo().newWindow("window");
    return new Tab(this.#driver, await this.#driver.getWindowHandle());
  }

  /** What nobody has caught in this page since it was loaded; WebKit's driver tells nothing of that by itself. */
  async problems() {
    await this.#switch();
    return [...this.#problems, ...((await this.#driver.executeScript("return window.problems")) ?? [])];
  }

  async go(url) {
    await this.#load(() => this.#driver.get(url));
  }

  async reload() {
    await this.#load(() => this.#driver.navigate().refresh());
  }

  /** What an expression is, or what its promise brings. */
  async run(expression) {
    await this.#switch();
    const script = `
      const done = arguments[0];
      Promise.resolve(${expression}).then((value) => done({ value }), (error) => done({ error: String(error) }));`;
    const outcome = await this.#driver.executeAsyncScript(script);
    if (outcome.error) throw new Error(outcome.error);
    return outcome.value;
  }

  /** The elements of a role and a name that a person can see, as WebKit tells screen readers. */
  async find(role, name) {
    await this.#switch();
    const found = [];
    for (const element of await this.#driver.findElements(By.css(selectors[role]))) {
      if (await isSeenAs(element, role, name)) found.push(element);
    }
    return found;
  }

  async click(element) {
    await this.#switch();
    await element.click();
  }

  async doubleClick(selector) {
    await this.#switch();
    const element = await this.#driver.findElement(By.css(selector));
    await this.#driver.actions().doubleClick(element).perform();
  }

  async type(text) {
    await this.#switch();
    await this.#driver.actions().sendKeys(text).perform();
  }

  async press(key, { control = false, shift = false } = {}) {
    await this.#switch();
    const held = [control && Key.CONTROL, shift && Key.SHIFT].filter(Boolean);
    const actions = this.#driver.actions();
    for (const each of held) actions.keyDown(each);
    actions.sendKeys(keys[key] ?? key);
    for (const each of held.reverse()) actions.keyUp(each);
    await actions.perform();
  }

  async resize(width, height) {
    await this.#switch();
    await this.#driver.manage().window().setRect({ x: 0, y: 0, width, height });
  }

  async picture(path) {
    await this.#switch();
    await writeFile(path, await this.#driver.takeScreenshot(), "base64");
  }

  async close() {
    await this.#switch();
    await this.#driver.close();
  }

  async #load(load) {
    this.#problems = await this.problems();
    await load();
    await this.#driver.executeScript(`
      window.problems = [];
      addEventListener("error", ({ message, error }) => problems.push(String(error?.stack ?? message)));
      addEventListener("unhandledrejection", ({ reason }) => problems.push(String(reason?.stack ?? reason)));`);
  }

  /** A driver speaks with one of its windows at a time. */
  async #switch() {
    await this.#driver.switchTo().window(this.#window);
  }
}

async function isSeenAs(element, role, name) {
  try {
    return (
      (await element.isDisplayed()) && (await element.getAccessibleName()) === name && (await element.getAriaRole()) === role
    );
  } catch (failure) {
    if (failure instanceof error.StaleElementReferenceError) return false;
    throw failure;
  }
}

const keys = {
  ArrowDown: Key.ARROW_DOWN,
  ArrowUp: Key.ARROW_UP,
  Delete: Key.DELETE,
  End: Key.END,
  Enter: Key.ENTER,
  Escape: Key.ESCAPE,
  F2: Key.F2,
  Home: Key.HOME,
  Tab: Key.TAB,
};
