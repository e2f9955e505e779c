# Two commands: make run, make test. Each works alone in a fresh clone; the rest is for work on the harness itself.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/installed
RUNS := $(VENV)/runs
SOURCES := pyproject.toml $(wildcard native/*.txt native/*/*) $(filter-out %__pycache__/,$(wildcard harness/ harness/*/))

.PHONY: run test test-most test-all lint check docs witness chaos bench bench-pytest bench-shrinking planted differential statistics scale transparency sweep engines compilers cgroup2 wheel clean

run: $(RUNS)
	$(BIN)/crash-harness run

test: $(STAMP)
	$(BIN)/python -m pytest -n 2 -m 'not slow and not long' tests scenarios

# All but the long ones; and the long ones too: real crashes by the thousand, simulations, mutants, engines.
test-most: $(STAMP)
	$(BIN)/python -m pytest -n 2 -m 'not long' tests scenarios

test-all: $(STAMP)
	$(BIN)/python -m pytest -n 2 tests scenarios

lint: $(STAMP)
	$(BIN)/ruff format --check harness tests
	$(BIN)/ruff check harness tests
	$(BIN)/mypy
	$(BIN)/lint-imports

check: lint test

# Pages that are generated; tests say when they are stale.
docs: $(STAMP)
	$(BIN)/crash-harness faults --markdown > docs/faults.md
	$(BIN)/crash-harness dialects strict --markdown > docs/why-strict.md
	$(BIN)/crash-harness dialects upstream-v1 --markdown > docs/legacy.md

# Editable, so only a change to the native side, or a module that comes or goes, needs another install. `make run` does
# not wait for what the tests and the linters need.
$(RUNS): $(SOURCES)
	$(call install,.)

$(STAMP): $(SOURCES)
	$(call install,.[dev])
	touch $(STAMP)

define install
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or later is needed, and $(PYTHON) is older: make PYTHON=..." >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --editable '$(1)'
	touch $(RUNS)
endef

# Each fault by a witness that is not ours: ptrace, strace, the sanitizers, the kernel's counters.
witness: $(STAMP)
	$(BIN)/python tests/witness.py --write docs/witnesses.md $(ARGS)

# Programs of many kinds, each alone and under `exec`: the same end, output and files; ten minutes or so.
transparency: $(STAMP)
	$(BIN)/python tests/transparency.py --write docs/transparency.md $(ARGS)

# SIGKILL of the supervisor at random moments, 1,000 times, and 2,000 signals at the steps of a life: what is left, lost
# or wrong, and who does not come back. An hour or so.
chaos: $(STAMP)
	$(BIN)/python tests/chaos.py $(ARGS)

# What a trial costs, beside what the kernel alone takes and beside other ways; a quarter of an hour on a quiet machine.
bench: $(STAMP)
	$(BIN)/python -m pip install --quiet --editable '.[bench]'
	$(BIN)/python tests/bench.py --rounds 5 --million --write docs/performance.md $(ARGS)

# What the guard costs a test suite, beside other ways to isolate tests; ARGS may name folders of tests.
bench-pytest: $(STAMP)
	$(BIN)/python tests/bench_pytest.py --write docs/pytest-cost.md $(ARGS)

# Ten planted native defects, found and shrunk by Hypothesis: to what, and how long against a plain fork for each example.
bench-shrinking: $(STAMP)
	$(BIN)/python tests/bench_shrinking.py --write docs/shrinking.md $(ARGS)

# Crashes planted at random in a suite: each is to be blamed right, and every other test as ever. Half an hour.
planted: $(STAMP)
	$(BIN)/python tests/planted.py $(ARGS)

# What intervals, comparisons, drift and advice are worth when attempts resemble each other, by simulation.
statistics: $(STAMP)
	$(BIN)/python tests/statistics_tables.py --write docs/statistics.md $(ARGS)

# What a block of trials costs who fires it, asks for it and passes it on, so how many workers an experiment can have; and
# twenty experiments one of whose workers is killed at a random moment: equal every time, or it fails.
scale: $(STAMP)
	$(BIN)/python tests/scale.py --write docs/scale.md $(ARGS)

# Every engine that is installed, with real crashes, and the reference engine 20 times under load; an hour or so.
engines: $(STAMP)
	$(BIN)/python tests/engines.py --write docs/engines.md $(ARGS)
	$(BIN)/python tests/engines.py --rounds 20

# Calls of real packages under refused allocations; a quarter of an hour or so, and 200 MB of packages the first time.
sweep: $(STAMP)
	$(BIN)/python tests/sweep_table.py --write docs/sweep.md $(ARGS)

# The package as it would be published: sdist, wheel, and the wheel alone in an empty environment.
wheel:
	PYTHON=$(PYTHON) tests/wheel.sh

# The supervisor under cgroup version 2; needs Debian's user-mode-linux.
cgroup2: $(STAMP)
	tests/cgroup2.sh

# Our dialects against the published upstream package, 200,000 random calls of each function; needs Node and npm.
differential: $(STAMP)
	$(BIN)/python tests/differential.py $(ARGS)

# Every fault under each compiler that is there, at both optimisation levels: the row decides, not the compiler.
compilers: $(STAMP)
	for cc in gcc clang; do for level in -O0 -O2; do \
		command -v $$cc >/dev/null || { echo "$$cc: not installed, skipped"; continue; }; \
		echo "$$cc $$level"; \
		case $$cc in gcc) cxx=g++;; *) cxx=clang++;; esac; \
		CC=$$cc CXX=$$cxx $(BIN)/python -m pip install --quiet --no-deps --target build/compilers/$$cc$$level --upgrade . \
			--config-settings=cmake.define.FAULT_OPTIMISATION=$$level || exit 1; \
		export PYTHONPATH=$$PWD/build/compilers/$$cc$$level:$$($(BIN)/python -c 'import sysconfig as s; print(s.get_path("platlib"))'); \
		(cd / && $(CURDIR)/$(BIN)/python -S -c 'from harness.supervisor.launch import extension_path as p; print(p())' && \
			answers=$$($(CURDIR)/$(BIN)/python -S -m harness run --catalogue); status=$$?; \
			echo "$$answers" | grep -v PASS | tail -n +2; echo "$$answers" | tail -1; exit $$status) || exit 1; \
		unset PYTHONPATH; \
	done; done

clean:
	rm -rf $(VENV) build
