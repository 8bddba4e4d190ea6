# `make demo` shows the main job on embedded parts; `make test` runs everything. See README.md.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
MAKEFLAGS += --no-builtin-rules
.DEFAULT_GOAL := help
# cargo uses all cores itself, and `check` comes before what takes long.
.NOTPARALLEL:

# Where rustup has the version of rust-toolchain.toml only as "stable", that one is taken: nothing is fetched.
RUST := $(shell sed -n 's/^channel = "\(.*\)"$$/\1/p' rust-toolchain.toml)
ifeq ($(filter $(RUST)-%,$(shell rustup toolchain list -q 2>/dev/null || true)),)
ifneq ($(filter $(RUST),$(shell RUSTUP_TOOLCHAIN=stable RUSTUP_AUTO_INSTALL=0 rustc -V 2>/dev/null || true)),)
export RUSTUP_TOOLCHAIN := stable
endif
endif

# Of the machine that this is run on.
MUSL := $(shell uname -m)-unknown-linux-musl
# Real parts that the tests run against, and what builds the image.
PACKAGES := pebble nginx-light haproxy certbot openssl musl-tools chromium prometheus iproute2 python3-venv strace
COMMANDS := pebble nginx haproxy certbot openssl musl-gcc chromium promtool ip python3 strace
# Authorities that Debian does not have: pinned versions from PyPI, in a folder of their own.
FOREIGN := target/foreign
VERSIONS := tests/foreign.txt
# What `check` looks at dependencies with: pinned, in a folder of their own. They are built without optimising and
# without debug information: less than a minute of two cores for both instead of minutes, for a second more in each check.
TOOLS := target/tools
CHECKERS := cargo-deny@0.20.2 cargo-machete@0.9.2
# An advisory database that does not answer is waited for no longer than this.
PATIENCE := 20
# Of prometheus only promtool is wanted: where it is new, systemd is told never to start it.
# Tests that run them, or Docker.
REAL := real:: docker:: store_certbot:: store_takeover::keys:: bundle::key::

.PHONY: help
help: ## this list
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

.PHONY: demo
demo: ## the main job on embedded parts, no root, nothing to install (KEEP=1 stays up)
	cargo build -p rancher-lets-encrypt -p sandbox --bin rancher-lets-encrypt --bin demo
	target/debug/demo target/debug/rancher-lets-encrypt $(if $(KEEP),--keep)

.PHONY: check
check: tools ## what needs nothing installed and runs nothing: style, lints, tidiness, docs, dependencies
	cargo fmt --all -- --check
	cargo clippy --workspace --all-targets -- -D warnings
	cargo test -q -p rancher-lets-encrypt --test it -- tidy::
	RUSTDOCFLAGS=-Dwarnings cargo doc --workspace --no-deps --document-private-items
	$(TOOLS)/bin/cargo-machete
	$(TOOLS)/bin/cargo-deny --workspace --locked check licenses bans sources
	@if timeout $(PATIENCE) $(TOOLS)/bin/cargo-deny fetch db 2>/dev/null; then \
		echo '$(TOOLS)/bin/cargo-deny --workspace --locked check advisories'; \
		$(TOOLS)/bin/cargo-deny --workspace --locked check advisories; \
	else \
		echo 'advisories are not checked: their database cannot be reached from here'; \
	fi

.PHONY: test
test: check setup static ## everything: what check does, all tests on real parts, the image in Docker
	cargo test --workspace --exclude simulation -- --skip tidy::
	cargo test --profile simulate -p simulation
	$(MAKE) simulate SEEDS=50 FIRST= SEED= COSTS= DAYS= LOG=
	$(MAKE) demo KEEP=

.PHONY: quick
quick: ## the tests that need no installed program: for the edit-test loop
	cargo test -p rancher-lets-encrypt --lib -- $(REAL:%=--skip %)
	cargo test -p rancher-lets-encrypt --test it -- $(REAL:%=--skip %)

.PHONY: soak
soak: setup ## real parts in bad weather: faults, kills, full disks, two instances (MINUTES=5 SEED=any)
	SOAK_MINUTES=$(or $(MINUTES),5) SOAK_SEED=$(SEED) cargo test -p rancher-lets-encrypt --test it -- real::soak caddy::soak --include-ignored --nocapture

.PHONY: picture
picture: setup ## makes the picture of the status page anew
	PICTURE=1 cargo test -p rancher-lets-encrypt --test it -- real::page::picture

.PHONY: fuzz
fuzz: ## the tests that draw their cases, with many of them (CASES=20000)
	PROPTEST_CASES=$(or $(CASES),20000) cargo test -p rancher-lets-encrypt --lib
	PROPTEST_CASES=$(or $(CASES),20000) cargo test -p rancher-lets-encrypt --test it -- mangled::

.PHONY: static
static: setup ## the static binary of the image
	cargo build --release --locked --target $(MUSL) --bin rancher-lets-encrypt

BENCH = target/release/bench target/$(MUSL)/release/rancher-lets-encrypt $(filter-out passes,$(PART))
.PHONY: bench
bench: static ## speed, CPU, memory and syncs of the shipped binary; passes an hour with 50 broken names (PART="one many", or of syncs, idle, pebble, label, fresh, passes)
	cargo build --release -p sandbox --bins
	$(if $(filter-out passes,$(or $(PART),all)),$(BENCH))
	$(if $(filter passes,$(or $(PART),passes)),cargo run --profile simulate -p simulation --bin simulate -- --passes)

.PHONY: simulate
simulate: ## two years at a time on virtual clocks, with faults and crashes (SEEDS=1000 from FIRST=1 on, SEED=n with its history, or COSTS=1)
	cargo run --profile simulate -p simulation --bin simulate -- $(if $(COSTS),--costs) $(if $(SEED),--seed $(SEED),--seeds $(or $(SEEDS),1000)) $(if $(FIRST),--first $(FIRST)) $(if $(DAYS),--days $(DAYS)) $(if $(LOG),--log $(LOG))

.PHONY: setup
setup: tools ## installs with apt, rustup, pip and cargo what the tests need
	@missing=; for command in $(COMMANDS); do PATH="$$PATH:/usr/sbin" command -v $$command >/dev/null || missing=1; done; \
	python3 -c 'import ensurepip, venv' 2>/dev/null || missing=1; \
	if [ -n "$$missing" ]; then \
		echo 'installing $(PACKAGES)'; \
		as_root=; [ "$$(id -u)" = 0 ] || as_root=sudo; \
		$$as_root apt-get update -q; \
		if [ -d /run/systemd/system ] && ! command -v prometheus >/dev/null; then $$as_root systemctl mask prometheus; fi; \
		$$as_root env RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends $(PACKAGES); \
	fi
	@rustc --print target-libdir --target $(MUSL) 2>/dev/null | xargs test -d || rustup target add $(MUSL)
	@if ! { cmp -s $(VERSIONS) $(FOREIGN)/installed && $(FOREIGN)/bin/python -c 'import acme2certifier, gunicorn'; }; then \
		echo 'installing $(VERSIONS) in $(FOREIGN)'; \
		rm -rf $(FOREIGN); \
		python3 -m venv $(FOREIGN); \
		$(FOREIGN)/bin/pip install -q --disable-pip-version-check --only-binary :all: -r $(VERSIONS); \
		cp $(VERSIONS) $(FOREIGN)/installed; \
	fi

.PHONY: tools
tools:
	@for tool in $(CHECKERS); do \
		grep -qs "^\"$${tool/@/ } " $(TOOLS)/.crates.toml && continue; \
		echo "installing $$tool in $(TOOLS)"; \
		CARGO_PROFILE_DEV_DEBUG=0 cargo install --locked --quiet --debug --root $(TOOLS) $$tool; \
	done
