# Two commands: `make bench` measures and reports, `make test` runs the tests. Each makes .venv when it is missing.
# ARGS goes to pytest: make bench ARGS="--dataset ml-100k --rank 64"

PYTHON ?= python3
BIN := .venv/bin
ARGS ?=

.PHONY: bench quick article test check clean

bench: .venv/installed
	@status=0; $(BIN)/pytest bench/ --benchmark-only $(ARGS) || status=$$?; \
	if [ $$status -le 1 ]; then $(BIN)/python -m bench.report; fi; exit $$status

article: .venv/installed
	@$(BIN)/python -m bench.article $(ARGS)

quick: .venv/installed
	@$(MAKE) --no-print-directory bench ARGS="--quick $(ARGS)"

test: .venv/installed
	$(BIN)/pytest $(ARGS)

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
	@touch $@
