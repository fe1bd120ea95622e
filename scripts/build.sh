#!/usr/bin/env bash
# Builds the page and the server for release: first the page's files, then the server that carries them in itself.
set -euo pipefail
cd "$(dirname "$0")/.."

cargo leptos build --release --precompress --frontend-only
# Once more: cargo-leptos runs wasm-opt once, without looking at the whole program, which leaves a fiftieth. The first kilobyte
# is the far end of the stack.
for file in target/site/pkg/*.wasm; do
    wasm-opt -Oz --gufa --converge --low-memory-unused --enable-bulk-memory --enable-nontrapping-float-to-int \
        --enable-sign-ext --enable-mutable-globals --enable-reference-types --enable-multivalue "$file" --output "$file"
    node --eval 'const { brotliCompressSync } = require("zlib"), fs = require("fs"), [file] = process.argv.slice(1);
        fs.writeFileSync(`${file}.br`, brotliCompressSync(fs.readFileSync(file)));' "$file"
done
# What cargo-leptos calls gzip is a fifth larger than what zopfli makes of it; a plain HTTP page is served nothing better.
find target/site -name '*.gz' -print0 | NODE_PATH=${XDG_CACHE_HOME:-$HOME/.cache}/keybook/tools/node_modules xargs -0 node --eval '
    const { gzipAsync } = require("@gfx/zopfli"), fs = require("fs");
    (async () => {
        for (const file of process.argv.slice(1)) {
            fs.writeFileSync(file, await gzipAsync(fs.readFileSync(file.slice(0, -".gz".length)), {}));
        }
    })();'
cargo leptos build --release --server-only
