# The verbs that people type.
include tests/e2e/cluster/cluster.mk
