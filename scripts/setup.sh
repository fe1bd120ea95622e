#!/usr/bin/env bash
# Installs what is missing, says what it installs, and skips what is there:
#
#   scripts/setup.sh build   what building needs: a target of Rust, and three tools from npm
#   scripts/setup.sh dev     that, and what `make dev` needs: cargo-leptos
#   scripts/setup.sh test    that, and what the tests need: cargo-nextest, cargo-deny, three browsers and their drivers, a font
#   scripts/setup.sh fuzz    what fuzzing needs: cargo-fuzz
#
# Tools of fixed versions go to ~/.cache/keybook/tools, which all clones share; browsers come from apt. Assumed, and not
# installed: rustup, gcc, g++, make, Node 20 or later with npm.
set -euo pipefail
cd "$(dirname "$0")/.."

rust=1.95.0
binaryen=132
esbuild=0.28.2
zopfli=1.0.15
wasm_bindgen=0.2.129 # the same as in Cargo.toml
cargo_leptos=0.3.10  # the last one for Rust 1.95
cargo_nextest=0.9.143
cargo_deny=0.20.2
cargo_fuzz=0.13.2

tools=${XDG_CACHE_HOME:-$HOME/.cache}/keybook/tools
export PATH=$tools/bin:$tools/node_modules/.bin:$PATH

main() {
    case ${1:-} in
        build) building ;;
        dev)
            building
            developing
            ;;
        test)
            building
            developing
            testing
            ;;
        fuzz) cargo_tool cargo-fuzz "$cargo_fuzz" cargo fuzz --version ;;
        *) fail "usage: scripts/setup.sh build|dev|test|fuzz" ;;
    esac
}

building() {
    for program in rustup gcc g++ make node npm; do
        has "$program" || fail "$program is missing: Keybook needs rustup, gcc, g++, make, and Node 20 with npm"
    done
    node --eval 'process.exit(parseInt(process.versions.node) >= 20 ? 0 : 1)' ||
        fail "Node $(node --version) is too old: Keybook needs Node 20 or later"

    if ! rustup toolchain list | grep "^$rust-" >/dev/null; then
        say "Rust $rust, which rustup does not have yet"
        rustup toolchain install "$rust" --profile minimal --component clippy,rustfmt
    fi
    if ! rustup target list --toolchain "$rust" --installed | grep -x wasm32-unknown-unknown >/dev/null; then
        say "the wasm32-unknown-unknown target of Rust $rust"
        rustup target add --toolchain "$rust" wasm32-unknown-unknown
    fi
    # All at once: npm takes away what it is not asked for.
    if ! has_version "$binaryen" wasm-opt --version || ! has_version "$esbuild" esbuild --version ||
        ! grep -qs "\"version\": \"$zopfli\"" "$tools/node_modules/@gfx/zopfli/package.json"; then
        say "binaryen $binaryen (wasm-opt), esbuild $esbuild, zopfli $zopfli"
        npm install --prefix "$tools" --no-save --no-audit --no-fund --ignore-scripts \
            "binaryen@$binaryen.0.0" "esbuild@$esbuild" "@gfx/zopfli@$zopfli"
    fi
}

developing() {
    cargo_tool wasm-bindgen-cli "$wasm_bindgen" wasm-bindgen --version
    cargo_tool cargo-leptos "$cargo_leptos" cargo leptos --version -- --features no_downloads
}

testing() {
    cargo_tool cargo-nextest "$cargo_nextest" cargo nextest --version
    cargo_tool cargo-deny "$cargo_deny" cargo deny --version
    if ! node --eval 'const { devDependencies } = require("./end2end/package.json");
        for (const [name, version] of Object.entries(devDependencies)) {
            if (require(`./end2end/node_modules/${name}/package.json`).version !== version) process.exit(1);
        }' 2>/dev/null; then
        say "what end2end/package.json names"
        npm ci --prefix end2end --no-audit --no-fund
    fi
    local packages=()
    [[ -n ${CHROMIUM:-} ]] || has chromium || packages+=(chromium)
    [[ -n ${FIREFOX:-} ]] || has firefox-esr || packages+=(firefox-esr)
    has WebKitWebDriver || packages+=(webkit2gtk-driver)
    has Xvfb || packages+=(xvfb)
    { has fc-list && [[ -n $(fc-list) ]]; } || packages+=(fontconfig fonts-dejavu-core)
    if ((${#packages[@]} > 0)); then
        apt_install "${packages[@]}"
    fi
}

# cargo_tool PACKAGE VERSION COMMAND... [-- INSTALL OPTION...]
# Where cargo-binstall is there, it may fetch the program. Otherwise it is compiled, and in haste, since these run for seconds:
# their own release profiles take a quarter of an hour more.
cargo_tool() {
    local package=$1 version=$2 command=()
    shift 2
    while (($#)) && [[ $1 != -- ]]; do
        command+=("$1")
        shift
    done
    has_version "$version" "${command[@]}" && return
    say "$package $version"
    if has cargo-binstall && cargo binstall --no-confirm --disable-strategies compile --root "$tools" "$package@$version" &&
        has_version "$version" "${command[@]}"; then
        return
    fi
    env -u CARGO_TARGET_DIR \
        CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 \
        CARGO_PROFILE_RELEASE_OPT_LEVEL=0 CARGO_PROFILE_RELEASE_DEBUG=0 \
        cargo "+$rust" install --locked --root "$tools" "$package@$version" "${@:2}"
}

apt_install() {
    local as_root=()
    say "$* (apt)"
    if ((EUID != 0)); then
        has sudo || fail "installing $* needs root: run 'apt-get install $*' as root, then try again"
        as_root=(sudo)
    fi
    "${as_root[@]}" apt-get update
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends "$@"
}

has() { command -v "$1" >/dev/null; }

# Whether the output of a command holds a version as a word of its own. (Not grep -q: it would leave at the first match,
# and pipefail blames the command for the pipe that broke.)
has_version() {
    local version=$1
    shift
    "$@" 2>/dev/null | grep -wF -- "$version" >/dev/null
}

say() { printf 'setup: installing %s\n' "$*"; }

fail() {
    printf 'setup: %s\n' "$*" >&2
    exit 1
}

main "$@"
