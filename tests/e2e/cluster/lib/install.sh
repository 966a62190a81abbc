# Workstead on a cluster, with a Git server and the examples: what `up` does beyond Kubernetes itself.
# KUBECTL, HELM, KUBECONFIG and, for a cluster of ours, CLUSTER and STATE are set.
# shellcheck shell=bash

ROOT=$(cd "$CLUSTER_DIR/../../.." && pwd)
INSTALLATION=workstead-system
GIT_NAMESPACE=workstead-git
EXAMPLES_NAMESPACE=team-a
APPLY=(apply --server-side --force-conflicts --field-manager workstead-up)

kube() { "$KUBECTL" --kubeconfig "$KUBECONFIG" "$@"; }

# quiet CMD...: its words only if it fails.
quiet() {
  local said rc=0
  said=$("$@" 2>&1) || rc=$?
  [ "$rc" -eq 0 ] || printf '%s\n' "$said" >&2
  return "$rc"
}

# image_of NAME: the image in the words of the cluster: in REGISTRY, or loaded into our node.
image_of() { echo "${REGISTRY:-localhost}/${IMAGE_NAMES[$1]#localhost/}"; }

# install_images NAME...: builds them and brings them where the cluster finds them.
install_images() {
  local name digest archive
  local -a push=() archives=() built=()
  [ "${REGISTRY:-localhost}" = localhost ] || push=(--push "$REGISTRY")
  mapfile -t built < <("$CLUSTER_DIR/cluster" images --profile "$PROFILE" "${push[@]}" "$@")
  [ ${#built[@]} -eq $# ] || die "not all images could be built" "Images: $*"
  declare -gA IMAGE_NAMES=()
  for name in "$@"; do
    read -r digest archive <<<"${built[0]}"
    built=("${built[@]:1}")
    IMAGE_NAMES[$name]=$digest
    archives+=("$archive")
  done
  [ -n "$FOREIGN" ] || "$CLUSTER_DIR/cluster" load "$CLUSTER" "${archives[@]}"
}

# install_workstead: by the chart, as anybody would.
install_workstead() {
  local image
  image=$(image_of workstead)
  step "installing Workstead"
  quiet "$HELM" --kubeconfig "$KUBECONFIG" upgrade --install workstead "$ROOT/charts/workstead" \
    --namespace "$INSTALLATION" --create-namespace \
    --set "image.repository=${image%:*}" --set-string "image.tag=${image##*:}" ||
    die "Helm could not install Workstead"
}

# wait_for_rollout NAMESPACE DEPLOYMENT
wait_for_rollout() {
  quiet kube -n "$1" rollout status "deployment/$2" --timeout=180s && return 0
  kube -n "$1" get pods,events >&2 || true
  kube get nodes -o custom-columns='NODE:.metadata.name,TAINTS:.spec.taints[*].key' >&2 || true
  kube -n "$1" logs "deployment/$2" --tail=15 >&2 || true
  die "$2 did not become ready within 3 minutes" "The lines above are its pods, events and log."
}

# install_git_server: its repositories lie on a volume and are seeded only where they are not there yet.
install_git_server() {
  local folder type=ClusterIP port=''
  [ -n "$FOREIGN" ] || { type=NodePort; port=", nodePort: $GIT_GUEST_PORT"; }
  folder=$(mktemp -d)
  cp -a "$ROOT/examples/workspaces/." "$folder/"
  # Elsewhere the images of the examples are where they were pushed to.
  [ "${REGISTRY:-localhost}" = localhost ] ||
    grep -rlZ 'localhost/workstead' "$folder" | xargs -0 -r sed -i "s|localhost/workstead|$REGISTRY/workstead|"
  tar -C "$folder" --sort=name --mtime=@0 --owner=0 --group=0 -cf - . | gzip -n >"$folder.tar.gz"
  rm -rf "$folder"
  {
    kube create namespace "$GIT_NAMESPACE" --dry-run=client -o yaml
    echo ---
    kube -n "$GIT_NAMESPACE" create configmap seed --from-file="examples.tar.gz=$folder.tar.gz" --dry-run=client -o yaml
    echo ---
    sed -e "s|@IMAGE@|$(image_of git-server)|" -e "s|@SERVICE_TYPE@|$type|" -e "s|@NODE_PORT@|$port|" \
      "$CLUSTER_DIR/install/git-server.yaml"
  } | quiet kube "${APPLY[@]}" -f - || die "the Git server could not be installed"
  rm -f "$folder.tar.gz"
}

# share_token: what signs the reports of pushes. The Git server and the GitSync both know it; it comes
# before the server, whose pod would otherwise see it only after a minute.
share_token() {
  local token namespace name
  token=$(kube -n "$EXAMPLES_NAMESPACE" get secret examples-webhook -o jsonpath='{.data.token}' 2>/dev/null | base64 -d || true)
  [ -n "$token" ] || token=$(openssl rand -hex 32)
  quiet kube "${APPLY[@]}" -f "$ROOT/examples/workspaces/platform/namespace.yaml" || die "the examples' namespace could not be made"
  {
    kube create namespace "$GIT_NAMESPACE" --dry-run=client -o yaml
    for name in "$EXAMPLES_NAMESPACE/examples-webhook" "$GIT_NAMESPACE/webhook"; do
      namespace=${name%/*}
      echo ---
      kube -n "$namespace" create secret generic "${name#*/}" --from-file=token=<(printf '%s' "$token") --dry-run=client -o yaml
    done
  } | quiet kube "${APPLY[@]}" -f - || die "the webhook's token could not be stored"
}

# install_examples: what an administrator applies once. The kinds are served a moment after they are made.
install_examples() {
  local platform=$ROOT/examples/workspaces/platform
  wait_until 60 "the kinds of Workstead" kube "${APPLY[@]}" -f "$platform" || {
    kube "${APPLY[@]}" -f "$platform" >&2 || true
    die "the examples could not be applied"
  }
}

# connect_webhook: the path is known once the controller has seen the GitSync and its token.
connect_webhook() {
  local path url
  wait_until 60 "the webhook of the examples" webhook_path || die "GitSync $EXAMPLES_NAMESPACE/examples names no webhook path" \
    "Ask: workstead why gitsync/examples -n $EXAMPLES_NAMESPACE"
  path=$(webhook_path)
  url=http://workstead-webhook.$INSTALLATION.svc:8082$path
  if ! { wait_until 90 "the webhook's token in the Git server" in_git_server test -s /run/webhook/token &&
    in_git_server git -C /srv/git/examples.git config workstead.webhookTokenFile /run/webhook/token &&
    in_git_server git -C /srv/git/examples.git config workstead.webhookUrl "$url"; }; then
    die "the Git server could not be told of the webhook"
  fi
}

in_git_server() { kube -n "$GIT_NAMESPACE" exec deployment/git-server -- "$@"; }

webhook_path() {
  local path
  path=$(kube -n "$EXAMPLES_NAMESPACE" get gitsync examples -o jsonpath='{.status.webhookPath}')
  [ -n "$path" ] && echo "$path"
}

# settled: the examples are synced, and each workspace is in the state that its file or its owner wants.
settled() {
  kube -n "$EXAMPLES_NAMESPACE" wait gitsync/examples --for=condition=Ready --timeout=1s &&
    kube -n "$EXAMPLES_NAMESPACE" get workspaces -o json |
    jq -e '(.items | length > 0) and all(.items[]; .status.observedGeneration == .metadata.generation
      and .status.actualState == .status.desiredState)'
}

wait_for_workspaces() {
  wait_until 240 "the workspaces" settled && return 0
  local name
  "$WORKSTEAD" list -n "$EXAMPLES_NAMESPACE" --kubeconfig "$KUBECONFIG" >&2 || true
  "$WORKSTEAD" why gitsync/examples -n "$EXAMPLES_NAMESPACE" --kubeconfig "$KUBECONFIG" >&2 || true
  for name in $(kube -n "$EXAMPLES_NAMESPACE" get workspaces -o json |
    jq -r '.items[] | select(.status.actualState != .status.desiredState) | .metadata.name'); do
    "$WORKSTEAD" why "$name" -n "$EXAMPLES_NAMESPACE" --kubeconfig "$KUBECONFIG" >&2 || true
  done
  die "not all workspaces of the examples run after 4 minutes" "The lines above say which, and why."
}

# foreign_kubeconfig: the path of a cluster that is not ours, or nothing. A KUBECONFIG that points into
# our own state folder was exported after an earlier `up`.
foreign_kubeconfig() {
  local path=${KUBECONFIG:-}
  [ -n "$path" ] || return 0
  [[ "$(readlink -m "$path")" != "$(readlink -m "$STATE_HOME")"/* ]] || return 0
  echo "$path"
}

# workstead_binary: the command line that was built for the image.
workstead_binary() {
  local target folder=release
  [ "$PROFILE" = release ] || folder=debug
  target=$(cd "$ROOT" && cargo metadata --format-version 1 --no-deps | jq -r .target_directory)
  echo "$target/images-$folder/workstead"
}

# tools_link: one folder to put on the PATH.
tools_link() {
  TOOLS=$CACHE/tools
  mkdir -p "$TOOLS"
  ln -sfn "$WORKSTEAD" "$TOOLS/workstead"
  ln -sfn "$WORKSTEAD" "$TOOLS/kubectl-workstead"
  ln -sfn "$KUBECTL" "$TOOLS/kubectl"
  ln -sfn "$HELM" "$TOOLS/helm"
}

show_off() {
  local down='make down' purge=PURGE=1
  [ -z "$NAMED" ] || down="tests/e2e/cluster/down --cluster $CLUSTER" purge=--purge
  local url="http://127.0.0.1:${GIT_PORT:-8418}/examples.git"
  "$WORKSTEAD" list -n "$EXAMPLES_NAMESPACE"
  cat <<TEXT

First, in your shell:

  export KUBECONFIG=$KUBECONFIG PATH=$TOOLS:\$PATH
TEXT
  [ -z "$FOREIGN" ] || cat <<TEXT
  kubectl -n $GIT_NAMESPACE port-forward service/git-server 8418:80 &
TEXT
  cat <<TEXT

Then three things to try:

1. Edit and push: change a variable of a running workspace. It is not restarted by surprise.
     git clone -c user.name=Me -c user.email=me@example.com $url && cd examples
     sed -i 's/value: Bob/value: Robert/' workspaces/run-state-open.yaml
     git commit -am 'Call me Robert' && git push && sleep 1
     workstead why bob-lab -n $EXAMPLES_NAMESPACE
     workstead restart bob-lab -n $EXAMPLES_NAMESPACE --wait

2. Ask why: the state of a workspace, and where the time of its start went.
     workstead why bob-web -n $EXAMPLES_NAMESPACE

3. Break a file, and see who is hurt: only the one whose file it is.
     sed -i 's/^kind: Workspace/kind: Workspac/' workspaces/minimal.yaml
     git commit -am 'Oops' && git push && sleep 1
     workstead why gitsync/examples -n $EXAMPLES_NAMESPACE
     workstead list -n $EXAMPLES_NAMESPACE
     git revert --no-edit HEAD && git push

$down stops it all and keeps the data; $down $purge deletes it.
TEXT
}

# uninstall [--purge]: from a cluster of the user's. Workspaces go, so that nothing runs; their volumes
# stay, and a Workspace of the same name and owner finds its volume again. --purge takes those as well,
# but not the definitions of the kinds: with them every Workspace in the cluster would go.
uninstall() {
  step "removing the examples, the Git server and Workstead from the cluster of KUBECONFIG"
  quiet kube -n "$EXAMPLES_NAMESPACE" delete gitsync examples --ignore-not-found --timeout=60s || true
  quiet kube -n "$EXAMPLES_NAMESPACE" delete workspaces --all --timeout=120s || true
  quiet kube -n "$EXAMPLES_NAMESPACE" wait pods --all --for=delete --timeout=120s || true
  "$HELM" uninstall workstead --namespace "$INSTALLATION" --ignore-not-found --wait >/dev/null
  kube -n "$GIT_NAMESPACE" delete deployment,service git-server --ignore-not-found >/dev/null
  if [ -n "$1" ]; then
    kube delete namespace "$EXAMPLES_NAMESPACE" "$GIT_NAMESPACE" "$INSTALLATION" --ignore-not-found --timeout=120s >/dev/null
    say "    gone, with the volumes; the definitions of Workstead's kinds stay"
  else
    say "    gone; the volumes of the workspaces and of the Git server stay"
  fi
}
