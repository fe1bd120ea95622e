# The first command of a clone: `make run`. What is missing is set up by scripts/setup.sh.

TOOLS := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/keybook/tools
export PATH := $(TOOLS)/bin:$(TOOLS)/node_modules/.bin:$(PATH)

.PHONY: run build test fresh dev bench fuzz

# Build for release and serve on 127.0.0.1:3000.
run: build
	exec $(or $(CARGO_TARGET_DIR),target)/release/keybook serve

build:
	scripts/setup.sh build
	scripts/build.sh

# Everything that CI checks.
test:
	scripts/setup.sh test
	scripts/test.sh

# From nothing: what a goal does, and how long it takes, in a fresh clone with empty caches. GOAL is build or test.
GOAL := build
fresh:
	scripts/fresh.sh $(GOAL)

# Serve a debug build, built again and reloaded at each change. Names without hashes, or each build would add files.
dev:
	scripts/setup.sh dev
	LEPTOS_HASH_FILES=false cargo leptos watch

# Comparisons with peers, what the server delivers, how fast the page is and what it keeps; for a quiet machine.
bench: build
	scripts/setup.sh test
	cargo bench --package keybook-bench

# Each fuzz target for so many seconds.
FUZZ_S := 300
fuzz:
	scripts/setup.sh fuzz
	cd crates/core && for target in decode peers; do \
		cargo fuzz run -s none $$target -- -max_total_time=$(FUZZ_S) -max_len=4096 -len_control=0 -timeout=30 || exit; done
