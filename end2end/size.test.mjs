// What a first visit costs over the wire, against the limits that we set ourselves.

import assert from "node:assert/strict";
import { test } from "node:test";
import { fetchRaw, openPage, Server, startBrowser, visit } from "./harness.mjs";

/** The WebAssembly alone, gzipped. */
const wasmBytesMax = 245_500;
/** All that the browser asks for, gzipped. */
const visitBytesMax = 264_500;

test("a first visit is small", async (t) => {
  const server = await Server.start(t);
  const page = await openPage(t, await startBrowser(t));
  const urls = new Set();
  // The context's requests are the worker's too, which has the most of what it keeps from the browser's cache.
  page.context().on("request", (request) => urls.add(request.url()));
  await visit(page, server.url);
  await page.evaluate(async () => void (await navigator.serviceWorker.ready));
  await page.waitForLoadState("networkidle");
  // Headless Chromium does not ask for these; a window does.
  for (const link of await page.locator("link[rel=icon], link[rel=manifest]").all()) {
    urls.add(new URL(await link.getAttribute("href"), server.url).href);
  }

  const rows = [];
  for (const url of urls) {
    const row = { file: new URL(url).pathname };
    for (const encoding of ["identity", "gzip", "br"]) {
      row[encoding] = (await fetchRaw(url, { "accept-encoding": encoding })).body.length;
    }
    rows.push(row);
  }
  const sum = (encoding) => rows.reduce((total, row) => total + row[encoding], 0);
  const total = { file: "a first visit", identity: sum("identity"), gzip: sum("gzip"), br: sum("br") };
  for (const { file, identity, gzip, br } of [...rows, total]) {
    t.diagnostic(`${file}: ${identity} bytes, ${gzip} gzip, ${br} br`);
  }

  const wasm = rows.find((row) => row.file.endsWith(".wasm"));
  assert.ok(wasm, "the page loads its WebAssembly");
  assert.ok(wasm.gzip <= wasmBytesMax, `${wasm.file} is ${wasm.gzip} bytes gzipped, limit is ${wasmBytesMax}`);
  assert.ok(total.gzip <= visitBytesMax, `a first visit is ${total.gzip} bytes gzipped, limit is ${visitBytesMax}`);
});
