// The page's parts by the names that people and screen readers know them by, and ways to fill a dictionary.

import assert from "node:assert/strict";

export const field = (page, name) => page.getByRole("textbox", { name, exact: true });
export const grid = (page) => page.getByRole("grid", { name: "Entries" });
export const row = (page, key) => grid(page).getByRole("row", { name: key, exact: true });
export const value = (page, key) => row(page, key).getByRole("gridcell").nth(0);
export const state = (page, key) => row(page, key).getByRole("gridcell").nth(2);

/** Sets an entry by the form, as a person would. */
export async function set(page, key, text) {
  await field(page, "Key").fill(key);
  await field(page, "Value").fill(text);
  await page.getByRole("button", { name: "Set", exact: true }).click();
}

/** Waits until a part of the page says exactly this. */
export async function says(locator, text) {
  const exact = new RegExp(`^\\s*${text.replace(/[.*+?^${}()|[\]\\]/g, "\\$&")}\\s*$`);
  await locator.filter({ hasText: exact }).waitFor();
}

/** Waits until the status of this name (Connection, Sync) says exactly this. */
export async function status(page, name, text) {
  await says(page.getByRole("status", { name, exact: true }), text);
}

/** Waits until the replica is the server's, all edits acknowledged and all digests equal. */
export async function settled(page) {
  await status(page, "Connection", "Live");
  await status(page, "Sync", "Saved");
  await page.getByText("Verified", { exact: true }).waitFor();
}

/** All keys and values that the page shows, for a dictionary that fits its window. */
export async function shown(page) {
  const rows = await grid(page).locator("[role=row][aria-label]").all();
  const pairs = rows.map(async (each) => [await each.getAttribute("aria-label"), await each.locator(".text").first().textContent()]);
  return Object.fromEntries(await Promise.all(pairs));
}

/**
 * Writes `count` entries, `key-000000` with the value 0 and so on, by a WebSocket of the page's own, as
 * docs/protocol.md describes it. Returns when all are acknowledged.
 */
export async function seed(page, dictionary, count) {
  const acknowledged = await page.evaluate(write, { dictionary, count });
  assert.equal(acknowledged, count);
}

/** Runs in the page. */
async function write({ dictionary, count }) {
  const head = (major, length) => {
    const number = BigInt(length);
    const bytes = [23n, 0xffn, 0xffffn, 0xffffffffn].findIndex((max) => number <= max);
    const width = [0, 1, 2, 4, 8].at(bytes);
    const digits = Array.from({ length: width }, (_, at) => Number((number >> BigInt(8 * (width - 1 - at))) & 0xffn));
    return [(major << 5) | (width === 0 ? Number(number) : 24 + Math.log2(width)), ...digits];
  };
  const encode = (item) => {
    if (item === null) return [0xf6];
    if (Array.isArray(item)) return [...head(4, item.length), ...item.flatMap(encode)];
    if (item instanceof Uint8Array) return [...head(2, item.length), ...item];
    if (typeof item === "string") {
      const text = new TextEncoder().encode(item);
      return [...head(3, text.length), ...text];
    }
    return head(0, item);
  };
  const stamp = (milliseconds, counter, replica) => {
    const bytes = new Uint8Array(16);
    const view = new DataView(bytes.buffer);
    view.setBigUint64(0, (BigInt(milliseconds) << 16n) | BigInt(counter << 1) | 1n);
    view.setBigUint64(8, BigInt(replica));
    return bytes;
  };

  const replica = crypto.getRandomValues(new Uint32Array(1))[0];
  const author = [crypto.getRandomValues(new Uint8Array(8)), "Seed"];
  const now = Date.now();
  const pushes = [];
  for (let from = 0; from < count; from += 512) {
    const ops = [];
    for (let number = from; number < Math.min(count, from + 512); number++) {
      const key = `key-${String(number).padStart(6, "0")}`;
      ops.push([key, String(number), stamp(now, number % 32768, replica), [new Uint8Array(16)], 0, null, null]);
    }
    pushes.push(ops);
  }

  const socket = new WebSocket(`${location.origin.replace("http", "ws")}/api/v1/dictionaries/${dictionary}/socket`, "keybook.v1");
  socket.binaryType = "arraybuffer";
  await new Promise((resolve, reject) => {
    socket.onopen = resolve;
    socket.onerror = () => reject(new Error("the socket does not open"));
  });
  socket.send(new Uint8Array(encode([0, 1, null, replica, null, null, [], 0, now, author, 0])));
  let sent = 0;
  let acknowledged = 0;
  const push = () => {
    if (sent === pushes.length) return;
    socket.send(new Uint8Array(encode([1, sent, pushes[sent]])));
    sent++;
  };
  await new Promise((resolve, reject) => {
    socket.onmessage = ({ data }) => {
      const frame = new Uint8Array(data);
      if (frame[1] === 23) return reject(new Error(new TextDecoder().decode(frame)));
      // An array of four that begins with 18 is an Ack, and it ends with its exceptions.
      if (frame[0] !== 0x84 || frame[1] !== 18) return;
      if (frame.at(-1) !== 0x80) return reject(new Error("an operation was refused"));
      acknowledged += 1;
      if (acknowledged === pushes.length) return resolve();
      push();
    };
    socket.onclose = () => reject(new Error("the socket closed"));
    for (let flight = 0; flight < 4; flight++) push();
  });
  socket.onclose = null;
  socket.close();
  return pushes.reduce((total, ops) => total + ops.length, 0);
}
