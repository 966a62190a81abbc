# The cluster's own verbs; the Makefile of the project includes them. NAME=... is another cluster than
# the one of `make up`.
.PHONY: cluster cluster-down images

CLUSTER_NAME = $(or $(NAME),workstead)

cluster: ## Start a one-node Kubernetes on this machine, without Workstead
	tests/e2e/cluster/cluster deps
	tests/e2e/cluster/cluster up $(CLUSTER_NAME)

cluster-down: ## Stop it; PURGE=1 deletes its data too
	tests/e2e/cluster/cluster down $(CLUSTER_NAME) $(if $(PURGE),--purge)

images: ## Build all images as OCI archives, release profile; REGISTRY=host/path pushes them
	tests/e2e/cluster/cluster deps
	tests/e2e/cluster/cluster images --profile release $(if $(REGISTRY),--push $(REGISTRY))
