# What a cluster needs beside Kubernetes: names, volumes, a few rights.
# shellcheck shell=bash

addons_render() {
  local file
  for file in access dns storage; do
    printf -- '---\n'
    sed -e "s|@CLUSTER_DOMAIN@|$CLUSTER_DOMAIN|g" -e "s|@COREDNS_IMAGE@|$COREDNS_IMAGE|g" \
      -e "s|@DNS_SERVICE_IP4@|$DNS_SERVICE_IP4|g" -e "s|@DNS_SERVICE_IP6@|$DNS_SERVICE_IP6|g" \
      "$CLUSTER_DIR/addons/$file.yaml"
  done
}

addons_apply() {
  # kube-system is made by the API server a moment after it is ready.
  wait_until 30 "namespace kube-system" kubectl_admin get namespace kube-system || node_failed kube-apiserver
  addons_render | kubectl_admin apply --server-side --force-conflicts --field-manager workstead-cluster -f - \
    >"$STATE/log/addons.log" 2>&1 || node_failed addons kube-apiserver
}

# dns_runs: ready, in a container that runs now. On kept data the API server tells what was true before,
# until the kubelet has looked.
dns_runs() {
  local ready running
  running=$(in_node "$(node_pid)" ctr -n k8s.io tasks ls | awk '$3 == "RUNNING" {print $1}')
  ready=$(kubectl_admin -n kube-system get pods -l k8s-app=kube-dns -o json | jq -r '.items[] |
    select(.metadata.deletionTimestamp | not) | .status.containerStatuses[]? | select(.ready) | .containerID')
  [ -n "$ready" ] && grep -qxF "${ready//containerd:\/\//}" <<<"$running"
}

addons_wait() { wait_until 90 CoreDNS dns_runs; }
