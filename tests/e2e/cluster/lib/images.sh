# The images of the cluster, of Workstead and of the examples' workspaces, each kept as an OCI archive
# under the digest of what went into it.
# shellcheck shell=bash

IMAGES=(pause workstead tools workspace-debian workspace-musl workspace-tiny editor-vscode editor-terminal git-server provider)
DEBIAN_SUITE=bookworm
DEBIAN_PACKAGES=bash,busybox-static,ca-certificates,curl,git,less,lighttpd,openssl,procps

# image_repository NAME: localhost is a registry that nobody can ask, so that no pull goes astray.
image_repository() {
  case "$1" in
    workstead) echo localhost/workstead ;;
    *) echo "localhost/workstead-$1" ;;
  esac
}

# image_archive NAME DIGEST: its file.
image_archive() { echo "$CACHE/images/$1-$2.tar"; }

# image_finish NAME DIGEST CONFIG LAYER...: writes the archive, with the digest and `dev` as its tags.
image_finish() {
  local name=$1 digest=$2 config=$3 repository
  shift 3
  repository=$(image_repository "$name")
  oci_archive "$(image_archive "$name" "$digest")" "$config" "$*" "$repository:$digest $repository:dev"
}

# image_make NAME: sets IMAGE_DIGEST, and makes the archive unless it is there.
image_make() {
  local name=$1 start
  image_inputs "$name"
  [ ! -e "$(image_archive "$name" "$IMAGE_DIGEST")" ] || return 0
  start=$(now_ms)
  lock_take "$CACHE/images.lock" "$CACHE/images to build there"
  if [ ! -e "$(image_archive "$name" "$IMAGE_DIGEST")" ]; then
    WORK=$CACHE/images/work
    rm -rf "$WORK"
    mkdir -p "$WORK/root"
    [ "$name" != editor-vscode ] || step "making VS Code's image (its parts come from the network; two to three minutes, once)"
    "image_build_${name//-/_}"
    rm -rf "$WORK"
    say "    image $name made in $(seconds $(($(now_ms) - start)))"
    images_forget "$name"
  fi
  lock_drop
}

# images_forget NAME: all but the newest four archives; an older one is made again in a second.
images_forget() {
  local -a archives
  mapfile -t archives < <(find "$CACHE/images" -name "$1-????????????.tar" -printf '%T@ %p\n' | sort -rn | cut -d' ' -f2-)
  [ ${#archives[@]} -le 4 ] || rm -f -- "${archives[@]:4}"
}

# image_inputs NAME: sets IMAGE_DIGEST, which stands for everything that goes in.
image_inputs() {
  local -a files=()
  case "$1" in
    pause | workspace-tiny) files+=(/bin/busybox) ;;
    coredns) files+=("$(unit_folder coredns)/coredns") ;;
    editor-terminal) files+=(/bin/busybox "$CLUSTER_DIR"/images/editor-{terminal,vscode}/*) ;;
    editor-vscode) files+=(/bin/busybox "$CLUSTER_DIR"/images/editor-vscode/*) ;;
    workspace-musl) files+=(/bin/busybox "$CLUSTER_DIR"/images/{workspace-musl,tools}/build.sh) ;;
    git-server) files+=("$CLUSTER_DIR"/images/git-server/* "$CLUSTER_DIR"/images/tools/build.sh) ;;
    provider)
      mapfile -t files < <(npm_inputs "$CLUSTER_DIR/../provider")
      files+=("$CLUSTER_DIR"/../provider/*.mjs "$CLUSTER_DIR"/images/editor-vscode/build.sh)
      ;;
    workstead) workstead_binaries && files+=("$WORKSTEAD_BIN" "$SUPERVISOR_BIN") ;;
    tools)
      binaries_prepare
      supervisor_binary
      files+=("$SUPERVISOR_BIN" "$CLUSTER_DIR"/images/tools/*)
      ;;
  esac
  IMAGE_DIGEST=$({
    echo "$1 $DEBIAN_SUITE $DEBIAN_PACKAGES"
    declare -f "image_build_${1//-/_}" image_finish debian_layer oci_layer oci_archive
    cat -- /dev/null "${files[@]}"
  } | sha256sum | cut -c1-12)
}

# What holds the namespaces of a pod.
image_build_pause() {
  cp /bin/busybox "$WORK/root/busybox"
  oci_layer "$WORK/root" "$WORK/layer"
  image_finish pause "$IMAGE_DIGEST" \
    '{"Entrypoint": ["/busybox", "sleep", "2147483647"], "User": "65535:65535"}' "$WORK/layer"
}

image_build_coredns() {
  mkdir -p "$WORK/root/etc/ssl/certs"
  cp "$(unit_folder coredns)/coredns" "$WORK/root/coredns"
  cp /etc/ssl/certs/ca-certificates.crt "$WORK/root/etc/ssl/certs/"
  oci_layer "$WORK/root" "$WORK/layer"
  image_finish coredns "$IMAGE_DIGEST" '{"Entrypoint": ["/coredns"]}' "$WORK/layer"
}

# Nothing but one static program: no shell, no C library, no /etc.
image_build_workspace_tiny() {
  cp /bin/busybox "$WORK/root/busybox"
  oci_layer "$WORK/root" "$WORK/layer"
  image_finish workspace-tiny "$IMAGE_DIGEST" \
    '{"Cmd": ["/busybox", "httpd", "-f", "-p", "3000"], "User": "10001:0"}' "$WORK/layer"
}

as_root() {
  if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo "$@"; fi
}

# debian_mirrors: where this machine gets its packages from, if it is the same Debian; else nothing, and mmdebstrap
# knows Debian's own.
debian_mirrors() {
  local uris
  # shellcheck disable=SC2016
  uris=$(apt-get indextargets --format '$(ORIGIN) $(CODENAME) $(REPO_URI) $(COMPONENT)' "Created-By: Packages" 2>/dev/null |
    awk -v suite="$DEBIAN_SUITE" '$1 == "Debian" && index($2, suite) == 1 && $NF == "main" {print $2, $3}' | sort -u)
  grep -q "^$DEBIAN_SUITE " <<<"$uris" || return 0
  while read -r suite uri; do
    echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $uri $suite main"
  done <<<"$uris"
}

# debian_layer: prints the file with a small Debian as one layer, which several images stand on.
debian_layer() {
  local digest file log=$CACHE/images/debian.log start
  digest=$(printf '%s\n' "$DEBIAN_SUITE" "$DEBIAN_PACKAGES" "$(uname -m)" "$(declare -f debian_layer)" | sha256sum | cut -c1-12)
  file=$CACHE/images/debian-$digest.layer
  if [ ! -e "$file" ]; then
    step "making a Debian $DEBIAN_SUITE to stand on (packages come from the network)"
    start=$(now_ms)
    debian_mirrors >"$CACHE/images/debian.sources"
    # shellcheck disable=SC2016
    as_root env SOURCE_DATE_EPOCH=0 mmdebstrap --mode=root --variant=minbase --include="$DEBIAN_PACKAGES" \
      --dpkgopt=path-exclude='/usr/share/man/*' --dpkgopt=path-exclude='/usr/share/locale/*' \
      --dpkgopt=path-exclude='/usr/share/doc/*' --dpkgopt=path-include='/usr/share/doc/*/copyright' \
      --customize-hook='rm -rf "$1"/var/lib/apt/lists/* "$1"/var/cache/* "$1"/var/log/*' \
      "$DEBIAN_SUITE" - <"$CACHE/images/debian.sources" 2>"$log" >"$file.part" || {
      log_tail "$log"
      rm -f "$file.part"
      die "mmdebstrap could not make a Debian $DEBIAN_SUITE"
    }
    mv "$file.part" "$file"
    say "    done in $(seconds $(($(now_ms) - start)))"
  fi
  echo "$file"
}

# Any user with group 0 may write to the home.
image_build_workspace_debian() {
  local debian
  debian=$(debian_layer)
  mkdir -p "$WORK/root/projects"
  chmod 0775 "$WORK/root/projects"
  oci_layer "$WORK/root" "$WORK/layer"
  image_finish workspace-debian "$IMAGE_DIGEST" '{"Cmd": ["bash"], "User": "10001:0", "WorkingDir": "/projects",
    "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/projects", "LANG=C.UTF-8"]}' \
    "$debian" "$WORK/layer"
}

# binaries_prepare: sets what cargo is asked with and where it puts things.
binaries_prepare() {
  ROOT=$(cd "$CLUSTER_DIR/../../.." && pwd)
  TARGET=$(cd "$ROOT" && cargo metadata --format-version 1 --no-deps | jq -r .target_directory)
  PROFILE_FOLDER=debug CARGO_FLAGS=(--locked)
  [ "$PROFILE" != release ] || PROFILE_FOLDER=release CARGO_FLAGS+=(--release)
  mkdir -p "$TARGET/images-$PROFILE_FOLDER"
}

# binary_keep FILE: sets KEPT to a stripped copy, made again where the file is newer. Several may do so at once.
binary_keep() {
  KEPT=$TARGET/images-$PROFILE_FOLDER/$(basename "$1")
  if [ ! "$KEPT" -nt "$1" ]; then
    strip -o "$KEPT.part.$BASHPID" "$1"
    mv "$KEPT.part.$BASHPID" "$KEPT"
  fi
}

# supervisor_binary: sets SUPERVISOR_BIN. It runs in any image and is static; a target of its own keeps its flags
# off the rest.
supervisor_binary() {
  local triple
  triple=$(rustc -vV | sed -n 's/^host: //p')
  (cd "$ROOT" && RUSTFLAGS='-C target-feature=+crt-static' \
    cargo build "${CARGO_FLAGS[@]}" -p workstead-supervisor --target "$triple") || die "cargo build failed"
  binary_keep "$TARGET/$triple/$PROFILE_FOLDER/workstead-supervisor"
  SUPERVISOR_BIN=$KEPT
}

# workstead_binaries: builds them in PROFILE, sets WORKSTEAD_BIN and SUPERVISOR_BIN.
workstead_binaries() {
  binaries_prepare
  step "building workstead and its supervisor ($PROFILE)"
  (cd "$ROOT" && cargo build "${CARGO_FLAGS[@]}" -p workstead) || die "cargo build failed"
  binary_keep "$TARGET/$PROFILE_FOLDER/workstead"
  WORKSTEAD_BIN=$KEPT
  supervisor_binary
}

# images_supervisor [--profile dev|release]: prints the supervisor's file as it goes into the image, for who judges that alone.
images_supervisor() {
  PROFILE=dev
  [ "${1:-}" != --profile ] || PROFILE=${2:-}
  [[ "$PROFILE" =~ ^(dev|release)$ ]] || die "the profile is dev or release, not '$PROFILE'"
  binaries_prepare
  supervisor_binary
  echo "$SUPERVISOR_BIN"
}

image_build_workstead() {
  local library
  mkdir -p "$WORK/root"/{bin,etc/ssl/certs,tmp}
  chmod 1777 "$WORK/root/tmp"
  cp "$WORKSTEAD_BIN" "$WORK/root/bin/workstead"
  cp "$SUPERVISOR_BIN" "$WORK/root/bin/workstead-supervisor"
  if ldd "$SUPERVISOR_BIN" >/dev/null 2>&1 && ! ldd "$SUPERVISOR_BIN" 2>&1 | grep -q 'statically linked'; then
    die "workstead-supervisor is not static" "It has to run in images without a C library."
  fi
  while read -r library; do
    mkdir -p "$WORK/root$(dirname "$library")"
    cp -L "$library" "$WORK/root$library"
  done < <(ldd "$WORKSTEAD_BIN" | grep -oE '/[^ ]+')
  cp /etc/ssl/certs/ca-certificates.crt "$WORK/root/etc/ssl/certs/"
  echo 'workstead:x:65532:65532::/tmp:/bin/false' >"$WORK/root/etc/passwd"
  echo 'workstead:x:65532:' >"$WORK/root/etc/group"
  echo 'hosts: files dns' >"$WORK/root/etc/nsswitch.conf"
  oci_layer "$WORK/root" "$WORK/layer"
  image_finish workstead "$IMAGE_DIGEST" \
    '{"Entrypoint": ["/bin/workstead"], "User": "65532:65532", "Env": ["PATH=/bin", "HOME=/tmp", "SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt"]}' "$WORK/layer"
}

# images_cluster: what the cluster itself runs. Sets PAUSE_IMAGE, COREDNS_IMAGE and CLUSTER_ARCHIVES.
# shellcheck disable=SC2034
images_cluster() {
  mkdir -p "$CACHE/images"
  image_make pause
  PAUSE_IMAGE=$(image_repository pause):$IMAGE_DIGEST
  CLUSTER_ARCHIVES=("$(image_archive pause "$IMAGE_DIGEST")")
  image_make coredns
  COREDNS_IMAGE=$(image_repository coredns):$IMAGE_DIGEST
  CLUSTER_ARCHIVES+=("$(image_archive coredns "$IMAGE_DIGEST")")
}

images_main() {
  local registry='' pinned='' name archive reference
  local -a names=()
  PROFILE=dev
  while [ $# -gt 0 ]; do
    case "$1" in
      --profile | --push)
        [ -n "${2:-}" ] || die "a value belongs after $1"
        [ "$1" = --push ] && registry=$2 || PROFILE=$2
        shift
        ;;
      --pinned) pinned=yes ;;
      -*) die "cluster images knows no $1" ;;
      *) names+=("$1") ;;
    esac
    shift
  done
  [[ "$PROFILE" =~ ^(dev|release)$ ]] || die "the profile is dev or release, not '$PROFILE'"
  [ ${#names[@]} -gt 0 ] || names=("${IMAGES[@]}")
  mkdir -p "$CACHE/images"
  for name in "${names[@]}"; do
    [[ " ${IMAGES[*]} " == *" $name "* ]] || die "no image '$name'" "Images: ${IMAGES[*]}"
    image_make "$name"
    archive=$(image_archive "$name" "$IMAGE_DIGEST")
    reference=$(image_repository "$name"):$IMAGE_DIGEST
    [ -z "$pinned" ] || reference=$(oci_pinned "$archive")
    printf '%s %s\n' "$reference" "$archive"
    [ -z "$registry" ] || image_push "$name" "$archive" "$registry"
  done
}

# image_push NAME ARCHIVE REGISTRY: under the digest's tag, `dev` and, for Workstead of the release
# profile, the version, which is what the chart asks for unless told otherwise.
image_push() {
  local target tag
  # The same digest there as here, so layers go as they are.
  local -a tags=("$IMAGE_DIGEST" dev) flags=(--preserve-digests)
  [[ ! "$1 $PROFILE" =~ ^(workstead|tools)\ release$ ]] || tags+=("$(sed -n 's/^appVersion: *//p' "$CLUSTER_DIR/../../../charts/workstead/Chart.yaml")")
  # A registry on this machine has no certificate.
  [[ ! "$3" =~ ^(localhost|127\.0\.0\.1|\[::1\])(:|/|$) ]] || flags+=(--dest-tls-verify=false)
  for tag in "${tags[@]}"; do
    target=$3/$(basename "$(image_repository "$1")"):$tag
    step "pushing $target"
    skopeo copy --quiet --insecure-policy "${flags[@]}" "oci-archive:$2:$(image_repository "$1"):dev" "docker://$target" ||
      die "skopeo could not push $target" "Log in first: skopeo login ${3%%/*}"
  done
}
