# Workstead on a cluster, with a Git server and the examples: what `up` does beyond Kubernetes itself.
# KUBECTL, HELM, an exported KUBECONFIG and, for a cluster of ours, CLUSTER and STATE are set.
# shellcheck shell=bash

ROOT=$(cd "$CLUSTER_DIR/../../.." && pwd)
INSTALLATION=workstead-system
GIT_NAMESPACE=workstead-git
EXAMPLES_NAMESPACE=team-a
# Browsers take names below it for this machine.
LOCAL_DOMAIN=workstead.localhost
APPLY=(apply --server-side --force-conflicts --field-manager workstead-up)
# On all that `up` makes, and on nothing else: `down` takes away what has it.
MARK=workstead.dev/made-by=make-up

# By the environment, where KUBECONFIG may be a list of files.
kube() { "$KUBECTL" "$@"; }

# marked: the objects of standard input, with our mark.
marked() { kube label --local --overwrite -f - "$MARK" -o json; }

# make_namespace NAME: marked if it is made here; one that is there stays as it is.
make_namespace() {
  kube get namespace "$1" >/dev/null 2>&1 && return 0
  kube create namespace "$1" --dry-run=client -o json | marked | quiet kube create -f - || die "namespace $1 could not be made"
}

# quiet CMD...: its words only if it fails.
quiet() {
  local said rc=0
  said=$("$@" 2>&1) || rc=$?
  [ "$rc" -eq 0 ] || printf '%s\n' "$said" >&2
  return "$rc"
}

# image_of NAME: the image in the words of the cluster: in REGISTRY, or loaded into our node.
image_of() { echo "${REGISTRY:-localhost}/${IMAGE_NAMES[$1]#localhost/}"; }

# pinned_image_of NAME: the same by its digest, which is one everywhere.
pinned_image_of() { echo "${REGISTRY:-localhost}/${IMAGES_PINNED[$1]#localhost/}"; }

# install_images NAME...: builds them and brings them where the cluster finds them.
install_images() {
  local name digest archive
  local -a push=() archives=() built=()
  [ "${REGISTRY:-localhost}" = localhost ] || push=(--push "$REGISTRY")
  mapfile -t built < <("$CLUSTER_DIR/cluster" images --profile "$PROFILE" "${push[@]}" "$@")
  [ ${#built[@]} -eq $# ] || die "not all images could be built" "Images: $*"
  declare -gA IMAGE_NAMES=() IMAGES_PINNED=()
  for name in "$@"; do
    read -r digest archive <<<"${built[0]}"
    built=("${built[@]:1}")
    IMAGE_NAMES[$name]=$digest
    IMAGES_PINNED[$name]=$(oci_pinned "$archive")
    archives+=("$archive")
  done
  [ -n "$FOREIGN" ] || "$CLUSTER_DIR/cluster" load "$CLUSTER" "${archives[@]}"
}

# proxy_settings: sets PROXY, what the chart is told of the proxy. On a node of ours it answers on the loopback of this machine;
# elsewhere kubectl port-forward brings it here. Streams of who works there end soon when it is replaced.
proxy_settings() {
  PROXY=(--set proxy.enabled=true --set "proxy.replicas=${PROXY_REPLICAS:-1}" --set proxy.drain.lagSeconds=1 --set proxy.drain.limitSeconds=10)
  if [ -n "${OIDC:-}" ]; then
    oidc_settings
    return 0
  fi
  PROXY+=(--set "proxy.local.domain=$LOCAL_DOMAIN" --set "proxy.local.port=${PROXY_PLAIN_PORT:-8000}")
  [ -n "$FOREIGN" ] || PROXY+=(--set proxy.local.service.type=NodePort --set "proxy.local.service.nodePort=$PROXY_PLAIN_GUEST_PORT")
}

# install_workstead: by the chart, as anybody would.
install_workstead() {
  local image
  local -a PROXY
  image=$(image_of workstead)
  proxy_settings
  step "installing Workstead"
  make_namespace "$INSTALLATION"
  quiet "$HELM" upgrade --install workstead "$ROOT/charts/workstead" --namespace "$INSTALLATION" --labels "$MARK" \
    --set "image.repository=${image%:*}" --set-string "image.tag=${image##*:}" \
    --set-string "toolsImage=$(image_of tools)" "${PROXY[@]}" ||
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

# install_git_server: its repositories lie on a volume and are seeded only where they are not there yet. Sets KEPT where
# there is such a volume already.
install_git_server() {
  local folder type=ClusterIP port='' seed project
  [ -n "$FOREIGN" ] || { type=NodePort; port=", nodePort: $GIT_GUEST_PORT"; }
  folder=$(mktemp -d)
  mkdir "$folder/examples" "$folder/seed"
  cp -a "$ROOT/examples/workspaces/." "$folder/examples/"
  find "$folder/examples" -name '*.yaml' | while read -r project; do
    filled "$project" >"$folder/filled"
    cat "$folder/filled" >"$project"
  done
  for project in "$folder/examples" "$ROOT"/examples/projects/*/; do
    # Rights are those of this checkout; whether a file is a program is all that Git keeps.
    tar -C "$project" --sort=name --mtime=@0 --owner=0 --group=0 --mode=u=rwX,go=rX -cf - . | gzip -n >"$folder/seed/$(basename "$project").tar.gz"
  done
  # A repository that is new is made when the server begins.
  seed=$(cat "$folder"/seed/* | sha256sum | cut -c1-12)
  make_namespace "$GIT_NAMESPACE"
  KEPT=$(kube -n "$GIT_NAMESPACE" get persistentvolumeclaim repositories --ignore-not-found -o name)
  {
    kube -n "$GIT_NAMESPACE" create configmap seed --from-file="$folder/seed" --dry-run=client -o yaml
    echo ---
    sed -e "s|@IMAGE@|$(image_of git-server)|" -e "s|@SERVICE_TYPE@|$type|" -e "s|@NODE_PORT@|$port|" -e "s|@SEED@|$seed|" \
      "$CLUSTER_DIR/install/git-server.yaml"
  } | marked | quiet kube "${APPLY[@]}" -f - || die "the Git server could not be installed"
  rm -rf "$folder"
}

# filled FILE: an example, with the images where this cluster finds them and the editors by the digests that they have.
filled() {
  local name
  local -a changes=()
  for name in "${!IMAGES_PINNED[@]}"; do
    changes+=(-e "s|localhost/workstead-$name@sha256:[0-9a-f]*|$(pinned_image_of "$name")|")
  done
  sed "${changes[@]}" -e "s|localhost/workstead|${REGISTRY:-localhost}/workstead|" "$1"
}

# share_token: what signs the reports of pushes. The Git server and the GitSync both know it; it comes
# before the server, whose pod would otherwise see it only after a minute.
share_token() {
  local token namespace name
  token=$(kube -n "$EXAMPLES_NAMESPACE" get secret examples-webhook -o jsonpath='{.data.token}' 2>/dev/null | base64 -d || true)
  [ -n "$token" ] || token=$(openssl rand -hex 32)
  make_namespace "$EXAMPLES_NAMESPACE"
  make_namespace "$GIT_NAMESPACE"
  {
    for name in "$EXAMPLES_NAMESPACE/examples-webhook" "$GIT_NAMESPACE/webhook"; do
      namespace=${name%/*}
      echo ---
      kube -n "$namespace" create secret generic "${name#*/}" --from-file=token=<(printf '%s' "$token") --dry-run=client -o yaml
    done
  } | marked | quiet kube "${APPLY[@]}" -f - || die "the webhook's token could not be stored"
}

# install_examples: what an administrator applies once. The kinds are served a moment after they are made.
install_examples() {
  wait_until 60 "the kinds of Workstead" apply_platform || {
    apply_platform >&2 || true
    die "the examples could not be applied"
  }
}

# apply_platform: all of examples/workspaces/platform but the namespace, which is there.
apply_platform() {
  local file
  for file in "$ROOT"/examples/workspaces/platform/*.yaml; do
    grep -q '^kind: Namespace$' "$file" && continue
    filled "$file" | marked | kube "${APPLY[@]}" -f - || return 1
  done
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

# settled STATUS: the GitSync is Ready, or says that it is not, and each workspace is in the state that its file or its
# owner wants, with its projects, its commands run and its editor open.
settled() {
  kube -n "$EXAMPLES_NAMESPACE" wait gitsync/examples --for="condition=Ready=$1" --timeout=1s &&
    kube -n "$EXAMPLES_NAMESPACE" get workspaces -o json |
    jq -e '(.items | length > 0) and all(.items[]; .status.observedGeneration == .metadata.generation
      and .status.actualState == .status.desiredState and any(.status.conditions[]; .type == "Ready" and .status == "True"))'
}

# settled_as_pushed: with what was pushed before, a broken file among it.
settled_as_pushed() { settled True || settled False; }

# wait_for_workspaces: those of a new repository have to run. What was pushed to one that was there before, a broken file
# among it, is its author's affair: it is shown.
wait_for_workspaces() {
  local name
  if [ -z "$KEPT" ]; then
    wait_until 240 "the workspaces" settled True && return 0
  elif wait_until 60 "the workspaces" settled_as_pushed && settled True >/dev/null 2>&1; then
    return 0
  fi
  "$WORKSTEAD" list -n "$EXAMPLES_NAMESPACE" >&2 || true
  "$WORKSTEAD" why gitsync/examples -n "$EXAMPLES_NAMESPACE" >&2 || true
  for name in $(kube -n "$EXAMPLES_NAMESPACE" get workspaces -o json |
    jq -r '.items[] | select(any(.status.conditions[]?; .type == "Ready" and .status == "True") | not) | .metadata.name'); do
    "$WORKSTEAD" why "$name" -n "$EXAMPLES_NAMESPACE" >&2 || true
  done
  [ -n "$KEPT" ] || die "not all workspaces of the examples run after 4 minutes" "The lines above say which, and why."
  warn "not all of the repository is applied and runs; the lines above say what, and why. The repository is kept from before"
}

# wait_for_editor: sets EDITOR_OPEN where VS Code answers. A status may be from before the node was stopped; an answer is not.
# In a repository that is kept from before there may be no such workspace, or it was stopped for want of use: a visit wakes it.
wait_for_editor() {
  local course
  EDITOR_OPEN=''
  course=$(kube -n "$EXAMPLES_NAMESPACE" get workspace alice-code --ignore-not-found -o jsonpath='{.status.actualState} to {.status.desiredState}')
  if [ "$course" = 'Stopped to Stopped' ]; then
    EDITOR_OPEN=yes
    return 0
  fi
  [[ "$course" == *' to Running' ]] || return 0
  if wait_until 90 "VS Code" editor_answers; then
    EDITOR_OPEN=yes
  else
    warn "VS Code does not answer. Ask: workstead why alice-code -n $EXAMPLES_NAMESPACE"
  fi
}

editor_answers() {
  kube -n "$EXAMPLES_NAMESPACE" exec deployment/alice-code -- curl --silent --fail --output /dev/null --max-time 2 http://127.0.0.1:60001/healthz
}

# workstead_binary: the command line that was built for the image.
workstead_binary() {
  local target folder=release
  [ "$PROFILE" = release ] || folder=debug
  target=$(cd "$ROOT" && cargo metadata --format-version 1 --no-deps | jq -r .target_directory)
  echo "$target/images-$folder/workstead"
}

# tools_copy: one folder to put on the PATH. Cargo's folders come and go, so it has a copy.
tools_copy() {
  TOOLS=$STATE/tools
  [ -z "$FOREIGN" ] || TOOLS=$CACHE/tools
  mkdir -p "$TOOLS"
  install -m 0755 "$WORKSTEAD" "$TOOLS/workstead.part"
  mv -f "$TOOLS/workstead.part" "$TOOLS/workstead"
  ln -sfn workstead "$TOOLS/kubectl-workstead"
  ln -sfn "$HELM" "$TOOLS/helm"
  # One of the user's own is on the PATH already.
  [[ "$KUBECTL" != "$CACHE/bin/"* ]] || ln -sfn "$KUBECTL" "$TOOLS/kubectl"
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

Then four things to try:

1. Edit and push: change a variable of a running workspace. It is not restarted by surprise.
     cd "\$(mktemp -d)" && git clone -c user.name=Me -c user.email=me@example.com $url && cd examples
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

4. Seal a secret into the repository. What you type is not shown; the controller alone opens it, and the workspace has it
   from its next start on.
     workstead seal --ask TOKEN -n $EXAMPLES_NAMESPACE --name bob-token -o workspaces/bob-token.yaml
     sed -i '/className/a\  variables: [{name: bob-token}]' workspaces/run-state-open.yaml
     git add workspaces && git commit -m 'A token for Bob' && git push && sleep 1
     workstead restart bob-lab -n $EXAMPLES_NAMESPACE --wait
     workstead vars list bob-lab -n $EXAMPLES_NAMESPACE

$down stops it all and keeps the data; $down $purge deletes it.
TEXT
  [ -z "$EDITOR_OPEN" ] || if [ -n "$OIDC" ]; then show_sign_in; else show_links; fi
}

# show_links: the last line is the way into VS Code.
show_links() {
  local terminal editor
  terminal=$(login_link bob-scripts) editor=$(login_link alice-code) || die "no login link could be made"
  [ -z "$FOREIGN" ] || cat <<TEXT

The proxy answers on this machine while this runs:

  kubectl -n $INSTALLATION port-forward service/workstead-proxy-local 8000:8000 &
TEXT
  cat <<TEXT

Each of these links signs in once, for ten minutes; workstead open NAME -n $EXAMPLES_NAMESPACE makes another one.
TEXT
  show_places "$terminal" "$editor"
}

# show_places TERMINAL EDITOR: their addresses.
show_places() {
  cat <<TEXT

Bob's terminal. Unused for five minutes it is stopped; visit it again, and it wakes:
  $1

Alice's VS Code, on a project that was cloned from the Git server:
  $2
TEXT
}

# login_link NAME
login_link() { "$WORKSTEAD" open "$1" -n "$EXAMPLES_NAMESPACE" --installation-namespace "$INSTALLATION" --print; }
