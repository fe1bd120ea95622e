// How fast the page is, as Markdown on standard output: `node end2end/page.bench.mjs` after `scripts/build.sh`; with a number,
// so many edits instead of 200.
//
// Each figure ends with a **paint**: the change was in the document when a frame was made, and that frame's style, layout and
// paint are done and handed over (a task posted within the frame runs). What the compositor and the screen add is not in it.

import { field, grid, settled, value } from "./entries.mjs";
import { openPage, Server, startBrowser, visit } from "./harness.mjs";
import { Writer } from "./writer.mjs";

const count = 100_000;
const edits = Number(process.argv[2] ?? 200);
const visits = Math.ceil(edits / 10);
/** Entries that are in sight when a page has opened. */
const inSight = Array.from({ length: 10 }, (_, number) => `key-00000${number}`);
const viewport = { width: 1200, height: 800 };

const targets = { local: 16, remote: 50, usable: 1500 };

/** Runs all of it, and takes down what the harness has set up. */
async function main() {
  const teardowns = [];
  const bench = { after: (teardown) => teardowns.push(teardown) };
  try {
    const server = await Server.start(bench);
    const browser = await startBrowser(bench);
    const elsewhere = await openPage(bench, browser);
    await visit(elsewhere, `${server.url}/d/other`);
    const writer = await Writer.open(elsewhere, "large");
    await writer.seed(count);

    const address = `${server.url}/d/large`;
    const page = await openPage(bench, browser, { viewport });
    await page.addInitScript(watchPaints);
    await visit(page, address);
    await settled(page);
    const byForm = await editByForm(page);
    const inPlace = await editInPlace(page);
    const beside = await changeText(page);
    const remote = await editRemotely(page, writer);
    const rows = [
      ["edit by the form, Enter to paint", targets.local, byForm.map(({ whole }) => whole)],
      ["without the wait for the frame", targets.local, byForm.map(({ own }) => own)],
      ["edit in place, Enter to paint", targets.local, inPlace.map(({ whole }) => whole)],
      ["without the wait for the frame", targets.local, inPlace.map(({ own }) => own)],
      ["beside it: a script changes a text, without the wait", undefined, beside],
      ["edit of somebody else, their Ack to paint", targets.remote, remote.map(({ acknowledged }) => acknowledged)],
      ["edit of somebody else, sent to paint", undefined, remote.map(({ sent }) => sent)],
      ...(await navigate(bench, browser, address)),
    ];
    await writer.close();
    console.log(report(rows));
  } finally {
    for (const teardown of teardowns) await teardown();
  }
}

/** Enter in the form's Value, for new keys and for keys in sight by turns. */
async function editByForm(page) {
  const samples = [];
  for (let number = 0; number < edits; number++) {
    const isNew = number % 2 === 0;
    const key = isNew ? `form-${String(number).padStart(6, "0")}` : inSight[number % inSight.length];
    await field(page, "Key").fill(key);
    await field(page, "Value").fill(`by the form ${number}`);
    samples.push(await pressEnter(page, field(page, "Value"), key, `by the form ${number}`));
  }
  return samples;
}

/** Enter in the textbox over a value. */
async function editInPlace(page) {
  const samples = [];
  for (let number = 0; number < edits; number++) {
    const key = inSight[number % inSight.length];
    await value(page, key).dblclick();
    const editor = field(page, `Value of ${key}`);
    await editor.fill(`in place ${number}`);
    samples.push(await pressEnter(page, editor, key, `in place ${number}`));
  }
  return samples;
}

/** From the time of the keyboard's event, as the browser has it, to the paint: the whole time, and what the page took of it. */
async function pressEnter(page, element, key, text) {
  const edit = await page.evaluateHandle(([key, text]) => ({ enter: enterPressed(), paint: painted(key, text) }), [key, text]);
  await element.press("Enter");
  return edit.evaluate(async (edit) => {
    const { begun, changed, painted } = { begun: await edit.enter, ...(await edit.paint) };
    return { whole: painted.end - begun, own: changed - begun + painted.end - painted.begin };
  });
}

/** What a frame costs here in which next to nothing has changed. */
async function changeText(page) {
  return page.evaluate(async (edits) => {
    const text = document.querySelector(".count").firstChild;
    const samples = [];
    for (let number = 0; number < edits; number++) {
      text.nodeValue = String(number);
      const { begin, end } = await nextPaint();
      samples.push(end - begin);
    }
    return samples;
  }, edits);
}

/** Another browser writes. Both clocks are that of the machine. */
async function editRemotely(page, writer) {
  await settled(page);
  await grid(page).focus();
  await page.keyboard.press("Home");
  const samples = [];
  for (let number = 0; number < edits; number++) {
    // They come first, and so are in sight.
    const key = `a-${number % 10}`;
    const edit = await page.evaluateHandle(([key, text]) => ({ paint: painted(key, text) }), [key, String(number)]);
    const { sent, acknowledged } = await writer.put(key, String(number));
    const end = await edit.evaluate(async ({ paint }) => performance.timeOrigin + (await paint).painted.end);
    samples.push({ sent: end - sent, acknowledged: end - acknowledged });
  }
  return samples;
}

/** From the start of a navigation, in a browser that has never been there, and in one that has the files in its cache. */
async function navigate(bench, browser, address) {
  const stages = { painted: [], alive: [], read: [], usable: [] };
  const again = [];
  for (let number = 0; number < visits; number++) {
    const first = await openPage(bench, browser, { viewport });
    const reached = await use(first, address, `first ${number}`);
    for (const [stage, samples] of Object.entries(stages)) samples.push(reached[stage]);
    const second = await first.context().newPage();
    again.push((await use(second, address, `second ${number}`)).usable);
    await first.close();
    await second.close();
  }
  return [
    [`first visit: the first entries are painted`, undefined, stages.painted],
    [`first visit: the page is alive`, undefined, stages.alive],
    [`first visit: all entries are there`, undefined, stages.read],
    [`first visit: usable`, targets.usable, stages.usable],
    [`next visit: usable`, targets.usable, again],
  ];
}

/** Visits, and uses the page at once. Returns when each stage was reached. */
async function use(page, address, text) {
  await page.addInitScript(watchPaints);
  await page.addInitScript(useAtOnce, { count, text });
  await page.goto(address);
  return page.evaluate(() => used);
}

// What runs in the page.

/** Before the page's own scripts: ways to wait for paints. */
function watchPaints() {
  const task = () =>
    new Promise((resolve) => {
      const { port1, port2 } = new MessageChannel();
      port1.onmessage = () => resolve(performance.now());
      port2.postMessage(null);
    });
  // Whoever changes the document within a frame is painted in that one, everybody else in the next.
  const request = window.requestAnimationFrame.bind(window);
  let isInFrame = false;
  window.requestAnimationFrame = (call) =>
    request((time) => {
      if (!isInFrame) task().then(() => (isInFrame = false));
      isInFrame = true;
      call(time);
    });
  const paint = async () => ({ begin: performance.now(), end: await task() });
  /** The next paint: from when the frame is made to when that is done. */
  window.nextPaint = () => (isInFrame ? paint() : new Promise((resolve) => requestAnimationFrame(() => resolve(paint()))));

  /** Waits until something is so, looking whenever the document has changed. */
  window.until = (isSo) =>
    new Promise((resolve, reject) => {
      const limit = setTimeout(() => reject(new Error(`it never came: ${isSo}`)), 20_000);
      const observer = new MutationObserver(() => {
        if (!isSo()) return;
        observer.disconnect();
        clearTimeout(limit);
        resolve();
      });
      observer.observe(document, { attributes: true, characterData: true, childList: true, subtree: true });
    });

  window.shows = (key, text) => {
    const row = document.querySelector(`[role=row][aria-label="${key}"]`);
    return row !== null && row.querySelector("textarea") === null && row.querySelector(".text").textContent === text;
  };

  /** When an entry with this value has come into the document, and its paint. */
  window.painted = async (key, text) => {
    await until(() => shows(key, text));
    return { changed: performance.now(), painted: await nextPaint() };
  };

  /** When Enter was pressed. */
  window.enterPressed = () =>
    new Promise((resolve) => {
      const note = (event) => {
        if (event.key !== "Enter") return;
        removeEventListener("keydown", note, true);
        resolve(event.timeStamp);
      };
      addEventListener("keydown", note, true);
    });
}

/** As soon as all entries are said to be there: searches for the last one, and sets an entry. */
function useAtOnce({ count, text }) {
  const input = (element, text) => {
    element.value = text;
    element.dispatchEvent(new Event("input", { bubbles: true }));
  };
  const last = `key-${String(count - 1).padStart(6, "0")}`;
  const use = async () => {
    const reached = {};
    await until(() => document.body?.hasAttribute("data-hydrated"));
    reached.alive = performance.now();
    const connection = document.querySelector("[role=status][aria-label=Connection]");
    if (connection.textContent !== "Live") await until(() => connection.textContent === "Live");
    reached.read = (await nextPaint()).end;

    const search = document.querySelector("[type=search]");
    const found = painted(last, String(count - 1));
    input(search, last);
    await found;
    input(search, "");

    const set = painted("visit", text);
    input(document.querySelector("[name=key]"), "visit");
    input(document.querySelector("[name=value]"), text);
    document.querySelector("form button").click();
    reached.usable = (await set).painted.end;
    reached.painted = performance.getEntriesByName("first-contentful-paint")[0].startTime;
    return reached;
  };
  window.used = use();
}

// What is printed.

function report(rows) {
  const number = (ms) => (ms < 100 ? ms.toFixed(1) : ms.toFixed(0));
  const lines = rows.map(([name, target, samples]) => {
    const sorted = samples.toSorted((a, b) => a - b);
    const at = (share) => number(sorted[Math.ceil(share * sorted.length) - 1]);
    return `| ${[name, target ?? "", at(0.5), at(0.99), at(1), sorted.length].join(" | ")} |`;
  });
  const entries = count.toLocaleString("en").replaceAll(",", " ");
  return `A dictionary of ${entries} entries, the server on the same machine, headless Chromium without a GPU.

| ms | target | median | 99 % | longest | samples |
| --- | --- | --- | --- | --- | --- |
${lines.join("\n")}

A paint is measured where the page has done all for it: the change was in the document when a frame was made, and a task
posted in that frame runs. What the compositor and the screen add is not in it. Frames are made 60 times a second, so up to
16.7 ms of an edit, 8.3 ms in the middle, are a wait for the next one, whatever the page does. Enter counts from the time of the
keyboard's event; half of the edits by the form add an entry. The other writer is in another process of the same browser, with a
connection of its own; sent to paint has the server's fsync in it. A visit counts from the start of its navigation, the first in a
profile that has never been there, the next with the files in its cache. Usable means that the page took a search for the last
entry and found it, then took an edit and showed it; it was asked as soon as it said Live.
`;
}

await main();
