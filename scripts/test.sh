#!/usr/bin/env bash
# Everything that CI checks, ending in one line that counts the tests: `N passed, N failed`.
# Stops at the first broken check; among the tests, runs all of them whatever fails.
set -euo pipefail
cd "$(dirname "$0")/.."

output=$(mktemp -d)
trap 'rm -rf "$output"' EXIT
passed=0
failed=0
broken=0

check() {
    printf '\n== %s\n' "$*"
    "$@"
}

# tests NAME SED_SCRIPT COMMAND...
# Runs a suite and adds up what its output counts: the script prints lines `passed N` and `failed N`. A suite that fails
# without a failed test (it did not compile, it crashed), or that counts no test at all, breaks the run too.
tests() {
    local name=$1 script=$2 status=0 kind count suite_passed=0 suite_failed=0
    shift 2
    printf '\n== %s\n' "$*"
    "$@" 2>&1 | tee "$output/$name" || status=$?
    while read -r kind count; do
        case $kind in
            passed) suite_passed=$((suite_passed + count)) ;;
            failed) suite_failed=$((suite_failed + count)) ;;
        esac
    done < <(sed 's/\x1b\[[0-9;]*m//g' "$output/$name" | sed -nE "$script")
    passed=$((passed + suite_passed))
    failed=$((failed + suite_failed))
    if ((status != 0 || suite_failed > 0 || suite_passed == 0)); then
        printf '\n%s: exit code %d, %d passed, %d failed\n' "$name" "$status" "$suite_passed" "$suite_failed" >&2
        broken=1
    fi
}

# `Summary [ 0.5s] 12 tests run: 9 passed (1 slow), 2 failed, 1 timed out, 0 skipped`
nextest_counts='/^ *Summary \[/ {
    h; s/.*run: ([0-9]+) passed.*/passed \1/p
    g; s/.* ([0-9]+) failed.*/failed \1/p
    g; s/.* ([0-9]+) timed out.*/failed \1/p
    g; s/.* ([0-9]+) exec failed.*/failed \1/p
}'
# `# pass 12` and `# fail 0` of the test anything protocol; a cancelled test failed.
node_counts='s/^# pass ([0-9]+)$/passed \1/p; s/^# (fail|cancelled) ([0-9]+)$/failed \2/p'

check cargo fmt --all --check
check cargo clippy --workspace --all-targets -- -D warnings
check cargo clippy --package keybook --lib --no-default-features --features hydrate \
    --target wasm32-unknown-unknown -- -D warnings
check cargo deny check licenses bans sources
check env RUSTDOCFLAGS='-D warnings' cargo doc --workspace --no-deps
check cargo test --workspace --doc --quiet
tests nextest "$nextest_counts" cargo nextest run --workspace --no-fail-fast
tests mutants "$nextest_counts" env RUSTFLAGS='--cfg keybook_mutants' CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-target}/mutants" \
    cargo nextest run --package keybook-core --lib --test mutants
# `make dev` builds the page by cargo-leptos, of the same options.
check env LEPTOS_SITE_ROOT=target/leptos-site LEPTOS_HASH_FILES=false cargo leptos build --frontend-only
check scripts/build.sh
tests browser "$node_counts" node --test --test-concurrency=1 --test-reporter=tap end2end/*.test.mjs
tests engines "$node_counts" node --test --test-concurrency=1 --test-reporter=tap end2end/engines/*.test.mjs

printf '\n%d passed, %d failed\n' "$passed" "$failed"
exit "$broken"
