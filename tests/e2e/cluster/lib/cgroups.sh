# The control groups of a node: /workstead-NAME with `node` for its programs and, made by the kubelet,
# `kubepods` for the pods. They are the one thing that outlives the node's first process, and the list
# of their members is how the last process is found. Works on v1 (one tree a controller) and v2 (one).
# shellcheck shell=bash
# shellcheck disable=SC2153 # CGROUP comes from cluster_use

CGROUPS=/sys/fs/cgroup

# cgroup_trees: the root of every tree that is mounted.
cgroup_trees() {
  if [ -f "$CGROUPS/cgroup.controllers" ]; then
    echo "$CGROUPS"
  else
    awk -v root="$CGROUPS/" '($3 == "cgroup" || $3 == "cgroup2") && index($2, root) == 1 {print $2}' /proc/mounts
  fi
}

# cgroup_make FOLDER: in v1 a new cpuset is empty, and nobody may enter it before it is filled.
cgroup_make() {
  local file parent
  parent=$(dirname "$1")
  mkdir -p "$1"
  for file in cpuset.cpus cpuset.mems; do
    if [ -f "$1/$file" ] && [ ! -f "$1/cgroup.controllers" ] && [ -z "$(cat "$1/$file")" ]; then
      cat "$parent/$file" >"$1/$file"
    fi
  done
}

cgroups_make() {
  local tree controller
  local -a controllers
  while read -r tree; do
    cgroup_make "$tree/$CGROUP"
    if [ -f "$tree/cgroup.controllers" ]; then
      # v2: a controller reaches a group only if each one above it hands it down.
      read -ra controllers <"$tree/cgroup.controllers"
      for controller in "${controllers[@]}"; do
        echo "+$controller" 2>/dev/null >"$tree/cgroup.subtree_control" || true
        echo "+$controller" 2>/dev/null >"$tree/$CGROUP/cgroup.subtree_control" || true
      done
    fi
    cgroup_make "$tree/$CGROUP/node"
  done < <(cgroup_trees)
}

# cgroups_enter PID: with all that it starts.
cgroups_enter() {
  local tree
  while read -r tree; do
    echo "$1" >"$tree/$CGROUP/node/cgroup.procs"
  done < <(cgroup_trees)
}

# cgroups_members: every process of the node, those in pods included.
cgroups_members() {
  local tree
  while read -r tree; do
    [ -d "$tree/$CGROUP" ] || continue
    find "$tree/$CGROUP" -name cgroup.procs -exec cat {} + 2>/dev/null || true
  done < <(cgroup_trees) | sort -un
}

# cgroups_programs: the names of the node's own processes.
cgroups_programs() {
  local tree pid
  read -r tree < <(cgroup_trees)
  while read -r pid; do
    cat "/proc/$pid/comm" 2>/dev/null || true
  done <"$tree/$CGROUP/node/cgroup.procs"
}

# cgroups_remove: kills who is left and removes the groups. Processes may still start others while we
# look, and groups stay busy for a moment after their last member, hence the rounds.
cgroups_remove() {
  local tree round members
  for ((round = 0; round < 100; round++)); do
    members=$(cgroups_members)
    # shellcheck disable=SC2086 # numbers
    [ -z "$members" ] || kill -KILL $members 2>/dev/null || true
    while read -r tree; do
      [ ! -d "$tree/$CGROUP" ] || find "$tree/$CGROUP" -depth -type d -exec rmdir {} + 2>/dev/null || true
    done < <(cgroup_trees)
    cgroups_exist || return 0
    sleep 0.1
  done
  die "the control groups of cluster $CLUSTER are still busy after 10 s" "Members: $(cgroups_members | tr '\n' ' ')"
}

cgroups_exist() {
  local tree
  while read -r tree; do
    [ ! -d "$tree/$CGROUP" ] || return 0
  done < <(cgroup_trees)
  return 1
}
