# A workspace without glibc: musl, from Debian, and a shell with the small tools of busybox, as in Alpine. It stands
# for Alpine where its packages cannot be had.
# shellcheck shell=bash

image_build_workspace_musl() {
  local to=$WORK/root name
  debian_extract "$WORK/debian" musl
  mkdir -p "$to"/{bin,etc,lib,tmp,proc,projects,usr/bin,var/tmp}
  # Under the two names that programs made for Alpine ask for.
  name=ld-musl-$(uname -m).so.1
  cp "$WORK/debian/lib/$(uname -m)-linux-musl/libc.so" "$to/lib/$name"
  ln -s "$name" "$to/lib/libc.musl-$(uname -m).so.1"
  cp /bin/busybox "$to/bin/busybox"
  for name in $(/bin/busybox --list); do
    [ "$name" = busybox ] || ln -s busybox "$to/bin/$name"
  done
  ln -s ../../bin/busybox "$to/usr/bin/env"
  echo 'root:x:0:0:root:/root:/bin/sh' >"$to/etc/passwd"
  echo 'root:x:0:' >"$to/etc/group"
  chmod 0775 "$to/projects"
  chmod 1777 "$to/tmp" "$to/var/tmp"
  oci_layer "$to" "$WORK/layer"
  image_finish workspace-musl "$IMAGE_DIGEST" '{"Cmd": ["sh"], "User": "10001:0", "WorkingDir": "/projects",
    "Env": ["PATH=/usr/local/bin:/usr/bin:/bin", "HOME=/projects"]}' "$WORK/layer"
}
