# The two commands of the README are `make run` and `make test`. Everything they create is in
# .venv and .cm, inside this checkout.
PYTHON ?= python3
VENV := .venv
# `make venv EP=openvino` (or cuda, or tensorrt) makes .venv-openvino, for the ONNX Runtime that has
# this provider: its packages exclude one another. `--ep` finds it.
# .venv-serve has what `loadgen-generic serve` needs, of which the same is true, and .venv-ray has
# Ray, for --runner ray and --trials_on ray.
EPS := openvino cuda tensorrt serve ray
# The newest CUDA that the driver runs, unless given; 13 where there is no driver.
CUDA ?= $(or $(shell nvidia-smi 2>/dev/null | sed -n 's/.*CUDA [A-Za-z ]*Version: *\([0-9]*\).*/\1/p'),13)
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

# worksteal: neighbours share what takes long to set up, such as a cluster, and neither waits at the end.
test-all: test
	@$(IN_VENV) "$(BIN)/python" -m pytest -q -n 2 --dist worksteal -m slow

# Ours against plain ONNX Runtime and against the script that MLCommons ships; hours, and a quiet
# machine. BENCH="--quick" for a look, BENCH="--help" for the rest.
bench: $(VENV)/.installed
	@$(IN_VENV) "$(BIN)/python" benchmarks/bench.py $(BENCH)

lint: $(VENV)/.developing
	@"$(BIN)/ruff" check .
	@"$(BIN)/ruff" format --check .
	@"$(BIN)/mypy"

BESIDE :=
ifdef EP
ifeq ($(filter $(EP),$(EPS)),)
$(error EP=$(EP): there is no environment of this name; it is one of $(EPS))
endif
EXTRA := $(EP)
CONSTRAINTS := constraints.txt
ifeq ($(EP),serve)
CONSTRAINTS := constraints-serve.txt
EXTRA := cpu,serve
# What asks the servers.
BESIDE := tritonclient[grpc]
endif
ifeq ($(EP),ray)
EXTRA := cpu,ray
endif
ifneq ($(filter $(EP),cuda tensorrt),)
MAJOR := $(firstword $(subst ., ,$(CUDA)))
ifneq ($(filter $(MAJOR),8 9 10 11),)
$(error CUDA $(CUDA): onnxruntime-gpu needs 12 or newer; update the driver)
endif
# For CUDA 12 it is an older onnxruntime-gpu, and an extra of its own.
EXTRA := $(EP)$(filter 12,$(MAJOR))
# The command watches GPUs from the environment that it was started in.
BESIDE := nvidia-ml-py
endif
venv: $(VENV)-$(EP)/.installed-$(EXTRA)

$(VENV)-$(EP)/.installed-$(EXTRA): pyproject.toml $(CONSTRAINTS)
	@test -x "$(VENV)-$(EP)/bin/python" || $(PYTHON) -m venv $(VENV)-$(EP)
	@echo "installing loadgen-generic[$(EXTRA)] into $(VENV)-$(EP) ..."
	@"$(VENV)-$(EP)/bin/python" -m pip install -q --disable-pip-version-check -c $(CONSTRAINTS) -e ".[$(EXTRA),images]"
	@test -z "$(BESIDE)" -o ! -x "$(BIN)/python" || "$(BIN)/python" -m pip install -q --disable-pip-version-check -c constraints.txt "$(BESIDE)"
	@rm -f $(VENV)-$(EP)/.installed-*
	@touch $@
else
venv: $(VENV)/.installed
endif

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
	rm -rf $(VENV) $(addprefix $(VENV)-,$(EPS)) .cm build dist src/*.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
