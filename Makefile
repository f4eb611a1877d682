# The two commands of the README are `make run` and `make test`. Everything they create is in
# .venv and .cm, inside this checkout.
PYTHON ?= python3
VENV := .venv
BIN := $(CURDIR)/$(VENV)/bin
# CM's state belongs to one virtual environment: it remembers the path of the Python it found.
CM_HOME := $(CURDIR)/.cm
# PIP_REQUIRE_VIRTUALENV: whatever CM may install, it goes nowhere else.
IN_VENV := PIP_REQUIRE_VIRTUALENV=1 PATH="$(BIN):$$PATH" CM_REPOS="$(CM_HOME)" LOADGEN_GENERIC_CACHE="$(CM_HOME)/cache"
TAGS := app,loadgen,generic,loadgen-generic,python

.PHONY: run test test-all bench lint venv docs register unregister clean

run: $(VENV)/.installed
	@mkdir -p "$(CM_HOME)/work"
	@$(IN_VENV) "$(BIN)/python" tools/register.py
	@cd "$(CM_HOME)/work" && $(IN_VENV) "$(BIN)/cm" run script --tags=$(TAGS),_demo --scenario=Offline --quiet

test: lint
	@$(IN_VENV) "$(BIN)/python" -m pytest -q -n 2 --dist loadfile -m "not slow"

test-all: test
	@$(IN_VENV) "$(BIN)/python" -m pytest -q -n 2 -m slow

# Ours against plain ONNX Runtime and against the script that MLCommons ships; hours, and a quiet
# machine. BENCH="--quick" for a look, BENCH="--help" for the rest.
bench: $(VENV)/.installed
	@$(IN_VENV) "$(BIN)/python" benchmarks/bench.py $(BENCH)

lint: $(VENV)/.developing
	@"$(BIN)/ruff" check .
	@"$(BIN)/ruff" format --check .
	@"$(BIN)/mypy"

venv: $(VENV)/.installed

$(VENV)/.installed: pyproject.toml constraints.txt
	@test -x "$(BIN)/python" || $(PYTHON) -m venv $(VENV)
	@echo "installing into $(VENV) ..."
	@"$(BIN)/python" -m pip install -q --disable-pip-version-check -c constraints.txt -e ".[cpu,cm]"
	@touch $@

$(VENV)/.developing: $(VENV)/.installed
	@"$(BIN)/python" -m pip install -q --disable-pip-version-check -c constraints.txt -e ".[cpu,cm,dev]"
	@touch $@

docs: $(VENV)/.installed
	@"$(BIN)/python" tools/make_docs.py

# Into the CM home that CM_REPOS names, or the user's own.
register: $(VENV)/.installed
	@PATH="$(BIN):$$PATH" "$(BIN)/python" tools/register.py

unregister: $(VENV)/.installed
	@PATH="$(BIN):$$PATH" "$(BIN)/python" tools/register.py --unregister

clean:
	rm -rf $(VENV) .cm build dist src/*.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
