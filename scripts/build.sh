#!/usr/bin/env bash
# Builds the page and the server for release: first the page's files, then the server that carries them in itself.
set -euo pipefail
cd "$(dirname "$0")/.."

cargo leptos build --release --precompress --frontend-only
# What cargo-leptos calls gzip is a sixth larger than what gzip makes.
find target/site -name '*.gz' | while read -r file; do
    gzip -9 --no-name --stdout "${file%.gz}" >"$file"
done
cargo leptos build --release --server-only
