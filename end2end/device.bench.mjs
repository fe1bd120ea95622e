// How fast the local store is, and how large, as Markdown on standard output: `node end2end/device.bench.mjs` after
// `scripts/build.sh`; with a number, so many edits instead of 200.
//
// The browser has a profile on the disk, since what a private window stores is in memory. Who is offline still gets pages, which
// no browser can keep yet; what is cut off is `/api/`.

import { readdir, stat } from "node:fs/promises";
import path from "node:path";
import { at, millis, run, spread, table, thousands, timesTable, useAtOnce, watchPaints } from "./bench.mjs";
import { field, setAll, settled, status } from "./entries.mjs";
import { online, openPage, Profile, Server, startBrowser, visit } from "./harness.mjs";
import { Line } from "./line.mjs";
import { Random } from "./random.mjs";
import { Writer } from "./writer.mjs";

const edits = Number(process.argv[2] ?? 200);
const visits = Math.ceil(edits / 10);
const rounds = Math.ceil(edits / 40);
/** Edits of each side before it reconnects. */
const editsOffline = 1000;

const targets = { open: 1000 };

/** Dictionaries, each seen over a line of its own, which makes an origin of its own in the browser. */
const dictionaries = [{ name: "small", count: 10_000 }, { name: "large", count: 100_000 }];
const large = dictionaries[1];

/** Measures, and returns the section. */
async function measure(bench) {
  const server = await Server.start(bench);
  const browser = await startBrowser(bench);
  const profile = await Profile.make(bench);
  for (const dictionary of dictionaries) {
    dictionary.entries = entries(dictionary.count);
    dictionary.line = await Line.start(bench, server);
    dictionary.address = `${dictionary.line.url}/d/${dictionary.name}`;
    const elsewhere = await openPage(bench, browser);
    await visit(elsewhere, `${server.url}/d/elsewhere`);
    dictionary.writer = await Writer.open(elsewhere, dictionary.name);
    await dictionary.writer.putAll(dictionary.entries.map(([key, value]) => [key, JSON.stringify(value)]));
    const page = await openOwn(profile, dictionary);
    await settled(page);
    dictionary.size = await size(page, profile, dictionary);
    await page.close();
  }
  const sections = [
    await openings(profile),
    await durability(profile),
    await reconnections(bench, browser, profile),
    sizes(),
    await formats(bench, server, profile),
  ];
  return `Headless Chromium without a GPU, its profile on the disk; the server is on the same machine, and lines to it are cut and
counted by a proxy. Random keys (16 bytes) and values (32 bytes, a JSON string) from a fixed seed.

${sections.join("\n")}`;
}

/** Keys and values in the order of the keys. */
function entries(count) {
  const random = new Random(1, "entries");
  const text = (length) => String.fromCharCode(...Array.from({ length }, () => 97 + random.below(26)));
  const pairs = new Map();
  while (pairs.size < count) pairs.set(text(16), text(30));
  return [...pairs].sort(([a], [b]) => (a < b ? -1 : 1));
}

/** A page of the profile that has opened a dictionary. */
async function openOwn(profile, dictionary) {
  const page = await profile.openPage();
  await page.addInitScript(watchPaints);
  await page.addInitScript(watchStore);
  await visit(page, dictionary.address);
  return page;
}

/** A page of the profile that has read a dictionary and is offline now. */
async function openOffline(profile, dictionary) {
  const page = await openOwn(profile, dictionary);
  await settled(page);
  dictionary.line.cut("/api/");
  await status(page, "Connection", "Offline");
  return page;
}

/** Brings a page online again, and closes it when the server and the device have all that it has. */
async function leave(page, dictionary) {
  page.setDefaultTimeout(60_000);
  dictionary.line.mend();
  await online(page);
  await status(page, "Connection", "Live");
  await status(page, "Sync", "Saved");
  await storedBytes(page, dictionary);
  await page.close();
}

const databaseOf = ({ name }) => `keybook ${name}`;

/** How many bytes the device keeps of a dictionary's entries, when all that the page has begun to write is written. */
async function storedBytes(page, dictionary) {
  return page.evaluate(async (name) => {
    const database = await done(indexedDB.open(name));
    // One that writes waits for those before it.
    const base = database.transaction(["base", "outbox"], "readwrite").objectStore("base");
    const bytes = (await done(base.getAll())).reduce((sum, { byteLength }) => sum + byteLength, 0);
    database.close();
    return bytes;
  }, databaseOf(dictionary));
}

// Opening.

/** From the start of a navigation, the dictionaries by turns. */
async function openings(profile) {
  const stages = ["alive", "read", "listed", "usable", "bare"];
  for (const dictionary of dictionaries) {
    dictionary.reached = Object.fromEntries(stages.map((stage) => [stage, []]));
  }
  for (let number = 0; number < visits; number++) {
    for (const dictionary of dictionaries) {
      const reached = await openAndUse(profile, dictionary, `visit ${number}`);
      for (const stage of stages) dictionary.reached[stage].push(reached[stage]);
    }
  }
  const rows = dictionaries.flatMap(({ count, reached }) => [
    [`${thousands(count)} entries: the page is alive`, undefined, reached.alive],
    ["what is kept has been read from IndexedDB", undefined, reached.read],
    ["all entries are there", undefined, reached.listed],
    ["usable", targets.open, reached.usable],
    ["beside it: IndexedDB alone, opened and the same read", undefined, reached.bare],
  ]);
  return `Opening without network, from the start of a navigation, in a browser that has been there before. There is no service worker
yet, so the server gives the document, the cache the files, and every request of \`/api/\` is cut off. Usable means that the page
took a search for the last entry and found it, then took an edit and showed it.

${timesTable(rows)}
`;
}

async function openAndUse(profile, dictionary, text) {
  const page = await profile.openPage();
  await page.addInitScript(watchPaints);
  await page.addInitScript(watchStore);
  await page.addInitScript(useAtOnce, { isOnline: false, last: dictionary.entries.at(-1), text });
  dictionary.line.cut("/api/");
  await page.goto(dictionary.address);
  const { alive, read: listed, usable } = await page.evaluate(() => used);
  const { read, bare } = await page.evaluate(async (name) => {
    const read = baseRead;
    const begin = performance.now();
    const database = await done(indexedDB.open(name));
    await done(database.transaction("base").objectStore("base").getAll());
    database.close();
    return { read, bare: performance.now() - begin };
  }, databaseOf(dictionary));
  await leave(page, dictionary);
  return { alive, read, listed, usable, bare };
}

// Durability.

/** Enter in the form's Value to the end of the transaction; then the same bytes, written by a script alone. */
async function durability(profile) {
  const page = await openOffline(profile, large);
  const samples = { whole: [], own: [], strict: [], relaxed: [] };
  for (let number = 0; number < edits; number++) {
    await field(page, "Key").fill(`edit-${String(number).padStart(6, "0")}`);
    await field(page, "Value").fill(`by the form ${number}`);
    const edit = await page.evaluateHandle(() => ({ enter: enterPressed(), kept: nextKept() }));
    await field(page, "Value").press("Enter");
    const { enter, begin, end } = await edit.evaluate(async (edit) => ({ enter: await edit.enter, ...(await edit.kept) }));
    samples.whole.push(end - enter);
    samples.own.push(end - begin);
    for (const durability of number % 2 === 0 ? ["strict", "relaxed"] : ["relaxed", "strict"]) {
      samples[durability].push(await page.evaluate((durability) => putBare(durability), durability));
    }
  }
  await leave(page, large);
  const ratios = samples.whole.map((whole, number) => whole / samples.strict[number]);
  const rows = [
    ["edit by the form, Enter to durable", undefined, samples.whole],
    ["of that, the transaction", undefined, samples.own],
    ["beside it: the same bytes put by a script, strict", undefined, samples.strict],
    ["beside it: the same, relaxed", undefined, samples.relaxed],
  ];
  return `An edit is durable on the device when its transaction of strict durability has completed. The dictionary has
${thousands(large.count)} entries, and the page is offline. A relaxed transaction completes before it is on the disk. Of its
transaction's end the page learns only when it has rendered the edit, which a script alone need not do. Enter to durable is
${at(ratios, 0.5).toFixed(2)} times a bare strict put in the middle, ${at(ratios, 0.99).toFixed(2)} at 99 %.

${timesTable(rows)}
`;
}

// Reconnecting.

/** With so many edits on each side, half of them of the same keys; and somebody new, who reads all. */
async function reconnections(bench, browser, profile) {
  const rows = [];
  for (const dictionary of dictionaries) {
    const samples = { saved: [], verified: [], up: [], down: [], first: [], firstDown: [] };
    for (let round = 0; round < rounds; round++) {
      const page = await openOffline(profile, dictionary);
      const some = (from) => dictionary.entries.slice(from, from + editsOffline).map(([key]) => key);
      await setAll(page, some(0).map((key) => [key, `mine ${round}`]));
      await status(page, "Sync", `${editsOffline} edits saved on this device`);
      await dictionary.writer.putAll(some(editsOffline / 2).map((key) => [key, `"theirs ${round}"`]));
      const { line } = dictionary;
      line.mend();
      const before = { ...line.bytes };
      const reached = await page.evaluate(async () => {
        const begin = performance.now();
        dispatchEvent(new Event("online"));
        await until(() => statusOf("Connection") === "Live" && statusOf("Sync") === "Saved");
        const saved = performance.now() - begin;
        await until(() => !document.querySelector(".verified").hidden);
        return { saved, verified: performance.now() - begin };
      });
      samples.saved.push(reached.saved);
      samples.verified.push(reached.verified);
      for (const way of ["up", "down"]) samples[way].push(line.bytes[way] - before[way]);
      await leave(page, dictionary);

      const first = await openPage(bench, browser);
      const downBefore = line.bytes.down;
      const begin = performance.now();
      await visit(first, dictionary.address);
      await settled(first);
      samples.first.push(performance.now() - begin);
      samples.firstDown.push(line.bytes.down - downBefore);
      await first.close();
    }
    const kb = (bytes) => thousands(bytes / 1000);
    rows.push([
      thousands(dictionary.count),
      spread(samples.saved),
      spread(samples.verified),
      spread(samples.up, kb),
      spread(samples.down, kb),
      spread(samples.first),
      spread(samples.firstDown, kb),
    ]);
  }
  const columns = ["entries", "all Saved, ms", "Verified, ms", "kB up", "kB down", "a first visit: Verified, ms", "kB down"];
  const plain = JSON.stringify(Object.fromEntries(large.entries.slice(0, editsOffline).map(([key]) => [key, "mine 0"]))).length;
  return `Reconnecting with ${thousands(editsOffline)} edits on each side, half of them of the same keys, from when the browser says that it is online: medians,
in brackets the least and the most of ${rounds} rounds. The digests are compared when the page joins; if something changes meanwhile, again
2 s later. The edits of one side as a JSON object are ${thousands(plain / 1000)} kB. Beside it a browser that has never been there, with all files
of the page.

${table(columns, rows)}
`;
}

// Sizes.

/** What a dictionary takes, once it has been read. */
async function size(page, profile, dictionary) {
  const bytes = await storedBytes(page, dictionary);
  const { usage, usageDetails } = await page.evaluate(() => navigator.storage.estimate());
  return { bytes, estimate: usageDetails?.indexedDB ?? usage, onDisk: await bytesOnDisk(profile, dictionary.line) };
}

/** What the browser's files of an origin's databases take. */
async function bytesOnDisk(profile, line) {
  const folder = path.join(profile.folder, "Default/IndexedDB");
  const own = (await readdir(folder, { recursive: true })).filter((name) => name.includes(`_${new URL(line.url).port}.`));
  const stats = await Promise.all(own.map((name) => stat(path.join(folder, name))));
  return stats.reduce((sum, each) => sum + (each.isFile() ? each.size : 0), 0);
}

function sizes() {
  const rows = dictionaries.map(({ count, entries, size }) => {
    const plain = JSON.stringify(Object.fromEntries(entries)).length;
    const cell = (bytes) => `${thousands(bytes / 1000)} (${(bytes / plain).toFixed(2)})`;
    return [thousands(count), thousands(plain / 1000), cell(size.bytes), cell(size.estimate), cell(size.onDisk)];
  });
  const columns = ["entries", "raw JSON, kB", "stored bytes, kB", "what the browser says, kB", "files, kB"];
  return `Sizes on the device after a first visit, in brackets as a multiple of the same keys and values as one JSON object. Stored are also
each entry's time, replica, author and seq. The browser's own say is \`navigator.storage.estimate()\`.

${table(columns, rows)}
`;
}

// Rows or chunks.

/** The entries of the large dictionary in other formats, each in an origin of its own. */
async function formats(bench, server, profile) {
  const subjects = ["rows", "one blob", "chunks"];
  const samples = new Map(subjects.map((subject) => [subject, { write: [], reads: new Map() }]));
  const pages = new Map();
  for (const subject of subjects) {
    const line = await Line.start(bench, server);
    const page = await profile.openPage();
    await page.goto(`${line.url}/livez`);
    await page.evaluate(prepareFormats, { json: JSON.stringify(large.entries), name: large.name });
    pages.set(subject, { page, line });
  }
  for (let round = 0; round < rounds; round++) {
    for (const subject of subjects) {
      const { page, line } = pages.get(subject);
      const figures = samples.get(subject);
      figures.write.push(await page.evaluate((subject) => writeFormat(subject), subject));
      figures.onDisk ??= await bytesOnDisk(profile, line);
      for (const [way, ms] of await page.evaluate((subject) => readFormat(subject), subject)) {
        figures.reads.set(way, [...(figures.reads.get(way) ?? []), ms]);
      }
    }
  }
  for (const { page } of pages.values()) await page.close();
  const rows = subjects.flatMap((subject) => {
    const { write, reads, onDisk } = samples.get(subject);
    return [...reads].map(([way, read], number) => {
      const ratio = read.map((ms, round) => ms / samples.get("one blob").reads.get("getAll")[round]);
      const once = number === 0 ? [spread(write), thousands(onDisk / 1000)] : ["", ""];
      return [subject, way, spread(read), spread(ratio, (times) => times.toFixed(1)), ...once];
    });
  });
  const decode = large.reached.listed.map((listed, number) => listed - large.reached.read[number]);
  return `Rows or packed chunks: ${thousands(large.count)} entries in a database that does nothing else, ${rounds} rounds in which the formats alternate. A row
is an object of an entry's value, stamp (32 hexadecimal digits), seq and author under the entry's key; one blob is the snapshot
as the page keeps it; chunks are the same bytes cut every 512 KiB. All are written in one strict transaction to a new database,
and read from the browser's warm caches. Rows are read as objects, the others as bytes, of which the page makes its entries,
checked and hashed, and their list in ${spread(decode)} ms (from read to all entries there, in the first table).

${table(["format", "read by", "read, ms", "of one blob's", "write, ms", "files, kB"], rows)}
`;
}

// What runs in the page.

/** Before the page's own scripts: notes when the local store is read, and when a change is durable. */
function watchStore() {
  /** The result of a request. */
  window.done = (request) =>
    new Promise((resolve, reject) => {
      request.onsuccess = () => resolve(request.result);
      request.onerror = () => reject(request.error);
    });

  const { getAll, put } = IDBObjectStore.prototype;
  IDBObjectStore.prototype.getAll = function (...query) {
    const request = getAll.apply(this, query);
    if (this.name === "base") request.addEventListener("success", () => (window.baseRead ??= performance.now()));
    return request;
  };
  let lastPut;
  IDBObjectStore.prototype.put = function (value, key) {
    if (this.name === "outbox") lastPut = [value, key];
    return put.call(this, value, key);
  };
  const { transaction } = IDBDatabase.prototype;
  let notice = () => {};
  IDBDatabase.prototype.transaction = function (stores, mode, options) {
    const begin = performance.now();
    const made = transaction.call(this, stores, mode, options);
    if (mode === "readwrite") made.addEventListener("complete", () => notice({ begin, end: performance.now() }));
    return made;
  };

  /** The next transaction that completes: when it was made, and when it completed. */
  window.nextKept = () => new Promise((resolve) => (notice = resolve));

  /** Puts what the page has put last into a database of its own. Returns how long that took. */
  window.putBare = async (durability) => {
    const opening = indexedDB.open("bare");
    opening.onupgradeneeded = () => opening.result.createObjectStore("bare");
    const database = await done(opening);
    const begin = performance.now();
    const writing = transaction.call(database, "bare", "readwrite", { durability });
    writing.objectStore("bare").put(...lastPut);
    await new Promise((resolve) => (writing.oncomplete = resolve));
    const end = performance.now();
    database.close();
    return end - begin;
  };
}

/** In an empty page: ways to write and read a database in each format. */
async function prepareFormats({ json, name }) {
  const done = (request) =>
    new Promise((resolve, reject) => {
      request.onsuccess = () => resolve(request.result);
      request.onerror = () => reject(request.error);
    });
  const pairs = JSON.parse(json);
  const snapshot = new Uint8Array(await (await fetch(`/api/v1/dictionaries/${name}/snapshot`)).arrayBuffer());
  const row = (value, seq) => ({ value, stamp: seq.toString(16).padStart(32, "0"), seq, author: 0 });
  const records = {
    rows: pairs.map(([key, value], seq) => [row(value, seq), key]),
    "one blob": [[snapshot, 0]],
    chunks: Array.from({ length: Math.ceil(snapshot.length / 2 ** 19) }, (_, at) => [snapshot.slice(at * 2 ** 19, (at + 1) * 2 ** 19), at]),
  };
  let database;
  window.writeFormat = async (format) => {
    database?.close();
    await done(indexedDB.deleteDatabase("format"));
    const opening = indexedDB.open("format");
    opening.onupgradeneeded = () => opening.result.createObjectStore("store");
    database = await done(opening);
    const begin = performance.now();
    const writing = database.transaction("store", "readwrite", { durability: "strict" });
    for (const record of records[format]) writing.objectStore("store").put(...record);
    await new Promise((resolve) => (writing.oncomplete = resolve));
    return performance.now() - begin;
  };

  const ways = {
    getAll: async (store) => (await Promise.all([done(store.getAll()), done(store.getAllKeys())]))[0].length,
    "getAll, 10 000 at a time": async (store) => {
      let count = 0;
      for (let range; ; ) {
        const [values, keys] = await Promise.all([done(store.getAll(range, 10_000)), done(store.getAllKeys(range, 10_000))]);
        count += values.length;
        if (values.length < 10_000) return count;
        range = IDBKeyRange.lowerBound(keys.at(-1), true);
      }
    },
    "a cursor": (store) =>
      new Promise((resolve) => {
        const values = [];
        store.openCursor().onsuccess = ({ target: { result: cursor } }) => {
          if (cursor === null) return resolve(values.length);
          values.push([cursor.key, cursor.value]);
          cursor.continue();
        };
      }),
  };
  window.readFormat = async (format) => {
    const times = [];
    for (const [way, read] of Object.entries(ways).slice(0, format === "rows" ? 3 : 1)) {
      const begin = performance.now();
      const count = await read(database.transaction("store").objectStore("store"));
      times.push([way, performance.now() - begin]);
      if (count !== records[format].length) throw new Error(`${count} records are read`);
    }
    return times;
  };
}

await run(measure);
