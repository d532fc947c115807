# `make` lists what there is. Everything runs in .venv, which the first `make demo` or `make test` sets up on its own.

PYTHON ?= python3
ONCE ?=
TORCH_INDEX ?=
ARGS ?=
CONTAINERS ?= docker
CPU_INDEX ?= https://download.pytorch.org/whl/cpu
VERSION = $(shell sed -n 's/^appVersion: "\(.*\)"/\1/p' helm/Chart.yaml)

# Files that an environment must have been installed from; a newer one reinstalls.
DEMO := .venv/.installed-demo
DEV := .venv/.installed-dev
VLLM := .venv-vllm/.installed-vllm
SERVING := $(patsubst %,tests/integration/test_%.py,serving_survives serving_survives_replicated rollout_under_load search_qdrant search_service fuzz tracing)
TESTS = $(wildcard tests/integration tests/unit tests/chart tests/examples)
# A worker for each core, up to four; the longest part, tests/integration, first (tests/support/distribution.py).
SHARED := -n logical --maxprocesses 4 --no-loadscope-reorder

# .venv/bin goes first, so that what a target starts (ray workers, shells) finds the same Python.
export PATH := $(CURDIR)/.venv/bin:$(PATH)
# Without bytecode, each of the many processes that import PyTorch compiles it again: twice the CPU time.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help demo test test-browser test-examples test-vllm test-watch test-chaos test-serving test-cluster test-node test-node-ha images check-gpu lint format generate requirements audit clean distclean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

demo: $(DEMO) ## Index, serve and search; then learn a composer, release it, search again; then stay up (ONCE=1: exit)
	.venv/bin/scot demo $(if $(filter-out 0 false no,$(ONCE)),--once) $(ARGS)

test: $(DEV) ## Run the tests that need no cluster and no GPU (ARGS="-k name" picks some, ARGS="-n 0": in one process)
	.venv/bin/python -m pytest -m "not slow" $(SHARED) $(TESTS) $(ARGS)

test-browser: $(DEV) ## Use the page of scot web in Chromium (Debian's package chromium); SCOT_TEST_SHOTS=DIR keeps screenshots
	.venv/bin/python -m pytest -rs tests/browser $(ARGS)

test-examples: $(DEV) ## Run the programs of examples/ (needs node, npm, go, chromium and their package servers; skips what is not there)
	.venv/bin/python -m pytest -rs tests/examples $(ARGS)

test-vllm: $(VLLM) ## Run the tests of the real vLLM engine, on the CPU with a tiny random model
	.venv-vllm/bin/python -m pytest tests/vllm_cpu $(ARGS)

test-watch: $(DEV) ## Let a real Prometheus watch a running system: every panel has series, broken things are told
	.venv/bin/python -m pytest -m slow tests/integration/test_watched_by_prometheus.py -s $(ARGS)

test-chaos: $(DEV) ## Interrupt the demo, kill generation jobs and training workers, nodes and drivers: nothing may change
	.venv/bin/python -m pytest -m slow tests/integration --ignore tests/integration/test_watched_by_prometheus.py $(SERVING:%=--ignore %) $(ARGS)

test-serving: $(DEV) ## The search service for long: its parts killed under load, rollouts, Qdrant away, mutated requests, traces
	.venv/bin/python -m pytest -m slow $(SERVING) $(ARGS)

test-cluster: $(DEV) ## Jobs, promotion and the chart against the API server of KUBECONFIG; its nodes may be played
	@test -n "$$KUBECONFIG" || { echo "set KUBECONFIG to a cluster with the KubeRay operator"; exit 1; }
	.venv/bin/python -m pytest -rs tests/cluster $(ARGS)

test-node: $(DEV) ## A release's life on a cluster that runs pods: KUBECONFIG, helm, kubectl, the image on its nodes
	@test -n "$$KUBECONFIG" || { echo "set KUBECONFIG to a cluster with the KubeRay operator"; exit 1; }
	SCOT_TEST_NODE=1 .venv/bin/python -m pytest -s -m slow tests/cluster/test_node.py tests/cluster/test_node_pipeline.py tests/cluster/test_network_policies.py $(ARGS)

test-node-ha: $(DEV) ## values-ha.yaml on two nodes that lose pods, network and power (tests/cluster/test_node_ha.py says what it needs)
	@test -n "$$KUBECONFIG" || { echo "set KUBECONFIG to a cluster with the KubeRay operator"; exit 1; }
	SCOT_TEST_NODE=1 .venv/bin/python -m pytest -s -m slow tests/cluster/test_node_ha.py $(ARGS)

images: ## Build the images that the chart names (CONTAINERS=podman; IMAGES="search web" builds some), for the nodes to load or a registry
	set -e; for name in $(or $(IMAGES),search edits web); do $(CONTAINERS) build -f docker/$$name.Dockerfile -t scot/$$name:$(VERSION) .; done
	case " $(or $(IMAGES),search) " in *" search "*) $(CONTAINERS) build -f docker/search.Dockerfile --build-arg TORCH_INDEX=$(CPU_INDEX) \
	  -t scot/search:$(VERSION)-cpu .;; esac

check-gpu: ## What this machine's GPU does with every part, in one table (ARGS="--budget 150"); installs nothing
	$(firstword $(wildcard .venv/bin/python) $(PYTHON)) benchmarks/check_gpu.py $(ARGS)

lint: $(DEV) ## Check style, formatting and types
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy

format: $(DEV) ## Rewrite the sources as the formatter wants them
	.venv/bin/ruff check --fix .
	.venv/bin/ruff format .

generate: $(DEV) ## Write what is generated: gRPC stubs, dashboards, the chart's reference and schema, the example manifest
	.venv/bin/python -m tools.generate

requirements: ## Compile requirements/*.txt from pyproject.toml and constraints.in
	PYTHON="$(PYTHON)" requirements/compile

audit: ## Look every pinned package up in an advisory service (needs one to be reachable)
	PYTHON="$(PYTHON)" requirements/audit

clean: ## Remove caches, build products and the demo's data
	rm -rf .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage build dist scot-demo *.egg-info
	find . -name __pycache__ -type d -not -path './.venv*' -prune -exec rm -rf {} +

distclean: clean ## Also remove .venv, as after a fresh clone
	rm -rf .venv .venv-vllm .venv-uv

$(DEMO): requirements/demo.txt requirements/install requirements/sync pyproject.toml
	PYTHON="$(PYTHON)" requirements/install demo

$(DEV): requirements/dev.txt requirements/install requirements/sync pyproject.toml
	PYTHON="$(PYTHON)" requirements/install dev

$(VLLM): requirements/vllm.txt requirements/install requirements/sync pyproject.toml
	PYTHON="$(PYTHON)" requirements/install vllm
