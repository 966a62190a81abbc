# Builds the programs of the cluster from the pinned modules in modules/. A unit is what one
# `go build` makes; a group is what somebody needs together.
# shellcheck shell=bash

KUBERNETES_VERSION=v1.36.3

# unit_spec UNIT: sets module, packages, binaries, cgo, tags and ldflags.
unit_spec() {
  local version=k8s.io/component-base/version
  module=$1 cgo=0 tags='' ldflags='-s -w'
  case "$1" in
    control-plane | kubelet | kubectl)
      module=kubernetes
      # Without a version the server calls itself v0.0.0, and every check of skew goes astray.
      ldflags+=" -X $version.gitVersion=$KUBERNETES_VERSION -X $version.gitMajor=1 -X $version.gitMinor=36"
      ldflags+=" -X $version.gitTreeState=clean"
      ;;
  esac
  case "$1" in
    control-plane)
      packages=(go.etcd.io/etcd/server/v3
        k8s.io/kubernetes/cmd/{kube-apiserver,kube-controller-manager,kubectl})
      binaries=(etcd kube-apiserver kube-controller-manager kubectl)
      ;;
    kubectl)
      packages=(k8s.io/kubernetes/cmd/kubectl)
      binaries=(kubectl)
      ;;
    kubelet)
      packages=(k8s.io/kubernetes/cmd/{kube-scheduler,kubelet,kube-proxy})
      binaries=(kube-scheduler kubelet kube-proxy)
      ;;
    containerd)
      packages=(github.com/containerd/containerd/v2/cmd/{containerd,containerd-shim-runc-v2,ctr})
      binaries=(containerd containerd-shim-runc-v2 ctr)
      tags=no_btrfs,no_zfs
      ;;
    runc)
      module=containerd cgo=1 tags=seccomp
      packages=(github.com/opencontainers/runc)
      binaries=(runc)
      ;;
    coredns)
      packages=(github.com/coredns/coredns)
      binaries=(coredns)
      ;;
    helm)
      packages=(helm.sh/helm/v3/cmd/helm)
      binaries=(helm)
      ;;
    *) die "no unit '$1' to build" ;;
  esac
}

# units_of GROUP: control-plane is all that tests of controllers need; it runs without root.
units_of() {
  case "$1" in
    control-plane) echo control-plane ;;
    node) echo control-plane kubelet containerd runc coredns ;;
    # For a cluster of the user's, which needs nothing else of ours.
    kubectl) echo kubectl ;;
    helm) echo helm ;;
    all) echo control-plane kubelet containerd runc coredns helm ;;
    *) die "no group '$1' to build" "Groups: control-plane, node, kubectl, helm, all." ;;
  esac
}

# unit_folder UNIT: where its binaries are, or will be. Needs unit_spec.
unit_folder() {
  local module packages binaries cgo tags ldflags digest
  unit_spec "$1"
  digest=$({
    cat "$CLUSTER_DIR/modules/$module/go.mod" "$CLUSTER_DIR/modules/$module/go.sum"
    printf '%s\n' "$(uname -m)" "${packages[@]}" "${binaries[@]}" "$cgo" "$tags" "$ldflags"
  } | sha256sum | cut -c1-12)
  printf '%s/bin/%s-%s\n' "$CACHE" "$1" "$digest"
}

# build_unit UNIT FOLDER: into a folder aside, renamed when whole, so that a folder which is there is
# complete. Go keeps what it compiled: after Ctrl-C the next run goes on from there.
build_unit() {
  local module packages binaries cgo tags ldflags unit=$1 folder=$2 temp start last='' took
  unit_spec "$unit"
  command -v go >/dev/null || deps_toolchains
  [ -s "$CACHE/build-times/$unit" ] && last=" (last time $(cat "$CACHE/build-times/$unit"))"
  step "building ${binaries[*]}$last"
  start=$(now_ms)
  temp="$folder.part"
  rm -rf "$temp"
  mkdir -p "$temp" "$CACHE/build-times"
  (
    cd "$CLUSTER_DIR/modules/$module" &&
      GOFLAGS='' GOWORK=off CGO_ENABLED=$cgo go build -trimpath -buildvcs=false -tags "$tags" -ldflags "$ldflags" \
        -o "$temp/" "${packages[@]}"
  ) || die "go build of $unit failed" "The lines above say why; run the same command again to go on."
  [ ! -e "$temp/server" ] || mv "$temp/server" "$temp/etcd"
  mv "$temp" "$folder"
  took=$(seconds $(($(now_ms) - start)))
  echo "$took" >"$CACHE/build-times/$unit"
  say "    done in $took"
}

# build_units UNIT...: under the lock.
build_units() {
  local unit folder
  for unit in "$@"; do
    folder=$(unit_folder "$unit")
    [ -d "$folder" ] || build_unit "$unit" "$folder"
  done
  # What no checkout has used for a month goes; a folder in use is touched.
  find "$CACHE/bin" -mindepth 1 -maxdepth 1 -type d -mtime +30 -exec rm -rf {} +
}

# build_groups GROUP...: builds what is missing and prints the folders.
build_groups() {
  local group unit folder
  local -a units=() missing=()
  for group in "$@"; do
    # shellcheck disable=SC2207 # words without spaces
    units+=($(units_of "$group"))
  done
  for unit in "${units[@]}"; do
    [ -d "$(unit_folder "$unit")" ] || missing+=("$unit")
  done
  if [ ${#missing[@]} -gt 0 ]; then
    mkdir -p "$CACHE"
    check_space "$CACHE" 12 "building Kubernetes, with Go's caches,"
    lock_take "$CACHE/bin.lock" "$CACHE/bin to build there"
    build_units "${missing[@]}"
    lock_drop
  fi
  printf '%s\n' "${units[@]}" | sort -u | while read -r unit; do
    folder=$(unit_folder "$unit")
    touch -c "$folder" 2>/dev/null || true
    printf '%s\n' "$folder"
  done
}

build_path() {
  [ $# -eq 1 ] || die "usage: cluster path control-plane|node|kubectl|helm"
  build_groups "$1"
}
