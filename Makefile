# The verbs that people type. `make` alone lists them.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

CLUSTER_TOOL := tests/e2e/cluster/cluster
include tests/e2e/cluster/cluster.mk

.PHONY: help up down check test test-unit test-it test-e2e test-long bench generate lint

help: ## List the verbs
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

up: ## Start a cluster with Workstead, a Git server and the examples
	tests/e2e/cluster/up

down: ## Stop what `make up` started; PURGE=1 deletes its data too
	tests/e2e/cluster/down $(if $(PURGE),--purge)

lint: ## Format and lints, warnings are errors
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings

check: lint ## The fast loop: format, lints, pure tests, the house
	cargo test --quiet --workspace --lib --bins
	cargo test --quiet --test it -- house:: drift

test: lint test-unit test-it test-e2e ## All tests, the real node included

test-unit: ## Pure tests and the supervisor
	INSTA_UPDATE=no cargo test --workspace --lib --bins
	INSTA_UPDATE=no cargo test -p workstead-supervisor

test-it: ## Against a real API server and real Git servers
	$(CLUSTER_TOOL) deps
	$(CLUSTER_TOOL) build control-plane
	INSTA_UPDATE=no cargo test --test it

test-e2e: ## On a real node, or on the cluster of E2E_KUBECONFIG
	tests/e2e/run

test-long: ## What takes long by nature: many cases, many cycles
	PROPTEST_CASES=20000 cargo test --workspace --lib
	WORKSTEAD_LONG=1 cargo test --test it
	WORKSTEAD_LONG=1 tests/e2e/run

bench: ## Measure the figures of the README: make bench ID="push-to-applied"
	tests/e2e/with-cluster bench release cargo bench --bench figures -- $(ID)
	$(MAKE) generate

generate: ## Write again what is generated: crds/, chart templates, field tables, snapshots of help
	WORKSTEAD_BLESS=1 cargo test --quiet --test it -- drift
