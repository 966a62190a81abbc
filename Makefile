# The verbs that people type. `make` alone lists them.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

CLUSTER_TOOL := tests/e2e/cluster/cluster
include tests/e2e/cluster/cluster.mk

.PHONY: help deps up down check test test-unit test-it test-cluster test-e2e test-layouts test-long bench generate lint

help: ## List the verbs
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

up: ## Start a cluster with Workstead, a Git server and the examples; OIDC=1: TLS and an identity provider
	tests/e2e/cluster/up $(oidc)

down: ## Stop what `make up` started; PURGE=1 deletes its data too
	tests/e2e/cluster/down $(purge)

# What a fresh machine lacks is found out before anything is compiled; a moment where all is there.
deps:
	@$(CLUSTER_TOOL) deps

lint: deps ## Format and lints, warnings are errors
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings
	tests/shellcheck

check: lint ## The fast loop: format, lints, pure tests, the house
	cargo test --quiet --workspace --lib --bins
	cargo test --quiet --test it -- house:: drift

test: lint test-unit test-it test-cluster test-e2e ## All tests, the real node included

test-unit: deps ## Pure tests and the supervisor
	INSTA_UPDATE=no cargo test --workspace --lib --bins
	INSTA_UPDATE=no cargo test -p workstead-supervisor

test-it: deps ## Against a real API server and real Git servers
	$(CLUSTER_TOOL) build control-plane
	INSTA_UPDATE=no cargo test --test it

test-cluster: deps ## The one-node Kubernetes by itself, and the images of workspaces
	tests/e2e/cluster/selftest-images
	@if [ -z "$${E2E_KUBECONFIG:-}" ]; then tests/e2e/cluster/selftest; \
	else echo "skipped: E2E_KUBECONFIG names a cluster, so none of ours is built and tested"; fi

test-e2e: deps ## On a real node, or on the cluster of E2E_KUBECONFIG
	tests/e2e/run
	tests/e2e/examples

test-layouts: deps ## Hostile neighbours and a real sign-in, in a browser, in each layout of domains
	tests/e2e/run layouts

test-long: deps ## What takes long by nature: many cases, many cycles
	PROPTEST_CASES=20000 cargo test --workspace --lib
	$(CLUSTER_TOOL) build control-plane
	cargo test --test it -- --ignored --skip helper_
	WORKSTEAD_LONG=1 tests/e2e/run kill_9

# Those of the proxy are held against Debian's nginx and haproxy: apt-get install nginx haproxy nghttp2-client curl iproute2
# (none of them has to run as a service), and run as root, since pods need addresses of this machine.
bench: deps ## Measure the figures of the README: make bench ID="push-to-applied"
	tests/e2e/with-cluster bench release cargo bench --bench figures -- $(ID)
	$(MAKE) generate

generate: deps ## Write again what is generated: crds/, chart templates, field tables, snapshots of help
	WORKSTEAD_BLESS=1 cargo test --quiet --test it -- drift
