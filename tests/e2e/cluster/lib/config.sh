# The addresses of a node and the configuration files of its programs. Every node has the same
# addresses, since each has a network of its own.
# shellcheck shell=bash
# shellcheck disable=SC2034 # constants that other parts use

CLUSTER_DOMAIN=cluster.local
NODE_IP4=10.0.2.100 # what slirp4netns gives its guest
NODE_IP6=fd00::100
UPSTREAM_DNS=10.0.2.3 # slirp4netns asks the resolver of the machine
SERVICE_RANGES=10.96.0.0/16,fd96::/112
API_SERVICE_IP4=10.96.0.1
API_SERVICE_IP6=fd96::1
DNS_SERVICE_IP4=10.96.0.10
DNS_SERVICE_IP6=fd96::a
POD_RANGE4=10.244.0.0/16
POD_RANGE6=fd44::/64
API_GUEST_PORT=6443
# Where a Service of type NodePort has to listen for the proxy's ports of the machine to reach it.
PROXY_TLS_GUEST_PORT=30443
PROXY_PLAIN_GUEST_PORT=30800
PROVIDER_GUEST_PORT=30444 # and for the identity provider of OIDC=1
GIT_GUEST_PORT=30418 # the Git server of the examples

CNI_BIN=/usr/lib/cni # Debian's containernetworking-plugins

# has_capability NUMBER: whether this process may do it (bit NUMBER of CapEff).
has_capability() {
  local caps
  caps=$(awk '/^CapEff/ {print $2}' /proc/self/status)
  [ $((16#$caps >> $1 & 1)) -eq 1 ]
}

# snapshotter: an overlay does not lie on another one, as the disk of a container is; there images are
# copied for each container instead.
snapshotter() {
  case "$(stat --file-system --format=%T "$STATE")" in
    overlayfs) echo native ;;
    *) echo overlayfs ;;
  esac
}

config_containerd() {
  # Without CAP_SYS_RESOURCE (24) nobody may lower an oom score; every sandbox would fail with "can't
  # get final child's PID from pipe: EOF". AppArmor profiles would stay in the kernel after the node.
  local restrict=false
  has_capability 24 || restrict=true
  cat <<TOML
version = 3
root = "/var/lib/containerd"
state = "/run/containerd"

[grpc]
address = "/run/containerd/containerd.sock"

[plugins.'io.containerd.cri.v1.images']
snapshotter = "$(snapshotter)"

[plugins.'io.containerd.cri.v1.images'.pinned_images]
sandbox = "$PAUSE_IMAGE"

[plugins.'io.containerd.cri.v1.images'.registry]
config_path = "$STATE/etc/registries"

[plugins.'io.containerd.cri.v1.runtime']
restrict_oom_score_adj = $restrict
disable_apparmor = true
enable_unprivileged_ports = true
enable_unprivileged_icmp = true

[plugins.'io.containerd.cri.v1.runtime'.cni]
bin_dirs = ["$STATE/etc/cni/bin", "$CNI_BIN"]
conf_dir = "/etc/cni/net.d"

[plugins.'io.containerd.cri.v1.runtime'.containerd]
default_runtime_name = "runc"

[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"

[plugins.'io.containerd.cri.v1.runtime'.containerd.runtimes.runc.options]
BinaryName = "$RUNC"
SystemdCgroup = false
TOML
}

# ptp rather than bridge: each pod hangs on the node's router by a link of its own. On a bridge the
# answer of a Service in the same subnet takes the short way and misses the address translation,
# unless the machine has br_netfilter loaded.
config_cni() { # cni-routed-pod is a ptp that loses no time
  cat <<JSON
{
  "cniVersion": "1.0.0",
  "name": "pods",
  "plugins": [
    {
      "type": "cni-routed-pod",
      "ipMasq": false,
      "mtu": 1500,
      "ipam": {
        "type": "host-local",
        "dataDir": "/run/cni-addresses",
        "ranges": [[{"subnet": "$POD_RANGE4"}], [{"subnet": "$POD_RANGE6"}]],
        "routes": [{"dst": "0.0.0.0/0"}, {"dst": "::/0"}]
      }
    },
    {"type": "portmap", "capabilities": {"portMappings": true}}
  ]
}
JSON
}

config_kubelet() {
  cat <<YAML
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
authentication:
  anonymous: {enabled: false}
  webhook: {enabled: true}
  x509: {clientCAFile: $STATE/pki/ca.crt}
authorization: {mode: Webhook}
tlsCertFile: $STATE/pki/kubelet-serving.crt
tlsPrivateKeyFile: $STATE/pki/kubelet-serving.key
containerRuntimeEndpoint: unix:///run/containerd/containerd.sock
clusterDNS: [$DNS_SERVICE_IP4]
clusterDomain: $CLUSTER_DOMAIN
resolvConf: /etc/resolv.conf
healthzBindAddress: 127.0.0.1
cgroupDriver: cgroupfs
cgroupRoot: /$CGROUP
failCgroupV1: false
failSwapOn: false
maxPods: 250
serializeImagePulls: false
# Images come by hand here: one that is thrown out could not be fetched again.
imageGCHighThresholdPercent: 100
# The disk is the machine's: what fills it is seldom ours, and evicting a pod would not empty it.
evictionHard: {memory.available: 100Mi, nodefs.available: 500Mi, imagefs.available: 500Mi, nodefs.inodesFree: 1%}
evictionPressureTransitionPeriod: 30s
YAML
}

config_kube_proxy() {
  cat <<YAML
apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
clientConnection: {kubeconfig: $STATE/kubeconfigs/kube-proxy}
hostnameOverride: $CLUSTER
mode: nftables
clusterCIDR: $POD_RANGE4,$POD_RANGE6
healthzBindAddress: 127.0.0.1:10256
metricsBindAddress: 127.0.0.1:10249
nftables: {minSyncPeriod: 100ms}
# These settings of the kernel are the machine's, not the node's.
conntrack: {maxPerCore: 0, min: 0, tcpEstablishedTimeout: 0s, tcpCloseWaitTimeout: 0s}
YAML
}

# Who did what, without bodies; but for what our controller writes where only tests are, who look there for what must not
# be in it. Reads and heartbeats of Kubernetes's own programs are left out.
config_audit() {
  cat <<'YAML'
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
  - level: None
    nonResourceURLs: ["/healthz*", "/livez*", "/readyz*", "/version"]
  - level: None
    userGroups: ["system:nodes", "system:serviceaccounts:kube-system"]
    verbs: [get, list, watch]
  - level: None
    users: ["system:apiserver", "system:kube-controller-manager", "system:kube-scheduler", "system:kube-proxy"]
    verbs: [get, list, watch]
  - level: None
    userGroups: ["system:nodes"]
    resources:
      - {group: coordination.k8s.io, resources: [leases]}
      - {group: "", resources: [nodes, nodes/status, events]}
      - {group: authentication.k8s.io}
      - {group: authorization.k8s.io}
  - level: None
    users: ["system:apiserver"]
    resources: [{group: coordination.k8s.io, resources: [leases]}]
YAML
  [ -z "$EPHEMERAL" ] || cat <<'YAML'
  - level: Metadata
    resources: [{group: "", resources: [secrets]}]
  - level: Request
    users: ["system:serviceaccount:workstead-system:workstead-controller"]
    verbs: [create, update, patch]
YAML
  echo '  - level: Metadata'
}

config_all() {
  local etc=$STATE/etc
  mkdir -p "$etc/cni/net.d" "$etc/cni/bin" "$etc/registries"
  cp "$CLUSTER_DIR/cni-routed-pod" "$etc/cni/bin/"
  [ -s "$etc/machine-id" ] || openssl rand -hex 16 >"$etc/machine-id"
  config_containerd >"$etc/containerd.toml"
  config_cni >"$etc/cni/net.d/10-pods.conflist"
  config_kubelet >"$etc/kubelet.yaml"
  config_kube_proxy >"$etc/kube-proxy.yaml"
  config_audit >"$etc/audit-policy.yaml"
}
