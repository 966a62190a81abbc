# The Git server of examples and tests: HTTP for all who reach it; HTTPS, ssh and users where keys are mounted.
# shellcheck shell=bash

# Beside the Debian that workspaces stand on, which must stay without them.
GIT_SERVER_PACKAGES=openssh-server,lighttpd-mod-openssl

image_build_git_server() {
  local debian file from=$WORK/more images=$CLUSTER_DIR/images/git-server root=$WORK/root
  local to=$root/opt/git-server
  debian=$(debian_layer)
  debian_extract "$from" "$GIT_SERVER_PACKAGES"
  mkdir -p "$to" "$root"/srv/git "$root"/usr/{sbin,lib/lighttpd,lib/git-server} "$root"/etc
  install -m 0755 "$from/usr/sbin/sshd" "$root/usr/sbin/sshd"
  while read -r file; do
    cp -L "$file" "$root/usr/lib/git-server/"
  done < <(find "$from/lib/" "$from/usr/lib/" -name 'libwrap.so.0' -o -name 'libnsl.so.2' -o -name 'libtirpc.so.3')
  cp -L "$from/usr/lib/lighttpd/mod_openssl.so" "$root/usr/lib/lighttpd/"
  # sshd lets nobody in who has no name.
  printf '%s\n' 'root:x:0:0:root:/root:/bin/bash' 'www-data:x:33:33::/var/www:/usr/sbin/nologin' \
    'nobody:x:65534:65534::/nonexistent:/usr/sbin/nologin' 'git:*:10001:0::/srv/git:/bin/sh' >"$root/etc/passwd"
  install -m 0755 "$images/entry" "$images/guarded" "$to/"
  install -D -m 0755 "$images/post-receive" "$to/hooks/post-receive"
  install -m 0644 "$images/lighttpd.conf" "$to/lighttpd.conf"
  chmod 0775 "$root/srv/git"
  oci_layer "$root" "$WORK/layer"
  image_finish git-server "$IMAGE_DIGEST" '{"Entrypoint": ["/opt/git-server/entry"], "User": "10001:0", "WorkingDir": "/srv/git",
    "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/tmp", "LANG=C.UTF-8"]}' \
    "$debian" "$WORK/layer"
}
