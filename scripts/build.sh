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
# What cargo-leptos calls gzip is a sixth larger than what gzip makes.
find target/site -name '*.gz' | while read -r file; do
    gzip -9 --no-name --stdout "${file%.gz}" >"$file"
done
cargo leptos build --release --server-only
