# What every part uses: places, words for the user, waiting with a deadline, becoming root.
# shellcheck shell=bash

CACHE=${WORKSTEAD_CACHE:-${XDG_CACHE_HOME:-${HOME:?}/.cache}/workstead}
STATE_HOME=${XDG_STATE_HOME:-${HOME:?}/.local/state}/workstead

say() { printf '%s\n' "$*" >&2; }
step() { printf '==> %s\n' "$*" >&2; }
warn() { printf 'warning: %s\n' "$*" >&2; }
die() {
  printf 'error: %s\n' "$1" >&2
  shift
  local line
  for line in "$@"; do printf '       %s\n' "$line" >&2; done
  exit 1
}

# now_ms: milliseconds since the epoch.
now_ms() { echo $((${EPOCHREALTIME/[.,]/} / 1000)); }

# seconds MS: "0.4s" or "2m05s".
seconds() {
  local ms=$1
  if [ "$ms" -lt 60000 ]; then
    printf '%d.%ds' $((ms / 1000)) $((ms % 1000 / 100))
  else
    printf '%dm%02ds' $((ms / 60000)) $((ms / 1000 % 60))
  fi
}

# wait_until SECONDS WHAT CMD...: run CMD until it succeeds. Says what it waits for once that takes
# longer than two seconds, returns 1 at the deadline.
wait_until() {
  local limit=$1 what=$2 start said=
  shift 2
  start=$(now_ms)
  until "$@" >/dev/null 2>&1; do
    local waited=$(($(now_ms) - start))
    if [ "$waited" -gt $((limit * 1000)) ]; then
      say "error: gave up after ${limit} s waiting for $what"
      return 1
    fi
    if [ -z "$said" ] && [ "$waited" -gt 2000 ]; then
      say "    waiting for $what (at most ${limit} s)"
      said=yes
    fi
    sleep 0.1
  done
}

# log_tail FILE [LINES]: the end of a log, for the one who has to find out why.
log_tail() {
  [ -s "$1" ] || return 0
  say "--- the last lines of $1"
  tail -n "${2:-15}" "$1" | cut -c1-400 >&2
  say "---"
}

# check_space FOLDER GB WHAT: says beforehand what would otherwise be found out half-way.
check_space() {
  local free
  free=$(df --output=avail -BG "$1" | tail -1 | tr -dc 0-9)
  [ "$free" -ge "$2" ] || warn "$1 has $free GB left; $3 takes about $2 GB"
}

# check_name NAME: a cluster's name becomes a folder, a cgroup and a host name.
check_name() {
  [[ "${1:-}" =~ ^[a-z]([a-z0-9-]{0,38}[a-z0-9])?$ ]] ||
    die "'${1:-}' is no name for a cluster" "Use 1 to 40 of a-z, 0-9 and '-', starting with a letter."
}

# lock_take FILE WHAT: one at a time; says so where it has to wait. The lock goes with the process,
# however it ends; what is started under it and stays must not hold it, and closes fd 9.
lock_take() {
  mkdir -p "$(dirname "$1")"
  exec 9>"$1"
  flock -n 9 && return 0
  say "    waiting for another process, which holds $2"
  flock 9
}

lock_drop() { exec 9>&-; }

# detach [FD]: for what stays after this command: it must not hold the caller's files and locks, whatever
# their numbers. FD is kept.
detach() {
  local fd
  for fd in /proc/self/fd/*; do
    fd=${fd##*/}
    [ "$fd" -le 2 ] || [ "$fd" = "${1:-}" ] || eval "exec $fd>&-"
  done
}

# become_root ARG...: run this command again as root, with this user's places. Namespaces, mounts and
# cgroups need it; builds do not, and stay the user's.
become_root() {
  [ "$(id -u)" -ne 0 ] || return 0
  command -v sudo >/dev/null || die "a node needs root, and there is no sudo here" "Run the command as root."
  exec sudo env "PATH=$PATH" "HOME=$HOME" "WORKSTEAD_CACHE=$CACHE" "XDG_STATE_HOME=$(dirname "$STATE_HOME")" \
    "WORKSTEAD_OWNER=$(id -u):$(id -g)" "$CLUSTER_DIR/cluster" "$@"
}

# give_back PATH...: files made as root for the user who asked belong to that user.
give_back() {
  [ -z "${WORKSTEAD_OWNER:-}" ] || chown "$WORKSTEAD_OWNER" "$@"
}

# digest_of FILE...: twelve letters that stand for the content.
digest_of() { cat -- "$@" | sha256sum | cut -c1-12; }
