#!/usr/bin/env bash
# Builds the page and the server for release: first the page's files, then the server that carries them in itself.
#
# `cargo leptos build` does the same, but takes minutes to be compiled itself, so only `make dev` needs it. What both agree on is
# in Leptos.toml, and the tests build with both.
set -euo pipefail
cd "$(dirname "$0")/.."

target=${CARGO_TARGET_DIR:-target}

cargo build --package keybook-bindgen
cargo build --package keybook --lib --no-default-features --features hydrate \
    --target wasm32-unknown-unknown --profile wasm-release --target-dir "$target/front"
NODE_PATH=${XDG_CACHE_HOME:-$HOME/.cache}/keybook/tools/node_modules node scripts/page.mjs \
    "$target/front/wasm32-unknown-unknown/wasm-release/keybook.wasm" "$target/debug/keybook-bindgen"
cargo build --package keybook --bin keybook --release --config scripts/haste.toml
