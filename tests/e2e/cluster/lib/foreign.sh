# A cluster of the user's: which one it is, what of it is ours, and how that goes again.
# Only what bears MARK is ever changed or deleted there.
# shellcheck shell=bash disable=SC2034 # the other parts use KUBECTL

# find_foreign: sets FOREIGN to KUBECONFIG, or to nothing where that is unset. A KUBECONFIG that points into our own
# state folder was exported after an earlier `up`, and counts as unset.
find_foreign() {
  local path ours='' others=''
  local -a paths
  FOREIGN=''
  IFS=: read -ra paths <<<"${KUBECONFIG:-}"
  for path in "${paths[@]}"; do
    [ -n "$path" ] || continue
    if [[ "$(readlink -m "$path")" == "$(readlink -m "$STATE_HOME")"/* ]]; then ours=$path; else others=$path; fi
  done
  [ -z "$ours" ] || [ -z "$others" ] || die "KUBECONFIG names both a cluster of our own and another one" \
    "Ours: $ours, not ours: $others. Which of them is meant depends on the current context: leave one of them out."
  [ -z "$others" ] || FOREIGN=$KUBECONFIG
}

# use_foreign: its tools, and whether it answers.
use_foreign() {
  KUBECONFIG=$FOREIGN
  export KUBECONFIG
  # The user's kubectl knows how to sign in there, and is there already.
  KUBECTL=$(command -v kubectl || echo "$("$CLUSTER_DIR/cluster" path kubectl)/kubectl")
  HELM=$("$CLUSTER_DIR/cluster" path helm)/helm
  step "using the cluster of KUBECONFIG: $(kube config view --minify -o jsonpath='{.clusters[0].cluster.server}') ($KUBECONFIG)"
  quiet kube get --raw /version --request-timeout=10s || die "the cluster of KUBECONFIG does not answer" \
    "Unset KUBECONFIG for a cluster of its own."
}

# is_ours NAMESPACE KIND/NAME: it is there and bears our mark. With --there: it is there at all.
is_ours() {
  local selector=$MARK
  [ "$1" != --there ] || { selector=''; shift; }
  # A kind that is not served has no objects.
  [ -n "$(kube -n "$1" get "${2%%/*}" --field-selector "metadata.name=${2#*/}" -l "$selector" -o name 2>/dev/null)" ]
}

# release_is [ours]: Workstead is installed by Helm, and by us.
release_is() {
  [ -n "$("$HELM" list --all --short --namespace "$INSTALLATION" --filter '^workstead$' ${1:+--selector "$MARK"})" ]
}

# What `up` makes there beside namespaces and the release.
foreign_objects() {
  printf '%s\n' "$GIT_NAMESPACE "{deployment/git-server,service/git-server,persistentvolumeclaim/repositories,configmap/seed}
  [ -z "${1:-}" ] || printf '%s\n' "$GIT_NAMESPACE secret/webhook" "$EXAMPLES_NAMESPACE "{gitsync/examples,secret/examples-webhook} \
    "default workspaceclass/team"
}

# refuse_to_take_over [examples]: nothing that somebody else made is changed. It would be gone with `down` besides.
refuse_to_take_over() {
  local namespace object
  local -a theirs=()
  ! release_is || release_is ours || theirs+=("release $INSTALLATION/workstead")
  while read -r namespace object; do
    ! is_ours --there "$namespace" "$object" || is_ours "$namespace" "$object" || theirs+=("$namespace: $object")
  done < <(foreign_objects "$@")
  [ ${#theirs[@]} -eq 0 ] || die "the cluster of KUBECONFIG has objects of these names already, and 'make up' did not make them" \
    "${theirs[@]}" "They are left alone. Choose another cluster, or unset KUBECONFIG for a cluster of its own."
}

# refuse_without_mark: on a cluster that KUBECONFIG happens to name nothing is deleted.
refuse_without_mark() {
  local namespace object
  release_is ours && return 0
  [ -z "$(kube get namespaces -l "$MARK" -o name)" ] || return 0
  while read -r namespace object; do
    is_ours "$namespace" "$object" && return 0
  done < <(foreign_objects examples)
  die "the cluster of KUBECONFIG has nothing that 'make up' made, so there is nothing to stop; nothing was deleted" \
    "KUBECONFIG: $KUBECONFIG" "To stop the cluster of this machine, unset KUBECONFIG."
}

# uninstall [--purge]: Workspaces go, so that nothing runs; their volumes stay, and a Workspace of the same name and
# owner finds its volume again. --purge takes those as well, but not the definitions of the kinds: with them every
# Workspace in the cluster would go.
uninstall() {
  step "removing the examples, the Git server and Workstead"
  # Deleted last: it stands for the examples, also after a `down` that was stopped half-way.
  if is_ours "$EXAMPLES_NAMESPACE" secret/examples-webhook; then uninstall_examples; fi
  quiet kube -n "$GIT_NAMESPACE" delete deployment,service -l "$MARK" --timeout=60s || true
  ! release_is ours || quiet "$HELM" uninstall workstead --namespace "$INSTALLATION" --wait
  if [ -z "$1" ]; then
    say "    gone; the volumes of the workspaces and of the Git server stay"
    return 0
  fi
  quiet kube -n "$EXAMPLES_NAMESPACE" delete persistentvolumeclaims -l "$MARK" --timeout=60s || true
  quiet kube -n "$GIT_NAMESPACE" delete persistentvolumeclaims,configmaps,secrets -l "$MARK" --timeout=60s || true
  purge_namespaces
  say "    gone, with the volumes; the definitions of Workstead's kinds stay"
}

# uninstall_examples: the GitSync first, or it would make its Workspaces again.
uninstall_examples() {
  local from="gitsync.workstead.dev/name=examples,gitsync.workstead.dev/namespace=$EXAMPLES_NAMESPACE" names
  quiet kube -n "$EXAMPLES_NAMESPACE" delete gitsyncs -l "$MARK" --timeout=60s || true
  if ! is_ours --there "$EXAMPLES_NAMESPACE" gitsync/examples; then
    # Their volumes outlive them; a later --purge finds them by the mark.
    names=$(kube -n "$EXAMPLES_NAMESPACE" get workspaces -l "$from" -o json 2>/dev/null | jq -r '[.items[].metadata.name] | join(",")')
    if [ -n "$names" ]; then
      quiet kube -n "$EXAMPLES_NAMESPACE" label persistentvolumeclaims -l "workstead.dev/workspace in ($names)" --overwrite "$MARK"
      # The controller sees them off; without it they would stay for ever.
      quiet kube -n "$EXAMPLES_NAMESPACE" delete workspaces -l "$from" --timeout=120s ||
        die "the workspaces of the examples did not go, so Workstead stays for them" \
          "Ask: kubectl -n $EXAMPLES_NAMESPACE get workspaces; and repeat this command."
      quiet kube -n "$EXAMPLES_NAMESPACE" wait pods -l "workstead.dev/workspace in ($names)" --for=delete --timeout=120s || true
    fi
  fi
  quiet kube delete workspaceclasses -l "$MARK" --timeout=60s || true
  quiet kube -n "$EXAMPLES_NAMESPACE" delete secrets -l "$MARK" --timeout=60s || true
}

# purge_namespaces: those that `up` made, unless somebody has put work of their own there since.
purge_namespaces() {
  local name
  local -a left
  for name in "$EXAMPLES_NAMESPACE" "$GIT_NAMESPACE" "$INSTALLATION"; do
    is_ours default "namespace/$name" || continue
    mapfile -t left < <(work_in "$name")
    if [ ${#left[@]} -gt 0 ]; then
      warn "namespace $name stays, since 'make up' did not make what is in it: ${left[*]}"
      continue
    fi
    quiet kube delete namespace "$name" --timeout=120s
  done
}

# work_in NAMESPACE: what somebody would miss. A kind at a time: one that is not served fails all that are asked with it.
work_in() {
  local kind
  for kind in workspaces gitsyncs persistentvolumeclaims; do
    kube -n "$1" get "$kind" -o name 2>/dev/null || true
  done
  # Those of Workstead go with what they belong to, a moment later.
  for kind in deployments statefulsets daemonsets jobs cronjobs pods services configmaps; do
    kube -n "$1" get "$kind" -l 'app.kubernetes.io/managed-by!=workstead' -o name 2>/dev/null | grep -v '\.crt$' || true
  done
  # The controller makes these two, and an installation that goes with all that it has takes them along.
  kube -n "$1" get secrets --field-selector type=Opaque -o name 2>/dev/null |
    grep -vx 'secret/workstead-\(proxy-keys\|identities\)' || true
}
