# `make bench` measures and reports, `make test` runs the tests. Each creates .venv if it is missing.
# ARGS is passed to pytest: make bench ARGS="--dataset ml-100k --rank 64"

PYTHON ?= python3
BIN := .venv/bin
ARGS ?=
# What `make bench-peers` uses unless other data, or another rank, is asked for by ARGS.
TUNED ?= reports/tuning/anime-twin-x0-2-rank-16-seed-0-peers.json
OTHER_CASE := $(filter --dataset% --ratings% --rank% --scale% --seed% --quick --split%,$(ARGS))
TUNED_HERE = $(if $(and $(filter file,$(origin TUNED)),$(OTHER_CASE)),,$(wildcard $(TUNED)))
# Tests run in two processes; the one that finishes first takes over tests of the other.
# `make test XDIST=` runs them in one.
XDIST ?= -n 2 --dist worksteal
# Tests that start no worker or browser, draw nothing, fit little and take a few seconds at most.
FAST := $(XDIST) -m "not (browser or draws or fits or load or process or slow)"

# Names for `make test-peers`, as `python -m bench.peers list` shows them.
PEERS ?= all

.PHONY: bench bench-peers quick article test test-fast test-peers test-sdist test-spark test-triton check clean

bench: .venv/installed
	@status=0; $(BIN)/pytest bench/ --benchmark-only $(ARGS) || status=$$?; \
	if [ $$status -le 1 ]; then $(BIN)/python -m bench.report; fi; exit $$status

# Beside the libraries that `python -m bench.peers install` has installed, with tuned hyper-parameters.
bench-peers: .venv/installed
	@$(MAKE) --no-print-directory bench \
	  ARGS="--peers $(if $(TUNED_HERE),--tuned $(TUNED_HERE)) --max-seconds 60 -k mse $(ARGS)"

article: .venv/installed
	@$(BIN)/python -m bench.article $(ARGS)

quick: .venv/installed
	@$(MAKE) --no-print-directory bench ARGS="--quick $(ARGS)"

test: .venv/installed
	$(BIN)/pytest $(XDIST) $(ARGS)

test-fast: .venv/installed
	$(BIN)/pytest $(FAST) $(ARGS)

# The tests of adapters to libraries of other projects, each in the environment of its library.
test-peers: .venv/installed
	-$(BIN)/python -m bench.peers install $(PEERS)
	$(BIN)/python tests/run_peers.py $(PEERS)

# The tests of solvers on Spark, which needs Java 17 or newer. They take twenty minutes on two cores; those of
# a cluster of processes, in tests/spark/test_cluster.py, take one.
SPARK ?= tests/spark
test-spark: .venv/installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[spark]'
	FACTORBENCH_SPARK=required $(BIN)/pytest $(SPARK) $(ARGS)

# The kernels in Triton, interpreted on the CPU and compiled for a GPU, and the check of the GPU without one.
test-triton: .venv/installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[triton]'
	$(BIN)/pytest tests/backends/test_triton.py $(ARGS)
	$(BIN)/python -m bench.gpu_check --smoke

# The fast tests in an unpacked sdist: without a git checkout and without files that are not shipped.
test-sdist: .venv/installed
	@folder=$$(mktemp -d) && trap 'rm -rf "$$folder"' EXIT && \
	$(BIN)/python -m hatchling build -t sdist -d "$$folder" && tar -xzf "$$folder"/*.tar.gz -C "$$folder" && \
	python=$$(realpath -s $(BIN)/python) && cd "$$folder"/factorbench-*/ && "$$python" -m pytest $(FAST) $(ARGS)

check: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

clean:
	rm -rf .venv build dist .mypy_cache .pytest_cache .ruff_cache

.venv/installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "factorbench needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) -V). Set PYTHON=..."; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	@echo "Compiling kernels, so that the first fit need not:"; $(BIN)/python -m backends.compile || \
	  echo "They are compiled in the first fit instead."
	@touch $@
