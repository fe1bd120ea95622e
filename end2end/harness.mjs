// What the browser tests stand on: the real server on a free port, and a real Chromium that tolerates no error.
//
// A test takes what it needs, and all of it is taken down when the test ends. Nothing here sleeps or retries: each wait is for a
// thing that the server or the page says of itself.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir, mkdtemp, rm } from "node:fs/promises";
import http from "node:http";
import { tmpdir } from "node:os";
import path from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";

const root = fileURLToPath(new URL("..", import.meta.url));
/** The release binary. */
export const binary = path.resolve(root, process.env.CARGO_TARGET_DIR ?? "target", "release/keybook");
const results = path.join(root, "end2end/results");

/** How long a server may take to serve or to end, in milliseconds: far above what it takes, far below CI's patience. */
const patience = 20_000;

const teardowns = new WeakMap();

/**
 * Runs `teardown` when the test ends. The last one runs first, so that nothing loses what it stands on (a page sees its
 * server die otherwise), and each runs even if another has failed.
 */
export function atEnd(test, teardown) {
  if (teardowns.has(test)) {
    teardowns.get(test).unshift(teardown);
    return;
  }
  const stack = [teardown];
  teardowns.set(test, stack);
  test.after(async () => {
    const failures = [];
    for (const each of stack) {
      await Promise.resolve(each()).catch((failure) => failures.push(failure));
    }
    if (failures.length > 0) throw failures.length === 1 ? failures[0] : new AggregateError(failures);
  });
}

/** The release binary with a data folder of its own, which outlives each process of it. */
export class Server {
  #process;
  #data;
  #flags;
  #log = "";

  /** Starts one on a free port, with further flags; it is killed when the test ends. */
  static async start(test, flags = []) {
    const server = new Server();
    server.#flags = flags;
    server.#data = await mkdtemp(path.join(tmpdir(), "keybook-test-"));
    atEnd(test, async () => {
      await server.kill();
      await rm(server.#data, { recursive: true });
    });
    await server.#launch("127.0.0.1:0");
    return server;
  }

  /** Ends the process at once, as a power cut would. */
  async kill() {
    await this.#end("SIGKILL");
  }

  /** Asks the process to stop and returns its exit code. */
  async stop() {
    return this.#end("SIGTERM");
  }

  /** Starts again after `kill` or `stop`, on the same port and data, perhaps another build. */
  async restart(executable = binary) {
    assert.equal(this.#process, undefined, "the server still runs");
    await this.#launch(new URL(this.url).host, executable);
  }

  /** All that the server logged, over all its processes. */
  get log() {
    return this.#log;
  }

  async #launch(address, executable = binary) {
    const environment = Object.entries(process.env).filter(([name]) => !/^(KEYBOOK|LEPTOS)_|^RUST_LOG$/.test(name));
    // Another directory than the repository's: the binary has to bring its files along.
    const child = spawn(executable, ["serve", "--listen", address, "--data", this.#data, ...this.#flags], {
      cwd: this.#data,
      env: Object.fromEntries(environment),
      stdio: ["ignore", "ignore", "pipe"],
    });
    this.#process = child;
    let timer;
    this.url = await new Promise((resolve, reject) => {
      const fail = (why) => reject(new Error(`the server ${why}:\n${this.#log}`));
      timer = setTimeout(() => fail(`did not serve within ${patience} ms`), patience);
      child.once("error", (error) => fail(`cannot be started: ${error.message}`));
      child.once("exit", (code, signal) => fail(`ended with ${code ?? signal}`));
      createInterface({ input: child.stderr }).on("line", (line) => {
        this.#log += `${line}\n`;
        const serving = /serving .* at (http:\S+)$/.exec(line);
        if (serving) resolve(serving[1]);
      });
    }).finally(() => clearTimeout(timer));
  }

  async #end(signal) {
    const child = this.#process;
    this.#process = undefined;
    if (!child || child.exitCode !== null || child.signalCode !== null) return child?.exitCode;
    const exit = once(child, "exit", { signal: AbortSignal.timeout(patience) });
    child.kill(signal);
    return (await exit)[0];
  }
}

const executablePath = process.env.CHROMIUM ?? "/usr/bin/chromium";
const switches = [
  "--headless",
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];

/** Starts Chromium with a fresh profile and further switches; it is closed when the test ends. */
export async function startBrowser(test, further = []) {
  const browser = await chromium.launch({ executablePath, args: [...switches, ...further] });
  atEnd(test, () => browser.close());
  return browser;
}

/** A profile of Chromium that outlives its browsers, which may be killed. */
export class Profile {
  /** Where it is. */
  folder;

  #process;
  #browser;

  /** Makes one; it goes when the test ends. */
  static async make(test) {
    const profile = new Profile();
    profile.folder = await mkdtemp(path.join(tmpdir(), "keybook-profile-"));
    atEnd(test, async () => {
      await profile.kill();
      await rm(profile.folder, { recursive: true, maxRetries: 5 });
    });
    return profile;
  }

  /** Starts a browser if there is none, and opens a page. */
  async openPage() {
    if (!this.#process) {
      const child = spawn(executablePath, [...switches, "--remote-debugging-port=0", `--user-data-dir=${this.folder}`], {
        detached: true,
        stdio: ["ignore", "ignore", "pipe"],
      });
      this.#process = child;
      const endpoint = await new Promise((resolve, reject) => {
        child.once("exit", () => reject(new Error("the browser ended")));
        createInterface({ input: child.stderr }).on("line", (line) => {
          const listening = /^DevTools listening on (ws:\S+)$/.exec(line);
          if (listening) resolve(listening[1]);
        });
      });
      this.#browser = await chromium.connectOverCDP(endpoint);
    }
    return this.#browser.contexts()[0].newPage();
  }

  /** Ends the browser with all its processes at once, as a power cut would. */
  async kill() {
    const child = this.#process;
    this.#process = undefined;
    if (!child) return;
    const exit = once(child, "exit");
    process.kill(-child.pid, "SIGKILL");
    await exit;
    await this.#browser?.close();
  }
}

/** What Chromium itself writes when a WebSocket or a fetch fails; no page can keep it from doing so. */
export const lostConnection = [/WebSocket connection to .* failed/, /net::ERR_/];

/**
 * Opens a page in a context of its own, as somebody else's browser would be.
 *
 * Whatever the page writes to the console as an error, and each exception that nobody catches, fails the test when it
 * ends, unless one of `allowed` matches it. Other options are Playwright's for a context.
 */
export async function openPage(test, browser, { allowed = [], ...options } = {}) {
  const context = await browser.newContext(options);
  const page = await context.newPage();
  const problems = [];
  const report = (text) => allowed.some((pattern) => pattern.test(text)) || problems.push(text);
  page.on("console", (message) => message.type() === "error" && report(`console: ${message.text()}`));
  page.on("pageerror", (error) => report(`exception: ${error.stack ?? error}`));
  atEnd(test, async () => {
    await context.close();
    assert.deepEqual(problems, [], "the page reported errors");
  });
  return page;
}

/** Goes to an address and waits until the page reacts. */
export async function visit(page, url) {
  const response = await page.goto(url);
  await page.locator("body[data-hydrated]").waitFor();
  return response;
}

/** Says to a page that the network is back, as a browser does. */
export const online = (page) => page.evaluate(() => window.dispatchEvent(new Event("online")));

/** Gives a page a clock that goes by itself and can be turned forward, by `page.clock`. Before the page is visited. */
export async function installClock(page, options) {
  await page.clock.install(options);
  await page.addInitScript(shortenHandles);
}

/**
 * Runs in the page. The clock's handles begin at 10^12 and so end up as other numbers in WebAssembly, which has them as a browser
 * gives them: whole numbers of 32 bits.
 */
function shortenHandles() {
  for (const [set, clear] of [
    ["setTimeout", "clearTimeout"],
    ["setInterval", "clearInterval"],
    ["requestAnimationFrame", "cancelAnimationFrame"],
  ]) {
    const [setLong, clearLong] = [window[set].bind(window), window[clear].bind(window)];
    const handles = [undefined];
    window[set] = (...call) => handles.push(setLong(...call)) - 1;
    window[clear] = (handle) => clearLong(handles[handle]);
  }
}

/** Takes a picture of the page for people to look at. */
export async function screenshot(page, name) {
  await mkdir(results, { recursive: true });
  await page.screenshot({ path: path.join(results, `${name}.png`) });
}

/** Fetches an address as it comes over the wire: unlike `fetch`, this does not undo the encoding. */
export async function fetchRaw(url, headers = {}) {
  const request = http.get(url, { headers });
  const [response] = await once(request, "response");
  const body = Buffer.concat(await response.toArray());
  return { status: response.statusCode, headers: response.headers, body };
}
