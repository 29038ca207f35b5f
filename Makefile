# A thin front: Meson and Ninja do the work. `make help` lists the targets.
BUILD ?= build
TESTBUILD ?= build-test
PREFIX ?= /usr/local

.PHONY: all setup run test bench converge fuzz install clean help
all: setup
	@tools/build $(BUILD) release

setup:
	@tools/setup build

run:
	@tools/setup run
	@tools/build $(BUILD) release
	@exec tools/run-cluster $(BUILD)/ckube

test:
	@tools/setup test
	@exec tests/run

bench:
	@tools/setup test
	@tools/build $(BUILD) release
	@exec tests/bench/run $(BUILD)/ckube

converge:
	@tools/setup build
	@tools/build $(BUILD) release tests/converge
	@$(BUILD)/tests/converge --seeds $${SEEDS:-1000} --jobs $$(nproc) $(SCENARIOS)

fuzz:
	@tools/setup test
	@exec tests/fuzz/run --seconds $${FUZZ_SECONDS:-600}

install: all
	install -D -m 0755 $(BUILD)/ckube $(DESTDIR)$(PREFIX)/bin/ckube

clean:
	rm -rf $(BUILD) $(TESTBUILD) build-*

help:
	@echo "make           build the release binary, $(BUILD)/ckube"
	@echo "make run       install what is missing, build, run a whole cluster on this machine (root)"
	@echo "make test      install what the tests need, run every test"
	@echo "make bench     print the figures of docs/performance.md, each beside its target"
	@echo "make converge  play SEEDS (1000) seeds of failing apiservers and killed controllers for each of SCENARIOS (all)"
	@echo "make fuzz      fuzz every parser for FUZZ_SECONDS (600) in all"
	@echo "make install   install to PREFIX ($(PREFIX))"
