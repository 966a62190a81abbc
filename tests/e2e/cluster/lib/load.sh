# Gives images to the node's containerd.
# shellcheck shell=bash

# images_load_missing ARCHIVE...: those that the node does not have yet. Needs the running node. They are pinned: a kubelet that
# finds the machine's disk full would throw them out, and nothing could fetch them again.
images_load_missing() {
  local pid archive here name
  pid=$(node_pid)
  here=$(in_node "$pid" ctr -n k8s.io images ls | awk 'NR > 1 {print $1, $3}')
  for archive in "$@"; do
    [ -r "$archive" ] || die "cannot read the image archive $archive"
    if [ -n "$(comm -23 <(oci_names "$archive" | sort) <(sort <<<"$here"))" ]; then
      in_node "$pid" ctr -n k8s.io images import --local --snapshotter "$(snapshotter)" - <"$archive" >>"$STATE/log/load.log" 2>&1 || {
        log_tail "$STATE/log/load.log"
        die "containerd did not take $archive"
      }
      while read -r name _; do
        in_node "$pid" ctr -n k8s.io images label "$name" io.cri-containerd.pinned=pinned </dev/null >>"$STATE/log/load.log" 2>&1 ||
          die "containerd did not pin $name"
      done < <(oci_names "$archive")
    fi
  done
}
