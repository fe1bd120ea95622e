#!/usr/bin/env bash
# Makes a goal of the Makefile as on a machine that has only what README.md asks for: a fresh clone of what is committed, and
# an empty home, so no cache of Cargo, npm or ours. The Rust toolchain and apt's packages are this machine's.
#
#   scripts/fresh.sh build|test
set -euo pipefail
cd "$(dirname "$0")/.."

goal=${1:?usage: scripts/fresh.sh build|test}
home=$(mktemp -d)
trap 'rm -rf "$home"' EXIT
git clone --quiet . "$home/keybook"

env -u CARGO_HOME -u CARGO_TARGET_DIR -u XDG_CACHE_HOME RUSTUP_HOME="${RUSTUP_HOME:-$HOME/.rustup}" HOME="$home" \
    bash -c 'time make -C "$HOME/keybook" "$1"' - "$goal"
