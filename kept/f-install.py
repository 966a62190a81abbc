p='tests/e2e/cluster/lib/install.sh'
s=open(p).read()
s=s.replace('''# install_workstead: by the chart, as anybody would.
install_workstead() {
  local image
  image=$(image_of workstead)
''','''# proxy_settings: sets PROXY, what the chart is told of the proxy. On a node of ours it answers on the loopback of this machine;
# elsewhere kubectl port-forward brings it here. Streams of who works there end soon when it is replaced.
proxy_settings() {
  PROXY=(--set proxy.enabled=true --set "proxy.replicas=${PROXY_REPLICAS:-1}" --set proxy.drain.lagSeconds=1 --set proxy.drain.limitSeconds=10)
  PROXY+=(--set "proxy.local.domain=$LOCAL_DOMAIN" --set "proxy.local.port=${PROXY_PLAIN_PORT:-8000}")
  [ -n "$FOREIGN" ] || PROXY+=(--set proxy.local.service.type=NodePort --set "proxy.local.service.nodePort=$PROXY_PLAIN_GUEST_PORT")
}

# install_workstead: by the chart, as anybody would.
install_workstead() {
  local image
  local -a PROXY
  image=$(image_of workstead)
  proxy_settings
''')
s=s.replace('''    --set-string "toolsImage=$(image_of tools)" ||''','''    --set-string "toolsImage=$(image_of tools)" "${PROXY[@]}" ||''')
s=s.replace('''EXAMPLES_NAMESPACE=team-a
''','''EXAMPLES_NAMESPACE=team-a
# Browsers take names below it for this machine.
LOCAL_DOMAIN=workstead.localhost
''',1)
a=s.index('  [ -z "$EDITOR_OPEN" ] || cat <<TEXT'); 
s=s[:a]+'''  [ -z "$EDITOR_OPEN" ] || show_links
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

Bob's terminal. Unused for five minutes it is stopped; visit it again, and it wakes:
  $terminal

Alice's VS Code, on a project that was cloned from the Git server:
  $editor
TEXT
}

# login_link NAME
login_link() { "$WORKSTEAD" open "$1" -n "$EXAMPLES_NAMESPACE" --installation-namespace "$INSTALLATION" --print; }
'''
open(p,'w').write(s)
p='tests/e2e/cluster/up'
s=open(p).read()
s=s.replace('''wait_for_rollout "$INSTALLATION" workstead-controller
''','''wait_for_rollout "$INSTALLATION" workstead-controller
wait_for_rollout "$INSTALLATION" workstead-proxy
''')
open(p,'w').write(s)
p='examples/workspaces/workspaces/terminal-only.yaml'
print(open(p).read())
