# Every task of a user or a developer. `make` alone lists them.

SHELL := /bin/bash
.DEFAULT_GOAL := help
# rustup's programs, and those of the system that only root has in its path.
export PATH := $(HOME)/.cargo/bin:$(PATH):/usr/local/sbin:/usr/sbin:/sbin

# The kind of machine to build for, as uname(1) says it: x86_64 or aarch64.
ARCH ?= $(shell uname -m)
export TRIPLE := $(ARCH)-unknown-linux-musl
BUILD := $(or $(CARGO_TARGET_DIR),target)/$(TRIPLE)
PROGRAMS := nrun nman nbundle nconform
PREFIX ?= /usr/local
DESTDIR ?=
# Where everything goes, and whose programs that are.
INTO = $(DESTDIR)$(PREFIX)
FROM ?= $(BUILD)/release
PAGES := $(notdir $(wildcard docs/man/*.[18]))
COMPLETIONS = $(PROGRAMS:%=share/bash-completion/completions/%) $(PROGRAMS:%=share/zsh/site-functions/_%) \
	$(PROGRAMS:%=share/fish/vendor_completions.d/%.fish)
UNITS := lib/systemd/system/nman-containers.service lib/systemd/user/nman-containers.service
# What `nrun --version` shows; whoever builds from an archive can say it.
ifndef NRUN_COMMIT
NRUN_COMMIT := $(or $(shell git describe --always --dirty 2>/dev/null),unknown)
endif
export NRUN_COMMIT
# How often `make bench` measures each case, and which build `make bench` and `make conform` take.
RUNS ?= 20
PROFILE ?= release
# How large nrun may be on x86-64, in bytes: a release, and a build without link-time optimisation, which CI makes.
MOST_BYTES_release := 2335000
MOST_BYTES_quick := 2655000
# Sources of dependencies are named without the directory of whoever builds: in some thirty places of each program, else. So it is in all
# optimised builds, so that none of them is made twice.
SHORT_PATHS := CARGO_TARGET_$(shell echo $(TRIPLE) | tr a-z- A-Z_)_RUSTFLAGS
run release install conform conform-vm size bench bench-nman: export $(SHORT_PATHS) = --remap-path-prefix=$(or $(CARGO_HOME),$(HOME)/.cargo)/registry/src/=
# The runtime of `make test-with`.
RUNTIME ?= runc
# Which engines `make test-engines` drives; all when empty.
ENGINES ?=
# What `make run` runs in the container, instead of a shell; what `make conform-vm` tells the suite.
ARGS ?=

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

##### For users

.PHONY: run
run: deps-run ## Build, pull an image from a registry and run a shell in a container (root)
	cargo build --target $(TRIPLE) --profile quick $(PROGRAMS:%=--bin %)
	scripts/main-job $(BUILD)/quick $(ARGS)

.PHONY: release
release: deps ## Build the optimised, static programs
	cargo build --target $(TRIPLE) --release $(PROGRAMS:%=--bin %)
	scripts/licenses $(TRIPLE) >$(BUILD)/release/LICENSES-LINKED
	@ls -l $(PROGRAMS:%=$(BUILD)/release/%)
	$(if $(filter x86_64,$(ARCH)),scripts/check-size $(BUILD)/release/nrun $(MOST_BYTES_release))

.PHONY: install
install: release ## Build, and install programs, man pages, completions, systemd units, AppArmor profile to DESTDIR/PREFIX
	@$(MAKE) --no-print-directory install-built

.PHONY: install-built
install-built: ## Install what `make release` has built, or the programs in FROM: builds and fetches nothing
	install -d $(sort $(dir $(addprefix $(INTO)/,$(COMPLETIONS) $(UNITS)))) \
		$(INTO)/bin $(INTO)/share/man/man1 $(INTO)/share/man/man8 $(INTO)/share/nman/apparmor $(INTO)/share/doc/nman/docs
	install -m 755 $(PROGRAMS:%=$(FROM)/%) $(INTO)/bin
	install -m 644 docs/man/*.1 $(INTO)/share/man/man1
	install -m 644 docs/man/*.8 $(INTO)/share/man/man8
	install -m 644 manager/apparmor/nman-default $(INTO)/share/nman/apparmor
	install -m 644 README.md CHANGELOG.md CONTRIBUTING.md LICENSE-APACHE LICENSE-MIT $(INTO)/share/doc/nman
	install -m 644 docs/*.md $(INTO)/share/doc/nman/docs
	[ ! -e $(FROM)/LICENSES-LINKED ] || install -m 644 $(FROM)/LICENSES-LINKED $(INTO)/share/doc/nman
	for kind in system user; do \
		sed 's|@PREFIX@|$(PREFIX)|' manager/systemd/$$kind/nman-containers.service \
			>$(INTO)/lib/systemd/$$kind/nman-containers.service || exit 1; \
	done
	for program in $(PROGRAMS); do \
		$(FROM)/$$program completion bash >$(INTO)/share/bash-completion/completions/$$program && \
		$(FROM)/$$program completion zsh >$(INTO)/share/zsh/site-functions/_$$program && \
		$(FROM)/$$program completion fish >$(INTO)/share/fish/vendor_completions.d/$$program.fish || exit 1; \
	done

.PHONY: uninstall
uninstall: ## Remove what `make install` has put into DESTDIR/PREFIX; images and containers stay
	rm -f $(addprefix $(INTO)/,$(PROGRAMS:%=bin/%) $(COMPLETIONS) $(UNITS))
	rm -f $(foreach page,$(PAGES),$(INTO)/share/man/man$(subst .,,$(suffix $(page)))/$(page))
	rm -rf $(INTO)/share/nman $(INTO)/share/doc/nman

##### For developers

.PHONY: build
build: deps ## Build everything for development
	cargo build --target $(TRIPLE) --workspace

.PHONY: test
test: deps-test ## Run all tests, then look for what they left on the machine (root)
	scripts/test

.PHONY: test-with
test-with: deps-test ## Run nman's tests with another runtime than nrun: RUNTIME=runc (root)
	NMAN_TEST_RUNTIME=$(RUNTIME) scripts/test -p nman -E 'binary(cli)'

.PHONY: test-vm
test-vm: deps-guest ## Run nrun's and nman's tests in guests with cgroup v2: cgroupfs, systemd, uid 1000, nman; or MODES (root, slow)
	scripts/test-vm $(MODES)

.PHONY: test-arm64
test-arm64: deps-guest deps-guest-arm64 ## Run nrun's tests in a guest with an aarch64 processor; or TESTS, by binary (root, slow)
	scripts/test-arm64 $(TESTS)

.PHONY: test-vm-quick
test-vm-quick: deps-guest ## Of these, what is about cgroups and AppArmor, in minutes (root)
	scripts/test-vm quick

.PHONY: fuzz
fuzz: deps-fuzz ## Make up inputs for a TARGET of fuzz/README.md, for so many SECONDS (60), or show an INPUT again
	scripts/fuzz-seeds $(if $(filter command line,$(origin TARGET)),$(TARGET))
	cd fuzz && cargo build --release --bin $(TARGET)
	target/fuzz/x86_64-unknown-linux-gnu/release/$(TARGET) -max_total_time=$(or $(SECONDS),60) -timeout=20 \
		-artifact_prefix=fuzz/artifacts/$(TARGET)/ $(or $(INPUT),fuzz/corpus/$(TARGET))

.PHONY: attack
attack: deps-test ## Try what has broken runtimes on nrun, runc and crun, against canaries (root)
	cargo build --target $(TRIPLE) --bin nrun --bin nconform
	$(BUILD)/debug/nconform attack

.PHONY: test-engines
test-engines: deps-engines ## Drive ctr, docker and podman with runc and with nrun: what runc passes, nrun passes (root)
	cargo build --target $(TRIPLE) --bin nrun --bin nconform
	$(BUILD)/debug/nconform engines $(ENGINES:%=--engine %)

.PHONY: conform
conform: deps-bench ## Take nrun, runc and crun through the conformance suite, side by side (root)
	cargo build --target $(TRIPLE) --profile $(PROFILE) --bin nrun --bin nconform
	$(BUILD)/$(PROFILE)/nconform run --report html --output $(BUILD)/conform.html
	@echo "page: $(BUILD)/conform.html"

.PHONY: conform-vm
conform-vm: deps-guest ## The same suite in a guest with cgroup v2 and systemd; ARGS are `nconform run`'s (root, slow)
	PROFILE=$(PROFILE) scripts/conform-vm $(ARGS)

.PHONY: size
size: deps ## Check that nrun is no larger than it may be
	cargo build --target $(TRIPLE) --profile $(PROFILE) --bin nrun
	scripts/check-size $(BUILD)/$(PROFILE)/nrun $(MOST_BYTES_$(PROFILE))

.PHONY: bench
bench: deps-bench ## Compare nrun with runc, crun and the floor: time, memory, system calls; ARGS are `nconform bench`'s (root)
	cargo build --target $(TRIPLE) --profile $(PROFILE) --bin nrun --bin nconform
	$(BUILD)/$(PROFILE)/nconform bench --runs $(RUNS) --svg $(BUILD)/bench.svg $(ARGS)
	cargo bench --target $(TRIPLE) -q --profile $(PROFILE) -p nrun --bench seccomp
	@echo "chart: $(BUILD)/bench.svg"

.PHONY: bench-nman
bench-nman: deps-bench-nman ## Compare nman with podman, docker and ctr: starts, pulls, lists, logs (root)
	cargo build --target $(TRIPLE) --profile $(PROFILE) --bin nrun --bin nman --bin nbundle --bin nconform
	$(BUILD)/$(PROFILE)/nconform bench-nman --runs $(RUNS)

.PHONY: lint
lint: deps-lint ## Check format, clippy, licences and sources of dependencies, links of the documentation
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings
	cargo deny --log-level error check bans licenses sources
	scripts/check-docs

.PHONY: advisories
advisories: deps-lint ## Check dependencies for known vulnerabilities (fetches a database)
	cargo deny --log-level error check advisories

.PHONY: man
man: deps ## Write the man pages anew, from the definitions of the command lines
	UPDATE_MAN=1 cargo test -q -p nrun --lib cli::man
	UPDATE_MAN=1 cargo test -q -p nman --test cli manual_pages_match_the_command_line
	UPDATE_MAN=1 cargo test -q -p bundle-tools --bin nbundle manual_pages_match_the_command_line
	UPDATE_MAN=1 cargo test -q -p nconform --bin nconform manual_pages_match_the_command_line

.PHONY: docs
docs: deps ## Build the documentation of the libraries
	RUSTDOCFLAGS='-D warnings' cargo doc --workspace --no-deps

.PHONY: clean
clean: ## Remove everything that was built
	cargo clean

##### What each of them needs: every step says what is missing and installs it, with apt as root

.PHONY: deps deps-run deps-test deps-bench deps-bench-nman deps-engines deps-guest deps-fuzz deps-lint
deps: ## Install what building needs (as root)
	@scripts/deps build
deps-run:
	@scripts/deps build run
deps-test:
	@scripts/deps build run test
deps-bench:
	@scripts/deps build bench
deps-bench-nman:
	@scripts/deps build bench bench-nman
deps-engines:
	@scripts/deps build engines
deps-guest:
	@scripts/deps build test guest
deps-fuzz:
	@scripts/deps build fuzz
deps-lint:
	@scripts/deps build lint
