// How fast the page is, as Markdown on standard output: `node end2end/page.bench.mjs` after `scripts/build.sh`; with a number,
// so many edits instead of 200.
//
// Each figure ends with a **paint**: the change was in the document when a frame was made, and that frame's style, layout and
// paint are done and handed over (a task posted within the frame runs). What the compositor and the screen add is not in it.

import { run, thousands, timesTable, useAtOnce, watchPaints } from "./bench.mjs";
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

/** Measures, and returns the section. */
async function measure(bench) {
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
  return report(rows);
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
  const last = [`key-${String(count - 1).padStart(6, "0")}`, String(count - 1)];
  await page.addInitScript(useAtOnce, { isOnline: true, last, text });
  await page.goto(address);
  return page.evaluate(() => used);
}

// What is printed.

function report(rows) {
  return `A dictionary of ${thousands(count)} entries, the server on the same machine, headless Chromium without a GPU.

${timesTable(rows)}

A paint is measured where the page has done all for it: the change was in the document when a frame was made, and a task
posted in that frame runs. What the compositor and the screen add is not in it. Frames are made 60 times a second, so up to
16.7 ms of an edit, 8.3 ms in the middle, are a wait for the next one, whatever the page does. Enter counts from the time of the
keyboard's event; half of the edits by the form add an entry. The other writer is in another process of the same browser, with a
connection of its own; sent to paint has the server's fsync in it. A visit counts from the start of its navigation, the first in a
profile that has never been there, the next with the files in its cache. Usable means that the page took a search for the last
entry and found it, then took an edit and showed it; it was asked as soon as it said Live.
`;
}

await run(measure);
