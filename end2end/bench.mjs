// What the benchmarks in the browser share: ways to wait for paints in a page, and how figures are printed.

/** Runs a benchmark with what a test has in the harness, and takes down what it has set up. */
export async function run(bench) {
  const teardowns = [];
  try {
    console.log(await bench({ after: (teardown) => teardowns.push(teardown) }));
  } finally {
    for (const teardown of teardowns) await teardown();
  }
}

// What runs in the page, before its own scripts.

/** Ways to wait for paints. */
export function watchPaints() {
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
      if (isSo()) return resolve();
      const limit = setTimeout(() => reject(new Error(`it never came: ${isSo}`)), 60_000);
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

  /** What the status of this name says. */
  window.statusOf = (name) => document.querySelector(`[role=status][aria-label=${name}]`).textContent;

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

/** As soon as the page says that all entries are there: searches for the `last` one, and sets an entry. */
export function useAtOnce({ isOnline, last, text }) {
  const input = (element, text) => {
    element.value = text;
    element.dispatchEvent(new Event("input", { bubbles: true }));
  };
  const isLive = () => statusOf("Connection") === "Live";
  // What the server renders is less than a hundred rows.
  const isListed = () => parseFloat(document.querySelector(".grid .body").style.height) > 100_000;
  const use = async () => {
    const reached = {};
    await until(() => document.body?.hasAttribute("data-hydrated"));
    reached.alive = performance.now();
    await until(isOnline ? isLive : isListed);
    reached.read = (await nextPaint()).end;

    const search = document.querySelector("[type=search]");
    const found = painted(...last);
    input(search, last[0]);
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

/** A number with spaces between its thousands. */
export const thousands = (number) => Math.round(number).toLocaleString("en").replaceAll(",", " ");

/** A time in milliseconds, with as many digits as say something. */
export const millis = (ms) => (ms < 100 ? ms.toFixed(1) : thousands(ms));

/** A sample at a share of all, from the shortest. */
export function at(samples, share) {
  const sorted = samples.toSorted((a, b) => a - b);
  return sorted[Math.max(Math.ceil(share * sorted.length), 1) - 1];
}

/** `2.4 [2.1, 3.0]`: the middle of some figures, the least and the most. */
export function spread(samples, format = millis) {
  const [middle, least, most] = [0.5, 0, 1].map((share) => format(at(samples, share)));
  return `${middle} [${least}, ${most}]`;
}

/** A Markdown table. */
export function table(columns, rows) {
  const line = (cells) => `| ${cells.join(" | ")} |`;
  return [line(columns), line(columns.map(() => "---")), ...rows.map(line)].join("\n");
}

/** A table of times: rows of a name, a target or nothing, and samples. */
export function timesTable(rows) {
  const columns = ["ms", "target", "median", "99 %", "longest", "samples"];
  return table(columns, rows.map(([name, target, samples]) => {
    return [name, target ?? "", ...[0.5, 0.99, 1].map((share) => millis(at(samples, share))), samples.length];
  }));
}
