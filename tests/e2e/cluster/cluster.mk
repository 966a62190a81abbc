# The cluster's own verbs; the Makefile of the project includes them. NAME=... is another cluster than
# the one of `make up`.
.PHONY: cluster cluster-down images

CLUSTER_NAME = $(or $(NAME),workstead)

# PURGE deletes data: what is not plainly a yes or a no is refused.
unclear = $(filter-out 1 yes true 0 no false,$(PURGE))$(word 2,$(PURGE))
purge = $(if $(unclear),$(error PURGE=$(PURGE) is neither a yes (1, yes, true) nor a no (0, no, false): nothing was done))$(if $(filter 1 yes true,$(PURGE)),--purge)

# OIDC is no word for anything else.
unclear_oidc = $(filter-out 1 yes true 0 no false,$(OIDC))$(word 2,$(OIDC))
oidc = $(if $(unclear_oidc),$(error OIDC=$(OIDC) is neither a yes (1, yes, true) nor a no (0, no, false)))$(if $(filter 1 yes true,$(OIDC)),--oidc)

cluster: deps ## Start a one-node Kubernetes on this machine, without Workstead
	tests/e2e/cluster/cluster up $(CLUSTER_NAME)

cluster-down: ## Stop it; PURGE=1 deletes its data too
	tests/e2e/cluster/cluster down $(CLUSTER_NAME) $(purge)

images: deps ## Build all images as OCI archives, release profile; REGISTRY=host/path pushes them
	tests/e2e/cluster/cluster images --profile release $(if $(REGISTRY),--push $(REGISTRY))
