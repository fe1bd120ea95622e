// The page and its files, as the release binary serves them to a browser.

import assert from "node:assert/strict";
import { test } from "node:test";
import { brotliDecompressSync, gunzipSync } from "node:zlib";
import { field, row, set, settled, status } from "./entries.mjs";
import { fetchRaw, openPage, screenshot, Server, startBrowser, visit } from "./harness.mjs";

const looks = {
  light: { colorScheme: "light", viewport: { width: 1200, height: 800 } },
  dark: { colorScheme: "dark", viewport: { width: 1200, height: 800 } },
  wide: { colorScheme: "light", viewport: { width: 1440, height: 900 } },
  phone: { colorScheme: "light", viewport: { width: 360, height: 720 }, hasTouch: true },
};

const errors = [
  { name: "not-found", path: "/nowhere", status: 404, heading: "Nothing is here" },
  { name: "bad-name", path: "/d/Price%20List", status: 400, heading: "No dictionary can have this name" },
];

test("the page comes to life, without an error on its console", async (t) => {
  const server = await Server.start(t);
  const browser = await startBrowser(t);
  const long = { key: `${"a-long-key/".repeat(12)}end`, text: "A sentence that does not end. ".repeat(30) };
  const entries = [
    ["colour.background", "#f4f6fa"],
    ["colour.text", "#171c28"],
    ["feature.checkout", "true"],
    ["feature.rollout", '{"percent":25,"regions":["eu","us"]}'],
    ["greeting.de", "Guten Tag"],
    ["greeting.ru", "Здравствуйте"],
    ["price.large", "12.90"],
    ["price.small", "7.50"],
    ["stock.note", ""],
    [long.key, long.text],
  ];
  for (const [look, options] of Object.entries(looks)) {
    const page = await openPage(t, browser, options);
    assert.equal((await visit(page, `${server.url}/d/empty`)).status(), 200);
    await page.getByText("Nothing here yet").waitFor();
    await settled(page);
    await assertFits(page);
    await screenshot(page, `empty-${look}`);

    await visit(page, server.url);
    for (const [key, text] of entries) await set(page, key, text);
    await settled(page);
    await assertFits(page);
    await screenshot(page, `page-${look}`);

    await row(page, "price.small").getByRole("gridcell").first().dblclick();
    await field(page, "Value of price.small").fill("8.20");
    await row(page, "stock.note").getByRole("button").evaluate((button) => button.click());
    await field(page, "Key").fill("colour.text");
    await field(page, "Value").fill("x".repeat(70_000));
    await page.getByRole("button", { name: "Set", exact: true }).click();
    await assertFits(page);
    await screenshot(page, `busy-${look}`);
  }
});

test("a page without its server looks as if somebody had thought of it", async (t) => {
  const server = await Server.start(t);
  const browser = await startBrowser(t);
  const pages = {};
  for (const [look, options] of Object.entries(looks)) {
    const page = (pages[look] = await openPage(t, browser, { ...options, allowed: [/WebSocket connection to .* failed/] }));
    await visit(page, server.url);
    await set(page, `colour.${look}`, "blue");
    await settled(page);
  }
  await server.kill();
  for (const [look, page] of Object.entries(pages)) {
    await status(page, "Connection", "Offline");
    await set(page, "colour.text", "#171c28");
    await status(page, "Sync", "1 edit saved on this device");
    await assertFits(page);
    await screenshot(page, `offline-${look}`);
  }
});

test("an error has its status and a page that looks designed", async (t) => {
  const server = await Server.start(t);
  const browser = await startBrowser(t);
  for (const { name, path, status, heading } of errors) {
    for (const [look, options] of Object.entries(looks)) {
      // Chromium itself complains about the status of a document.
      const page = await openPage(t, browser, { ...options, allowed: [/responded with a status of 40[04]/] });
      assert.equal((await page.goto(server.url + path)).status(), status);
      await page.getByRole("heading", { name: heading }).waitFor();
      const background = await page.evaluate(() => getComputedStyle(document.body).backgroundColor);
      assert.notEqual(background, "rgba(0, 0, 0, 0)", "the style is applied");
      await assertFits(page);
      await screenshot(page, `${name}-${look}`);
    }
  }
});

test("files are compressed, and those whose name changes with their bytes are kept for ever", async (t) => {
  const server = await Server.start(t);
  const html = (await fetchRaw(server.url)).body.toString();
  const named = [...html.matchAll(/(?:href|src)="(\/[^"]+)"/g)].map((match) => match[1]);
  const files = new Set(named);
  for (const extension of ["js", "wasm", "css", "svg"]) {
    assert.ok([...files].some((file) => file.endsWith(`.${extension}`)), `the document names a .${extension}`);
  }
  for (const file of files) {
    const plain = await fetchRaw(server.url + file);
    assert.equal(plain.status, 200, file);
    assert.equal(plain.headers["content-encoding"], undefined, file);
    const expected = file.startsWith("/pkg/") ? "public, max-age=31536000, immutable" : "no-cache";
    for (const [accepted, encoding, decode] of [
      ["gzip, deflate, br, zstd", "br", brotliDecompressSync],
      ["gzip", "gzip", gunzipSync],
    ]) {
      const { headers, body } = await fetchRaw(server.url + file, { "accept-encoding": accepted });
      assert.equal(headers["content-encoding"], encoding, file);
      assert.equal(headers["cache-control"], expected, file);
      assert.equal(headers["content-type"], plain.headers["content-type"], file);
      assert.equal(headers.vary, "accept-encoding", file);
      assert.deepEqual(decode(body), plain.body, file);
      const again = await fetchRaw(server.url + file, {
        "accept-encoding": accepted,
        "if-none-match": headers.etag,
      });
      assert.equal(again.status, 304, file);
      assert.equal(again.body.length, 0, file);
    }
  }
});

test("a document is compressed too", async (t) => {
  const server = await Server.start(t);
  const { headers } = await fetchRaw(server.url, { "accept-encoding": "gzip, deflate, br, zstd" });
  assert.match(headers["content-encoding"] ?? "none", /^(br|gzip|zstd)$/);
});

test("a server killed starts again on its port, and stops when it is asked to", async (t) => {
  const server = await Server.start(t);
  const { url } = server;
  await server.kill();
  await server.restart();
  assert.equal(server.url, url);
  assert.equal((await fetchRaw(`${url}/livez`)).status, 200);
  assert.equal(await server.stop(), 0);
});

/** Nothing is wider than the window. */
async function assertFits(page) {
  const [content, frame] = await page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
  assert.ok(content <= frame, `the content is ${content} px wide, the window ${frame} px`);
}
