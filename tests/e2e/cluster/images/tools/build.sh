# The image that every workspace has at /opt/workstead: its first process, and a Git with ssh that runs whatever
# the workspace's own image is. Git and OpenSSH are Debian's programs, unchanged but for three lines of their
# headers (patchelf): they load their own loader and libraries, and anywhere.c before the C library.
# shellcheck shell=bash

TOOLS_PACKAGES=git,openssh-client,ca-certificates,busybox-static
TOOLS_PLACE=/opt/workstead/git

# debian_extract FOLDER PACKAGES: unpacks packages with all that they depend on, installs nothing.
debian_extract() {
  local log=$CACHE/images/extract.log
  mkdir -p "$1"
  debian_mirrors >"$CACHE/images/debian.sources"
  as_root env SOURCE_DATE_EPOCH=0 mmdebstrap --mode=root --variant=extract --include="$2" "$DEBIAN_SUITE" - \
    <"$CACHE/images/debian.sources" 2>"$log" | tar -C "$1" --no-same-owner --exclude=./dev -xf - || {
    log_tail "$log"
    die "mmdebstrap could not unpack $2"
  }
}

# relocate ROOT PLACE LIBRARIES PROGRAM...: the programs load the loader and libraries of PLACE/lib, which are copied from ROOT
# to LIBRARIES. The older kind of search path wins over LD_LIBRARY_PATH, which a user may need for other things.
relocate() {
  local root=$1 place=$2 libraries=$3 program loader folders list path
  shift 3
  mkdir -p "$libraries"
  loader=$(find "$root/lib" "$root/usr/lib" -name 'ld-linux-*.so.*' | head -n 1)
  folders=$(dirname "$loader"):$root/usr/lib/$(basename "$(dirname "$loader")")
  cp -L "$loader" "$libraries/"
  for program in "$@"; do
    # A list in a variable: a program that lacks a library fails here and not at a user's.
    list=$("$loader" --inhibit-cache --library-path "$folders" --list "$program") || die "$program lacks a library" "$list"
    while read -r path; do
      cp -nL "$path" "$libraries/"
    done < <(grep -oE "$root/[^ ]+\.so[^ ]*" <<<"$list")
    patchelf --set-interpreter "$place/lib/$(basename "$loader")" --force-rpath --set-rpath "$place/lib" "$program"
  done
  # Loaded by name when a thread ends or a name is looked up.
  for path in libgcc_s.so.1 libnss_files.so.2 libnss_dns.so.2; do
    cp -nL "$(find "$root/lib" "$root/usr/lib" -name "$path" | head -n 1)" "$libraries/"
  done
}

image_build_tools() {
  local from=$WORK/debian to=$WORK/root/git core name file
  local -a programs
  deps_install patchelf
  debian_extract "$from" "$TOOLS_PACKAGES"
  mkdir -p "$WORK/root/bin" "$to"/{bin,etc,lib,libexec,share/git-core,share/doc}
  cp "$SUPERVISOR_BIN" "$WORK/root/bin/workstead-supervisor"
  # What a shell of a user's image would do, in images that have none.
  cp "$from/bin/busybox" "$to/bin/busybox"
  ln -s busybox "$to/bin/sh"
  core=$to/libexec/git-core
  cp -a "$from/usr/lib/git-core" "$core"
  cp -a "$from/usr/share/git-core/templates" "$to/share/git-core/"
  # Servers, mail and what needs Perl.
  for name in git-daemon git-http-backend git-http-push git-imap-send git-instaweb git-shell git-add--interactive scalar; do
    rm -f "$core/$name"
  done
  # Nobody reads the examples of hooks, and each clone would copy them.
  rm -f "$to/share/git-core/templates"/hooks/*.sample
  grep -rlIZ '^#!/bin/sh' "$core" | xargs -0 sed -i "1s|^#!/bin/sh|#!$TOOLS_PLACE/bin/sh|"
  for name in ssh ssh-add ssh-agent ssh-keygen ssh-keyscan scp sftp; do
    cp "$from/usr/bin/$name" "$to/bin/$name"
    ln -s "../git/bin/$name" "$WORK/root/bin/$name"
  done
  for name in git git-upload-pack git-receive-pack git-upload-archive; do
    ln -s "../git/libexec/git-core/$name" "$WORK/root/bin/$name"
  done
  # A static program and a script name no loader.
  mapfile -t programs < <(find "$core" "$to/bin" -type f -perm /111 | while read -r file; do
    ! patchelf --print-interpreter "$file" >/dev/null 2>&1 || echo "$file"
  done)
  relocate "$from" "$TOOLS_PLACE" "$to/lib" "${programs[@]}"
  gcc -O2 -Wall -Wextra -Werror -fPIC -shared -DPLACE="\"$TOOLS_PLACE\"" -Wl,-z,now -o "$to/lib/libanywhere.so" \
    "$CLUSTER_DIR/images/tools/anywhere.c"
  strip "$to/lib/libanywhere.so"
  patchelf --add-needed libanywhere.so "${programs[@]}"
  find "$from/usr/share/ca-certificates/mozilla" -name '*.crt' | sort | xargs cat >"$to/etc/ca-certificates.crt"
  tools_settings "$to/etc"
  for file in "$from"/usr/share/doc/*/copyright; do
    install -D -m 0644 "$file" "$to/share/doc/$(basename "$(dirname "$file")")/copyright"
  done
  chmod -R u=rwX,go=rX "$WORK/root"
  oci_layer "$WORK/root" "$WORK/layer"
  image_finish tools "$IMAGE_DIGEST" '{"Entrypoint": ["/bin/workstead-supervisor"], "User": "65532:65532"}' "$WORK/layer"
}

# tools_settings FOLDER: Git's settings for each place where an image may have certificates (anywhere.c chooses). The
# image's own /etc/gitconfig is read after ours, so it wins.
tools_settings() {
  local name bundle
  while read -r name bundle; do
    printf '[http]\n\tsslCAInfo = %s\n[init]\n\ttemplateDir = %s\n[include]\n\tpath = /etc/gitconfig\n' \
      "$bundle" "$TOOLS_PLACE/share/git-core/templates" >"$1/gitconfig.$name"
  done <<LIST
debian /etc/ssl/certs/ca-certificates.crt
fedora /etc/pki/tls/certs/ca-bundle.crt
suse /etc/ssl/ca-bundle.pem
alpine /etc/ssl/cert.pem
own $TOOLS_PLACE/etc/ca-certificates.crt
LIST
}
