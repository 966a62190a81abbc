# Writes OCI images by hand: an image is a tar file or two and four small JSON documents. No daemon, no
# registry, no root. Layers are not compressed, since they travel from one folder to another.
# shellcheck shell=bash

# oci_blob LAYOUT FILE: moves the file in; prints its digest and size.
oci_blob() {
  local digest size
  digest=$(sha256sum "$2" | cut -d' ' -f1)
  size=$(stat -c %s "$2")
  mv "$2" "$1/blobs/sha256/$digest"
  echo "$digest $size"
}

# oci_layer FOLDER TAR: the same content makes the same bytes, whoever owns the files here.
oci_layer() {
  tar -C "$1" --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner --format=posix \
    --pax-option=delete=atime,delete=ctime -cf "$2" .
}

oci_architecture() {
  case "$(uname -m)" in
    x86_64) echo amd64 ;;
    aarch64) echo arm64 ;;
    *) uname -m ;;
  esac
}

# oci_archive FILE CONFIG LAYERS NAMES: CONFIG is the `config` part of the image's configuration, LAYERS
# and NAMES are lists of words; its name by digest joins them. Layer files are moved unless they lie in the cache.
oci_archive() {
  local file=$1 config=$2 layout=$1.layout layer digest size
  local -a layers=() names=()
  read -ra layers <<<"$3"
  read -ra names <<<"$4"
  rm -rf "$layout"
  mkdir -p "$layout/blobs/sha256"
  local descriptors='[]' diffs='[]'
  for layer in "${layers[@]}"; do
    if [[ "$layer" == "$CACHE"/images/* ]]; then
      ln "$layer" "$layout/layer"
      layer=$layout/layer
    fi
    read -r digest size < <(oci_blob "$layout" "$layer")
    diffs=$(jq -c --arg d "sha256:$digest" '. + [$d]' <<<"$diffs")
    descriptors=$(jq -c --arg d "sha256:$digest" --argjson s "$size" \
      '. + [{mediaType: "application/vnd.oci.image.layer.v1.tar", digest: $d, size: $s}]' <<<"$descriptors")
  done
  jq -cn --arg arch "$(oci_architecture)" --argjson config "$config" --argjson diffs "$diffs" \
    '{architecture: $arch, os: "linux", config: $config, rootfs: {type: "layers", diff_ids: $diffs}}' >"$layout/document"
  read -r digest size < <(oci_blob "$layout" "$layout/document")
  jq -cn --arg d "sha256:$digest" --argjson s "$size" --argjson layers "$descriptors" '{
    schemaVersion: 2, mediaType: "application/vnd.oci.image.manifest.v1+json", layers: $layers,
    config: {mediaType: "application/vnd.oci.image.config.v1+json", digest: $d, size: $s}}' >"$layout/document"
  read -r digest size < <(oci_blob "$layout" "$layout/document")
  names+=("${names[0]%:*}@sha256:$digest")
  # One manifest under each of its names.
  jq -cn --arg d "sha256:$digest" --argjson s "$size" '{schemaVersion: 2, manifests: [$ARGS.positional[] | {
    mediaType: "application/vnd.oci.image.manifest.v1+json", digest: $d, size: $s,
    annotations: {"org.opencontainers.image.ref.name": ., "io.containerd.image.name": .}}]}' \
    --args "${names[@]}" >"$layout/index.json"
  echo '{"imageLayoutVersion": "1.0.0"}' >"$layout/oci-layout"
  tar -C "$layout" --sort=name -cf "$file.part" index.json oci-layout blobs
  rm -rf "$layout"
  mv "$file.part" "$file"
}

# oci_names ARCHIVE: lines of `NAME DIGEST`.
oci_names() {
  tar -xOf "$1" index.json |
    jq -r '.manifests[] | "\(.annotations["io.containerd.image.name"] // .annotations["org.opencontainers.image.ref.name"]) \(.digest)"'
}

# oci_pinned ARCHIVE: its name by digest, which means the same image for ever.
oci_pinned() { oci_names "$1" | awk '$1 ~ /@/ {print $1}'; }
