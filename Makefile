# make demo   the whole thread on the embedded collection: sets up, then takes seconds
# make test   the tests; make check, test-web and benchmark are the other gates
PYTHON ?= python3
BIN := .venv/bin
# Test collections beside the checkout, where there are any; tests that need them are left out elsewhere.
EXABENCH_DATA ?= $(wildcard ../shared/data)
export EXABENCH_DATA

.PHONY: demo test check test-web benchmark wheel clean

demo: .venv/.ready
	@EXABENCH_DATA= $(BIN)/exabench demo

test: .venv/.ready
	$(BIN)/python -m pytest tests

check: .venv/.ready
	$(BIN)/ruff check exabench tests
	$(BIN)/ruff format --check exabench tests
	$(BIN)/mypy exabench
	$(BIN)/exabench board check
	$(BIN)/exabench bench verify > /dev/null

# A real Chromium, axe-core and the Nu HTML checker over every kind of page.
test-web: .venv/.ready
	PYTHON=$(abspath $(BIN)/python) tests/web/run.sh

# Ratios against a rival in the same process; nothing here fails because a machine is slow.
benchmark: .venv/.ready
	$(BIN)/python tests/benchmarks/scoring.py

wheel: .venv/.ready
	$(BIN)/python -m pip wheel --no-deps --wheel-dir dist .

# ranx compiles with numba at its first use: that minute is paid here, not in the demo.
.venv/.ready: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev]"
	$(BIN)/python -W ignore -c 'import ranx; run = lambda a, b: ranx.Run({"q": {a: 2.0, b: 1.0}}); ranx.fuse([run("x", "y"), run("y", "x")], norm=None, method="rrf")'
	@touch $@

clean:
	rm -rf .venv exabench-demo leaderboard/site dist tests/web/node_modules
