# What a cluster needs beside Kubernetes: names, volumes, a few rights.
# shellcheck shell=bash

addons_render() {
  local file
  for file in access dns storage; do
    printf -- '---\n'
    sed -e "s|@CLUSTER_DOMAIN@|$CLUSTER_DOMAIN|g" \
      -e "s|@DNS_SERVICE_IP4@|$DNS_SERVICE_IP4|g" -e "s|@DNS_SERVICE_IP6@|$DNS_SERVICE_IP6|g" \
      -e "s|@PAUSE_IMAGE@|$PAUSE_IMAGE|g" -e "s|@COREDNS_IMAGE@|$COREDNS_IMAGE|g" \
      -e "s|@PROVISIONER_IMAGE@|$PROVISIONER_IMAGE|g" "$CLUSTER_DIR/addons/$file.yaml"
  done
}

addons_apply() {
  # kube-system is made by the API server a moment after it is ready.
  wait_until 10 "namespace kube-system" kubectl_admin get namespace kube-system || node_failed kube-apiserver
  addons_render | kubectl_admin apply --server-side --force-conflicts --field-manager workstead-cluster -f - \
    >"$STATE/log/addons.log" 2>&1 || node_failed addons kube-apiserver
}

addons_wait() {
  kubectl_admin -n kube-system rollout status deployment/coredns --timeout=90s >/dev/null &&
    kubectl_admin -n local-path-storage rollout status deployment/local-path-provisioner --timeout=90s >/dev/null
}
