# Keys, certificates and kubeconfigs of a cluster. Three authorities, as a real cluster has them: one
# signed for etcd's clients must not open the API server, and neither may the front proxy's.
# shellcheck shell=bash

tls_key() { openssl ecparam -name prime256v1 -genkey -noout -out "$1"; }

# tls_authority NAME: made once, kept with the cluster's data.
tls_authority() {
  local pki=$STATE/pki
  [ -s "$pki/$1.crt" ] && return 0
  tls_key "$pki/$1.key"
  openssl req -x509 -new -key "$pki/$1.key" -sha256 -days 3650 -subj "/CN=$CLUSTER-$1" \
    -addext 'keyUsage=critical,keyCertSign,cRLSign,digitalSignature' -out "$pki/$1.part" 2>/dev/null
  mv "$pki/$1.part" "$pki/$1.crt"
}

# tls_leaf AUTHORITY NAME SUBJECT [SANS]: a year long, made anew at each start. With names it serves, and
# etcd and the kubelet also dial out with theirs; without it is a client only.
tls_leaf() {
  local pki=$STATE/pki authority=$1 name=$2 subject=$3 sans=${4:-} usage=clientAuth
  [ -z "$sans" ] || usage=serverAuth,clientAuth
  tls_key "$pki/$name.key"
  openssl req -new -key "$pki/$name.key" -subj "$subject" 2>/dev/null |
    openssl x509 -req -sha256 -days 365 -CA "$pki/$authority.crt" -CAkey "$pki/$authority.key" \
      -set_serial "0x$(openssl rand -hex 16)" -out "$pki/$name.crt" -extfile <(
        printf 'basicConstraints=critical,CA:FALSE\nkeyUsage=critical,digitalSignature\nextendedKeyUsage=%s\n' "$usage"
        [ -z "$sans" ] || printf 'subjectAltName=%s\n' "$sans"
      ) 2>/dev/null
}

# tls_kubeconfig FILE NAME PORT: a kubeconfig with the client certificate NAME inside.
tls_kubeconfig() {
  local file=$1 name=$2 port=$3 pki=$STATE/pki
  cat >"$file.part" <<YAML
apiVersion: v1
kind: Config
clusters:
  - name: $CLUSTER
    cluster:
      server: https://127.0.0.1:$port
      certificate-authority-data: $(base64 -w0 "$pki/ca.crt")
users:
  - name: $name
    user:
      client-certificate-data: $(base64 -w0 "$pki/$name.crt")
      client-key-data: $(base64 -w0 "$pki/$name.key")
contexts:
  - name: $CLUSTER
    context: {cluster: $CLUSTER, user: $name}
current-context: $CLUSTER
YAML
  chmod 600 "$file.part"
  mv "$file.part" "$file"
}

tls_all() {
  local umask_before
  umask_before=$(umask)
  umask 077
  mkdir -p "$STATE/pki" "$STATE/kubeconfigs"
  tls_authority ca
  tls_authority etcd-ca
  tls_authority front-proxy-ca
  [ -s "$STATE/pki/service-account.key" ] || tls_key "$STATE/pki/service-account.key"
  openssl ec -in "$STATE/pki/service-account.key" -pubout -out "$STATE/pki/service-account.pub" 2>/dev/null

  local local_names=DNS:localhost,IP:127.0.0.1,IP:::1
  tls_leaf etcd-ca etcd /CN=etcd "$local_names"
  tls_leaf etcd-ca etcd-client /CN=kube-apiserver
  tls_leaf front-proxy-ca front-proxy-client /CN=front-proxy-client
  tls_leaf ca apiserver /CN=kube-apiserver "$local_names,$(
    printf 'DNS:%s,' kubernetes kubernetes.default kubernetes.default.svc "kubernetes.default.svc.$CLUSTER_DOMAIN"
    printf 'IP:%s,IP:%s,' "$NODE_IP4" "$NODE_IP6"
  )IP:$API_SERVICE_IP4,IP:$API_SERVICE_IP6"
  tls_leaf ca kubelet-serving "/O=system:nodes/CN=system:node:$CLUSTER" "DNS:$CLUSTER,IP:$NODE_IP4,IP:$NODE_IP6"
  tls_leaf ca apiserver-kubelet-client /CN=kube-apiserver-kubelet-client
  tls_leaf ca kubelet "/O=system:nodes/CN=system:node:$CLUSTER"
  tls_leaf ca kube-controller-manager /CN=system:kube-controller-manager
  tls_leaf ca kube-scheduler /CN=system:kube-scheduler
  tls_leaf ca kube-proxy /CN=system:kube-proxy
  tls_leaf ca admin /O=system:masters/CN=workstead-admin
  local name
  for name in kubelet kube-controller-manager kube-scheduler kube-proxy; do
    tls_kubeconfig "$STATE/kubeconfigs/$name" "$name" "$API_GUEST_PORT"
  done
  tls_kubeconfig "$STATE/kubeconfigs/admin" admin "$API_GUEST_PORT"
  tls_kubeconfig "$STATE/kubeconfig" admin "$API_PORT"
  umask "$umask_before"
}
