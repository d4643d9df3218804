# make demo   the full pipeline on the embedded collection: sets up, then takes minutes
# make leaderboard   leaderboard/ again from EXABENCH_DATA, under two hours on two cores; stopped, it resumes
# make docs   the documentation as a site: docs/_build/html/index.html
# make test   the tests; .ci/run lists the other gates
PYTHON ?= python3
BIN := .venv/bin
# Test collections beside the checkout, where there are any; tests that need them are left out elsewhere.
EXABENCH_DATA ?= $(abspath $(wildcard ../shared/data))
export EXABENCH_DATA

.PHONY: demo leaderboard docs test test-slow check floors test-web test-sandbox test-vllm benchmark benchmark-models wheel clean

demo: .venv/.ready
	@EXABENCH_DATA= $(BIN)/exabench demo

# A worker for each core, and one thread in each: with several threads the last bits of a model's sums, and so digests,
# depend on the machine; with several workers they do not.
leaderboard: .venv/.ready
	OMP_NUM_THREADS=1 $(BIN)/exabench demo --recipe leaderboard --to leaderboard --data $(EXABENCH_DATA) --workers $$(nproc)

# -W: a warning, as of a link that leads nowhere, is an error; --keep-going tells them all.
docs: .venv/.docs
	$(BIN)/python -m sphinx -b html -W --keep-going --quiet --fresh-env -d docs/_build/doctrees docs docs/_build/html
	@echo "first page: docs/_build/html/index.html"

# A process for each core, and one thread in each: the models of the tests are so small that a second one mostly waits.
# Files in their own order: by size, the README, one test of two minutes, would come last and alone.
test: .venv/.tools
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests --numprocesses logical --dist loadfile --no-loadscope-reorder

# What takes minutes: the demo on real collections, long sweeps of kills and faults, two Ray nodes, and vLLM.
test-slow: .venv/.tools
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests -m slow --numprocesses logical --dist loadfile
	$(MAKE) test-vllm

check: .venv/.tools
	$(BIN)/ruff check exabench tests
	$(BIN)/ruff format --check exabench tests
	$(BIN)/mypy exabench
	$(BIN)/exabench board check
	$(if $(EXABENCH_DATA),$(BIN)/exabench bench verify > /dev/null)

# The drawing of the floors in CONTRIBUTING.md, made from the imports.
floors:
	$(PYTHON) tests/floors.py

# A real Chromium, axe-core and the Nu HTML checker over every kind of page.
test-web: .venv/.tools
	PYTHON=$(abspath $(BIN)/python) tests/web/run.sh

# Hostile submissions in a real bubblewrap: nothing gets out, each is refused in time, and the honest one is scored.
test-sandbox: .venv/.tools
	PYTHON=$(abspath $(BIN)/python) tests/sandbox/run.sh

# The real vLLM engine and real servers on loopback, in an environment of their own (.venv-vllm).
test-vllm:
	PYTHON=$(PYTHON) tests/engines/run.sh

# Ratios against a rival in the same process; nothing here fails because a machine is slow.
benchmark: .venv/.tools
	$(BIN)/python tests/benchmarks/scoring.py

benchmark-models: .venv/.tools
	$(BIN)/python tests/benchmarks/encoding.py
	$(BIN)/python tests/benchmarks/reranking.py
	$(BIN)/python tests/benchmarks/parity.py
	$(BIN)/python tests/benchmarks/asking.py
	$(BIN)/python tests/benchmarks/training.py
	$(BIN)/python tests/benchmarks/board.py

wheel: .venv/.tools
	$(BIN)/python -m pip wheel --no-deps --wheel-dir dist .

.venv/.ready: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[models]"
	@touch $@

.venv/.tools: .venv/.ready
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev,lucene,models,onnx,openvino]"
	@touch $@

.venv/.docs: .venv/.ready
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[docs,models]"
	@touch $@

clean:
	rm -rf .venv .venv-vllm docs/_build exabench-demo exabench-demo-builds leaderboard/site dist tests/web/node_modules
