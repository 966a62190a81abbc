# A cluster's life: up, down and what one asks it in between.
# shellcheck shell=bash

# cluster_use NAME: the places of that cluster.
# shellcheck disable=SC2034 # other parts use them
cluster_use() {
  check_name "${1:-}"
  CLUSTER=$1
  STATE=$STATE_HOME/$1
  CGROUP=workstead-$1
}

cluster_known() {
  cluster_use "${1:-}"
  [ -d "$STATE" ] || die "there is no cluster $CLUSTER on this machine" "Start it: cluster up $CLUSTER"
}

# node_pid: the node's first process, as the machine numbers it; fails when there is none. The number
# alone would not do: after a crash of the machine it may be somebody else's.
node_pid() {
  local pid
  [ -s "$STATE/run/node.pid" ] || return 1
  pid=$(cat "$STATE/run/node.pid")
  grep -qs -- "$STATE/run/node.env" "/proc/$pid/cmdline" || return 1
  echo "$pid"
}

slirp_alive() { [ -s "$STATE/run/slirp4netns.pid" ] && [ -d "/proc/$(cat "$STATE/run/slirp4netns.pid")" ]; }

# in_node PID CMD...: runs it inside.
in_node() { (enter_node "$@"); }

# enter_node PID CMD...: the same, and does not come back. How the command ends is its own affair.
enter_node() {
  local pid=$1
  shift
  trap - ERR
  exec nsenter --target "$pid" --mount --net --uts --ipc --pid --root env --chdir=/ CONTAINERD_SUPPRESS_DEPRECATION_WARNINGS=1 \
    "PATH=$NODE_PATH:$CNI_BIN:/usr/sbin:/usr/bin:/sbin:/bin" "$@"
}

# shellcheck disable=SC2034 # RUNC belongs to config.sh
# node_path: sets NODE_PATH, the folders of all programs of a node, and RUNC.
node_path() {
  local folders
  folders=$(build_groups node)
  NODE_PATH=$(tr '\n' ':' <<<"$folders")
  NODE_PATH=${NODE_PATH%:}
  RUNC=$(grep '/runc-' <<<"$folders")/runc
  KUBECTL=$(grep '/control-plane-' <<<"$folders")/kubectl
}

# kubectl_admin ARG...: perhaps as root, and so without leaving files of root's in the user's home.
kubectl_admin() {
  KUBECTL_KUBERC=false "$KUBECTL" --kubeconfig "$STATE/kubeconfig" --cache-dir "$STATE/run/kubectl-cache" "$@"
}

# port_free PORT: nobody listens there, and no other cluster has it in its books.
port_free() {
  [ -z "$(ss -Hltn "sport = :$1")" ] || return 1
  ! grep -qs "=$1\$" "$STATE_HOME"/*/ports
}

# port_choose PREFERRED: that one if it is free, else one that is.
port_choose() {
  local port=$1
  until port_free "$port"; do port=$((RANDOM % 10000 + 20000)); done
  echo "$port"
}

# ports_load: the ports of the machine that lead into the node, chosen once and kept.
ports_load() {
  API_PORT='' PROXY_TLS_PORT='' PROXY_PLAIN_PORT='' GIT_PORT='' PROVIDER_PORT=''
  # shellcheck source=/dev/null
  [ ! -s "$STATE/ports" ] || . "$STATE/ports"
}

ports_choose() {
  local name had any=0
  ports_load
  [ "$CLUSTER" = workstead ] || any=$((RANDOM % 10000 + 20000))
  for name in API_PORT:6443 PROXY_TLS_PORT:8443 PROXY_PLAIN_PORT:8000 GIT_PORT:8418 PROVIDER_PORT:8444; do
    local variable=${name%:*} preferred=${name#*:}
    [ "$any" -eq 0 ] || preferred=$((any++))
    had=${!variable}
    if [ -n "$had" ]; then
      [ -n "$(ss -Hltn "sport = :$had")" ] || continue
      warn "port $had, which cluster $CLUSTER used so far, is taken; choosing another"
    fi
    printf -v "$variable" '%s' "$(port_choose "$preferred")"
    printf '%s=%s\n' API_PORT "$API_PORT" PROXY_TLS_PORT "$PROXY_TLS_PORT" PROXY_PLAIN_PORT "$PROXY_PLAIN_PORT" \
      GIT_PORT "$GIT_PORT" PROVIDER_PORT "$PROVIDER_PORT" |
      grep -v '=$' >"$STATE/ports.part"
    mv "$STATE/ports.part" "$STATE/ports"
  done
}

# slirp_call JSON: asks slirp4netns; prints its answer. By a short path: a socket's has 107 letters.
slirp_call() {
  local answer attempt
  # On a busy machine it may close a connection before it has read a word: that was no call, and it is made again.
  for attempt in 1 2 3; do
    if answer=$(cd "$STATE/run" && printf '%s' "$1" | socat -t 5 - UNIX-CONNECT:slirp.sock) && [ -n "$answer" ]; then
      printf '%s' "$answer"
      return 0
    fi
    sleep "0.$attempt"
  done
  return 1
}

slirp_forward() {
  local answer
  answer=$(slirp_call "{\"execute\": \"add_hostfwd\", \"arguments\": {\"proto\": \"tcp\",
    \"host_addr\": \"127.0.0.1\", \"host_port\": $1, \"guest_addr\": \"$NODE_IP4\", \"guest_port\": $2}}")
  jq -e '.return.id' >/dev/null <<<"$answer" ||
    die "cannot forward 127.0.0.1:$1 to port $2 of the node" "slirp4netns says: $answer"
}

# forwards_load: lines of `HOST GUEST` that the user asked for beside the ports of the cluster itself.
forwards_load() {
  printf '%s %s\n' "$API_PORT" "$API_GUEST_PORT" "$PROXY_TLS_PORT" "$PROXY_TLS_GUEST_PORT" \
    "$PROXY_PLAIN_PORT" "$PROXY_PLAIN_GUEST_PORT" "$GIT_PORT" "$GIT_GUEST_PORT" "$PROVIDER_PORT" "$PROVIDER_GUEST_PORT"
  [ ! -s "$STATE/forwards" ] || cat "$STATE/forwards"
}

# slirp_start PID: joins the node's network to the machine's, and brings back its forwards.
slirp_start() {
  local pid=$1 host guest
  local -a flags=(--configure --mtu=65520 --disable-host-loopback)
  [ -z "$IPV6_GATEWAY" ] || flags+=(--enable-ipv6)
  rm -f "$STATE/run/slirp.sock"
  (
    cd "$STATE/run" || exit
    cgroups_enter "$BASHPID"
    exec 7<alive
    detach 7
    exec setsid slirp4netns "${flags[@]}" --api-socket slirp.sock --exit-fd 7 "$pid" ext0 \
      </dev/null >"$STATE/log/slirp4netns.log" 2>&1
  ) &
  echo $! >"$STATE/run/slirp4netns.pid"
  wait_until 30 "slirp4netns" slirp_call '{"execute": "list_hostfwd"}' || {
    log_tail "$STATE/log/slirp4netns.log"
    die "the node has no network: slirp4netns did not start"
  }
  while read -r host guest; do slirp_forward "$host" "$guest"; done < <(forwards_load)
}

# node_find PARENT: notes the one child of unshare, the first in the new PID namespace. Before unshare is
# there, its place has children of other kinds.
node_find() {
  pgrep -P "$1" >"$STATE/run/node.pid" && node_pid
}

# node_start: processes only; their files are written.
node_start() {
  local file
  for file in "$STATE"/log/*.log; do [ ! -e "$file" ] || mv "$file" "$file.1"; done
  mkdir -p "$STATE"/data/{etcd,kubelet,containerd,volumes,pod-logs}
  chmod 700 "$STATE/data/etcd"
  mkfifo "$STATE/run/alive"
  IPV6_GATEWAY=''
  [ -z "$(ip -6 route show default)" ] || IPV6_GATEWAY=fd00::2
  local name
  for name in CLUSTER STATE CACHE NODE_PATH CNI_BIN CGROUPS NODE_IP4 NODE_IP6 UPSTREAM_DNS IPV6_GATEWAY SERVICE_RANGES \
    POD_RANGE4 POD_RANGE6 API_GUEST_PORT CLUSTER_DOMAIN EPHEMERAL; do
    printf '%s=%q\n' "$name" "${!name}"
  done >"$STATE/run/node.env"
  cgroups_make
  (
    cgroups_enter "$BASHPID"
    detach
    exec setsid unshare --net --mount --pid --uts --ipc --fork --kill-child --mount-proc --propagation private \
      bash "$CLUSTER_DIR/node-init" "$STATE/run/node.env" </dev/null >"$STATE/log/node.log" 2>&1
  ) &
  local unshare=$!
  wait_until 30 "the node's first process" node_find "$unshare" || {
    log_tail "$STATE/log/node.log"
    die "the node did not start"
  }
  slirp_start "$(node_pid)"
}

# node_stop: whatever of it is there, whole or half. With `now` nobody is given time to end.
node_stop() {
  local pid tries
  if [ "${1:-}" != now ] && pid=$(node_pid); then
    kill -TERM "$pid" 2>/dev/null || true
    for ((tries = 0; tries < 200; tries++)); do
      [ -d "/proc/$pid" ] || break
      sleep 0.1
    done
  fi
  cgroups_remove
  rm -rf "$STATE/run"
  mkdir -p "$STATE/run"
}

# spec_digest: what a running node was started with; another one means that it has to start anew.
spec_digest() {
  { printf '%s\n' "$NODE_PATH" "$EPHEMERAL" "$PAUSE_IMAGE"; cat "$CLUSTER_DIR"/{node-init,cni-routed-pod} "$CLUSTER_DIR"/lib/{config,addons}.sh "$CLUSTER_DIR"/addons/*; } |
    sha256sum | cut -c1-12
}

api_ready() { kubectl_admin get --raw /readyz --request-timeout=3s; }

cluster_up() {
  local name='' watched=''
  local -a given=("$@")
  EPHEMERAL='' FRESH=''
  while [ $# -gt 0 ]; do
    case "$1" in
      --ephemeral) EPHEMERAL=yes ;;
      --fresh) FRESH=yes ;;
      --until-exit-of)
        watched=${2:?a process number belongs after --until-exit-of}
        shift
        ;;
      -*) die "cluster up knows no $1" ;;
      *) name=$1 ;;
    esac
    shift
  done
  cluster_use "$name"
  [ ! -e "$STATE/ephemeral" ] || EPHEMERAL=yes
  node_path
  images_cluster
  mkdir -p "$STATE"
  become_root up "${given[@]}"
  mkdir -p "$STATE"/{run,log,etc}
  lock_take "$STATE/lock" "cluster $CLUSTER"
  [ -z "$EPHEMERAL" ] || touch "$STATE/ephemeral"
  cluster_up_locked
  lock_drop
  [ -z "$watched" ] || cluster_watch "$watched"
}

cluster_up_locked() {
  local start
  start=$(now_ms)
  if [ -z "$FRESH" ] && node_pid >/dev/null && [ "$(cat "$STATE/run/spec" 2>/dev/null)" = "$(spec_digest)" ]; then
    ports_load
    IPV6_GATEWAY=''
    slirp_alive || { warn "slirp4netns had ended, starting it again"; slirp_start "$(node_pid)"; }
    if api_ready >/dev/null 2>&1; then
      say "cluster $CLUSTER runs: $STATE/kubeconfig"
      return 0
    fi
    warn "cluster $CLUSTER is there, but its API server does not answer; starting it again"
  fi
  step "starting cluster $CLUSTER"
  check_space "$STATE" 3 "a cluster"
  node_stop ${FRESH:+now}
  [ -z "$FRESH" ] || rm -rf "$STATE"/data/{etcd,kubelet,volumes,pod-logs} "$STATE"/audit*.log "$STATE/forwards"
  ports_choose
  tls_all
  config_all
  # Made here, so that it is the user's and stays so when it is rotated.
  touch "$STATE/audit.log"
  chmod 600 "$STATE/audit.log"
  give_back "$STATE" "$STATE/kubeconfig" "$STATE/audit.log"
  node_start
  wait_until 60 containerd test -S "/proc/$(node_pid)/root/run/containerd/containerd.sock" || node_failed containerd
  images_load_missing "${CLUSTER_ARCHIVES[@]}"
  wait_until 60 "the API server" api_ready || node_failed etcd kube-apiserver
  say "    the API server answers after $(seconds $(($(now_ms) - start)))"
  addons_apply
  wait_until 60 "node $CLUSTER to register" kubectl_admin get node "$CLUSTER" || node_failed kubelet
  kubectl_admin wait --for=condition=Ready "node/$CLUSTER" --timeout=60s >/dev/null || node_failed containerd kubelet
  say "    the node is ready after $(seconds $(($(now_ms) - start)))"
  addons_wait || node_failed containerd kubelet kube-controller-manager
  spec_digest >"$STATE/run/spec"
  say "    cluster $CLUSTER is up after $(seconds $(($(now_ms) - start))): $STATE/kubeconfig"
}

# node_failed PROGRAM...: their logs, and the end. The half-started node stays for a look; `up` can be
# repeated, `down` clears it away.
node_failed() {
  local name
  log_tail "$STATE/log/node.log" 5
  for name in "$@"; do log_tail "$STATE/log/$name.log"; done
  die "cluster $CLUSTER did not start" "All logs: $STATE/log. Try again: cluster up $CLUSTER. Clear away: cluster down $CLUSTER"
}

# cluster_watch PID: a process aside that purges the cluster once PID is gone, however it went.
cluster_watch() {
  (
    detach
    # shellcheck disable=SC2016
    exec setsid bash -c 'tail --pid="$1" -f /dev/null; exec "$2" down "$3" --purge' workstead-watch \
      "$1" "$CLUSTER_DIR/cluster" "$CLUSTER" </dev/null >/dev/null 2>&1
  ) &
}

cluster_down() {
  local name='' purge=''
  local -a given=("$@")
  while [ $# -gt 0 ]; do
    case "$1" in
      --purge) purge=yes ;;
      -*) die "cluster down knows no $1" ;;
      *) name=$1 ;;
    esac
    shift
  done
  cluster_use "$name"
  if [ ! -d "$STATE" ] && ! cgroups_exist; then
    say "there is no cluster $CLUSTER"
    return 0
  fi
  become_root down "${given[@]}"
  mkdir -p "$STATE"
  lock_take "$STATE/lock" "cluster $CLUSTER"
  cluster_down_locked "$purge"
}

cluster_down_locked() {
  if [ -n "$1" ]; then
    node_stop now
    rm -rf --one-file-system "$STATE"
    say "cluster $CLUSTER and its data are gone"
  else
    node_stop
    rm -rf "$STATE/run"
    say "cluster $CLUSTER is stopped; its data stays in $STATE"
  fi
}

cluster_status() {
  local folder
  if [ $# -eq 0 ]; then
    for folder in "$STATE_HOME"/*/ports; do
      [ ! -e "$folder" ] || cluster_status "$(basename "$(dirname "$folder")")"
    done
    return 0
  fi
  cluster_known "$1"
  ports_load
  local pid program running gone=''
  if ! pid=$(node_pid); then
    echo "$CLUSTER  stopped  $STATE"
    return 0
  fi
  # The kernel cuts names after 15 letters.
  running=$(cgroups_programs)
  for program in slirp4netns containerd etcd kube-apiserver kubelet kube-controller-manager kube-scheduler kube-proxy; do
    grep -qx "${program:0:15}" <<<"$running" || gone+=" $program"
  done
  echo "$CLUSTER  running${gone:+ without$gone}  process $pid  API https://127.0.0.1:$API_PORT  proxy $PROXY_TLS_PORT $PROXY_PLAIN_PORT  Git $GIT_PORT  $STATE"
}

cluster_kubeconfig() {
  cluster_known "${1:-}"
  echo "$STATE/kubeconfig"
}

cluster_kubectl() {
  cluster_known "${1:-}"
  shift
  node_path
  exec "$KUBECTL" --kubeconfig "$STATE/kubeconfig" "$@"
}

# cluster_running ARG...: as root, with the node's process in NODE.
cluster_running() {
  cluster_known "${2:-}"
  node_path
  become_root "$@"
  NODE=$(node_pid) || die "cluster $CLUSTER does not run" "Start it: cluster up $CLUSTER"
}

cluster_exec() {
  cluster_running exec "$@"
  shift
  [ $# -gt 0 ] || set -- bash
  detach
  enter_node "$NODE" "$@"
}

cluster_load() {
  cluster_running load "$@"
  shift
  images_load_missing "$@"
}

cluster_forward() {
  [ $# -eq 3 ] || die "usage: cluster forward NAME HOSTPORT GUESTPORT"
  cluster_running forward "$@"
  grep -qsx "$2 $3" "$STATE/forwards" && return 0
  slirp_forward "$2" "$3"
  echo "$2 $3" >>"$STATE/forwards"
}

cluster_logs() {
  cluster_known "${1:-}"
  if [ -z "${2:-}" ]; then
    (cd "$STATE/log" && printf '%s\n' *.log | sed 's/\.log$//')
  else
    [ -e "$STATE/log/$2.log" ] || die "no program $2 in cluster $CLUSTER" "cluster logs $CLUSTER names them."
    cat "$STATE/log/$2.log"
  fi
}
