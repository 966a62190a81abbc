//! Validated values become the desired Kubernetes objects. Pure, and cannot fail.
