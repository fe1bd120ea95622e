// Makes target/site, the files that the server carries in itself: `node scripts/page.mjs INPUT.wasm BINDGEN`, where INPUT.wasm is
// what Cargo has compiled and BINDGEN is the program of scripts/bindgen. Beside the files of public/ it has the page's script,
// WebAssembly and style in pkg/, with a hash in each name, and each file gzipped and brotlied.
//
// It does what `cargo leptos build --release --precompress` does, with tools that need not be compiled for minutes. What has not
// changed is not written, so that Cargo does not build the server again.

import { execFileSync } from "node:child_process";
import { createHash } from "node:crypto";
import { appendFileSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { brotliCompressSync } from "node:zlib";
import { orderingNames } from "./order.mjs";

// From NODE_PATH, the folder that scripts/setup.sh fills.
const require = createRequire(import.meta.url);
const { transformSync } = require("esbuild");
const { gzipAsync } = require("@gfx/zopfli");

const root = fileURLToPath(new URL("..", import.meta.url));
const wasmOpt = path.join(process.env.NODE_PATH, ".bin/wasm-opt");
const site = path.join(root, "target/site");
/** Names what target/site was made from, and what it was then. */
const stamp = path.join(root, "target/site.made");
/** The oldest browsers that the script and the style are written for. */
const target = ["chrome111", "firefox114", "safari16.4"];
/** What Rust compiles to, and these browsers understand. */
const features = [
  "--enable-bulk-memory",
  "--enable-nontrapping-float-to-int",
  "--enable-sign-ext",
  "--enable-mutable-globals",
  "--enable-reference-types",
  "--enable-multivalue",
];

const [input, bindgen] = process.argv.slice(2);
const ours = ["scripts/page.mjs", "scripts/order.mjs", "scripts/setup.sh", "style/main.css"];
const sources = [input, bindgen, ...ours.map((name) => path.join(root, name))];
const from = digest([...sources, ...list(path.join(root, "public"))]);
if (read(stamp)?.toString() !== `${from} ${digest(list(site))}`) {
  write(await pageFiles());
  writeFileSync(stamp, `${from} ${digest(list(site))}`);
}

/** The files of the page: what stands at each path below target/site. */
async function pageFiles() {
  const files = new Map();
  for (const file of list(path.join(root, "public"))) {
    files.set(path.relative(path.join(root, "public"), file), readFileSync(file));
  }
  const { script, wasm } = compiled();
  const style = readFileSync(path.join(root, "style/main.css"), "utf8");
  for (const [extension, contents] of [
    ["js", transformSync(script, { minify: true, format: "esm", target }).code],
    ["wasm", wasm],
    ["css", transformSync(style, { minify: true, loader: "css", target }).code],
  ]) {
    const bytes = Buffer.from(contents);
    // 22 characters: the server knows a hashed name by its length.
    const hash = createHash("sha256").update(bytes).digest("base64url").slice(0, 22);
    files.set(`pkg/keybook.${hash}.${extension}`, bytes);
  }
  for (const [name, bytes] of [...files]) {
    // Of zopfli, a fifth smaller than of zlib; a page over plain HTTP is served nothing better.
    files.set(`${name}.gz`, await gzipAsync(bytes, {}));
    files.set(`${name}.br`, brotliCompressSync(bytes));
  }
  return files;
}

/** The script and the WebAssembly, the latter made small. */
function compiled() {
  const folder = mkdtempSync(path.join(tmpdir(), "keybook-page-"));
  try {
    execFileSync(bindgen, [input, folder], { stdio: "inherit" });
    const file = path.join(folder, "keybook_bg.wasm");
    const optimize = (...options) => execFileSync(wasmOpt, [...options, ...features, file, "--output", file], { stdio: "inherit" });
    optimize("-Oz");
    // With a look at the whole program, which takes away a fiftieth. The first kilobyte is the far end of the stack.
    optimize("-Oz", "--gufa", "--converge", "--low-memory-unused");
    optimize("-Oz", "--rse", "--vacuum", "--low-memory-unused", "--strip-producers", "--strip-target-features");
    appendFileSync(file, orderingNames(readFileSync(file)));
    optimize("--reorder-functions-by-name");
    return { script: readFileSync(path.join(folder, "keybook.js"), "utf8"), wasm: readFileSync(file) };
  } finally {
    rmSync(folder, { recursive: true });
  }
}

/** Makes target/site hold these files and no others. */
function write(files) {
  mkdirSync(site, { recursive: true });
  for (const file of list(site)) {
    if (!files.has(path.relative(site, file))) rmSync(file);
  }
  for (const [name, bytes] of files) {
    const file = path.join(site, name);
    if (read(file)?.equals(bytes)) continue;
    mkdirSync(path.dirname(file), { recursive: true });
    writeFileSync(file, bytes);
  }
}

/** The files below a folder. */
function list(folder) {
  if (!existsSync(folder)) return [];
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => path.join(entry.parentPath ?? entry.path, entry.name))
    .sort();
}

function read(file) {
  try {
    return readFileSync(file);
  } catch (error) {
    if (error.code === "ENOENT") return undefined;
    throw error;
  }
}

/** One hash of files, their paths included. */
function digest(files) {
  const hash = createHash("sha256");
  for (const file of files) hash.update(`${file}\0`).update(readFileSync(file));
  return hash.digest("hex");
}
