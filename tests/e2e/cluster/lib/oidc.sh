# `make up OIDC=1`: TLS by an authority of this machine, and an identity provider of its own. What lib/install.sh needs is set;
# STATE and its ports are those of a cluster of ours.
# shellcheck shell=bash

PROVIDER_NAMESPACE=workstead-id
# Below which workspaces open. Tests take one that browsers know as a public suffix.
OIDC_DOMAIN=${OIDC_DOMAIN:-$LOCAL_DOMAIN}
AUTH_HOST=auth.$LOCAL_DOMAIN
PROVIDER_HOST=id.$LOCAL_DOMAIN

# refuse_oidc_elsewhere: the password of that provider is on the screen of whoever ran `up`.
refuse_oidc_elsewhere() {
  die "OIDC=1 is for the cluster of this machine: its identity provider is one to try things out with" \
    "On your own cluster, say who your provider is: docs/tasks/proxy.md." "Unset KUBECONFIG for a cluster of its own."
}

# authority_make: made once and kept with the cluster's data, since people tell their browsers to trust it. It can't vouch
# for any other names than ours.
authority_make() {
  local permitted=DNS:$LOCAL_DOMAIN
  AUTHORITY=$STATE/authority/$OIDC_DOMAIN
  [ -s "$AUTHORITY/ca.crt" ] && return 0
  [ "$OIDC_DOMAIN" = "$LOCAL_DOMAIN" ] || permitted+=,permitted\;DNS:$OIDC_DOMAIN
  (
    umask 077
    mkdir -p "$AUTHORITY"
    tls_key "$AUTHORITY/ca.key"
    openssl req -x509 -new -key "$AUTHORITY/ca.key" -sha256 -days 3650 -subj "/CN=Workstead on this machine ($CLUSTER)" \
      -addext 'basicConstraints=critical,CA:TRUE,pathlen:0' -addext 'keyUsage=critical,keyCertSign,cRLSign' \
      -addext "nameConstraints=critical,permitted;$permitted" -out "$AUTHORITY/ca.part"
  ) || die "openssl could not make an authority in $AUTHORITY"
  mv "$AUTHORITY/ca.part" "$AUTHORITY/ca.crt"
}

# authority_certify NAME HOST...: a certificate for a year, NAME.crt beside NAME.key; made again in its last month.
authority_certify() {
  local file=$AUTHORITY/$1 names
  names=$(printf ',DNS:%s' "${@:2}")
  openssl x509 -checkend 2592000 -noout -in "$file.crt" >/dev/null 2>&1 && return 0
  (
    umask 077
    tls_key "$file.key"
    openssl req -new -key "$file.key" -subj "/CN=$2" |
      openssl x509 -req -sha256 -days 365 -CA "$AUTHORITY/ca.crt" -CAkey "$AUTHORITY/ca.key" \
        -set_serial "0x$(openssl rand -hex 16)" -out "$file.part" -extfile <(
          printf 'basicConstraints=critical,CA:FALSE\nkeyUsage=critical,digitalSignature\nextendedKeyUsage=serverAuth\nsubjectAltName=%s\n' "${names#,}"
        ) 2>/dev/null
  ) || die "openssl could not make a certificate in $AUTHORITY"
  mv "$file.part" "$file.crt"
}

# oidc_begin: what has to be there before Workstead: certificates, secrets, and the provider's address in the cluster.
oidc_begin() {
  local settings
  step "making certificates and an identity provider"
  authority_make
  authority_certify proxy "*.$OIDC_DOMAIN" "$AUTH_HOST"
  authority_certify provider "$PROVIDER_HOST"
  # shellcheck disable=SC2153 # of the cluster's ports
  ISSUER=https://$PROVIDER_HOST:$PROVIDER_PORT
  make_namespace "$INSTALLATION"
  make_namespace "$PROVIDER_NAMESPACE"
  # Whoever is signed in stays so: secrets are made once.
  settings=$(kube -n "$PROVIDER_NAMESPACE" get secret provider -o jsonpath='{.data.settings\.json}' 2>/dev/null | base64 -d || true)
  CLIENT_SECRET=$(jq -r '.client.client_secret' <<<"${settings:-"{}"}" | grep -v '^null$' || openssl rand -hex 32)
  PROVIDER_PASSWORD=$(jq -r '.password' <<<"${settings:-"{}"}" | grep -v '^null$' || openssl rand -hex 8)
  {
    kube -n "$INSTALLATION" create secret tls workstead-tls --cert "$AUTHORITY/proxy.crt" --key "$AUTHORITY/proxy.key" --dry-run=client -o yaml
    echo ---
    kube -n "$INSTALLATION" create secret generic workstead-oidc --from-file=client-secret=<(printf '%s' "$CLIENT_SECRET") --dry-run=client -o yaml
    echo ---
    kube -n "$INSTALLATION" create configmap workstead-oidc-ca --from-file=ca.crt="$AUTHORITY/ca.crt" --dry-run=client -o yaml
    echo ---
    provider_manifest Service
  } | marked | quiet kube "${APPLY[@]}" -f - || die "the certificates could not be stored in the cluster"
  PROVIDER_ADDRESS=$(kube -n "$PROVIDER_NAMESPACE" get service provider -o jsonpath='{.spec.clusterIP}')
}

# oidc_settings: adds to PROXY what the chart is told.
oidc_settings() {
  PROXY+=(--set "baseDomain=$OIDC_DOMAIN" --set "proxy.authHost=$AUTH_HOST" --set "proxy.publicPort=$PROXY_TLS_PORT")
  PROXY+=(--set 'proxy.tls.certificates={workstead-tls}' --set proxy.service.type=NodePort --set "proxy.service.nodePort=$PROXY_TLS_GUEST_PORT")
  PROXY+=(--set "proxy.oidc.issuer=$ISSUER" --set proxy.oidc.clientId=workstead --set proxy.oidc.clientSecret.name=workstead-oidc)
  PROXY+=(--set proxy.oidc.ca.configMap=workstead-oidc-ca --set 'proxy.oidc.scopes={openid,profile,email,groups}')
  # The proxy asks the provider under the same name and port as browsers do, and no workspace takes that name.
  PROXY+=(--set "proxy.hostAliases[0].ip=$PROVIDER_ADDRESS" --set "proxy.hostAliases[0].hostnames={$PROVIDER_HOST}" --set 'reservedNames={id}')
}

# provider_settings: whom it knows, and of Workstead.
provider_settings() {
  local auth=https://$AUTH_HOST:$PROXY_TLS_PORT
  jq -n --arg issuer "$ISSUER" --arg auth "$auth/.workstead-proxy" --arg secret "$CLIENT_SECRET" --arg password "$PROVIDER_PASSWORD" '
    def person(first): {name: first, email: "\(first | ascii_downcase)@example.com", email_verified: true, groups: ["team-a"]};
    {issuer: $issuer, port: 8443, $password, accounts: {alice: person("Alice"), bob: person("Bob")}, client: {
      client_id: "workstead", client_secret: $secret, id_token_signed_response_alg: "ES256",
      redirect_uris: ["\($auth)/oidc/callback"], post_logout_redirect_uris: ["\($auth)/signed-out"],
      backchannel_logout_uri: "\($auth)/oidc/back-channel-logout", backchannel_logout_session_required: true}}'
}

# provider_manifest KIND: the document of that kind.
provider_manifest() {
  sed -e "s|@IMAGE@|${IMAGE_NAMES[provider]}|" -e "s|@PORT@|$PROVIDER_PORT|" -e "s|@NODE_PORT@|$PROVIDER_GUEST_PORT|" \
    -e "s|@PROXY_ADDRESS@|${PROXY_ADDRESS:-}|" -e "s|@AUTH_HOST@|$AUTH_HOST|" -e "s|@SETTINGS@|${SETTINGS_DIGEST:-}|" \
    "$CLUSTER_DIR/install/provider-${1,,}.yaml"
}

# install_provider: after Workstead, whose address it tells of sign-outs.
install_provider() {
  local settings
  settings=$(provider_settings)
  SETTINGS_DIGEST=$(cat "$AUTHORITY"/{ca,provider}.crt - <<<"$settings" | sha256sum | cut -c1-12)
  PROXY_ADDRESS=$(kube -n "$INSTALLATION" get service workstead-proxy -o jsonpath='{.spec.clusterIP}')
  {
    kube -n "$PROVIDER_NAMESPACE" create secret generic provider --from-file=settings.json=<(printf '%s' "$settings") --from-file=ca.crt="$AUTHORITY/ca.crt" \
      --from-file=tls.crt="$AUTHORITY/provider.crt" --from-file=tls.key="$AUTHORITY/provider.key" --dry-run=client -o yaml
    echo ---
    provider_manifest Deployment
  } | marked | quiet kube "${APPLY[@]}" -f - || die "the identity provider could not be installed"
  wait_for_rollout "$PROVIDER_NAMESPACE" provider
}

# remove_provider: where `up` ran with OIDC=1 before and does not now.
remove_provider() {
  is_ours default "namespace/$PROVIDER_NAMESPACE" || return 0
  quiet kube delete namespace "$PROVIDER_NAMESPACE" --wait=false
  quiet kube -n "$INSTALLATION" delete secret/workstead-tls secret/workstead-oidc configmap/workstead-oidc-ca --ignore-not-found
}

# show_sign_in: the last lines say where, as whom, and how a browser comes to believe it.
show_sign_in() {
  cat <<TEXT

Sign in as alice@example.com or bob@example.com, password $PROVIDER_PASSWORD

Your browser trusts the certificates once it knows the authority that made them. It vouches for names below $OIDC_DOMAIN alone:
  $AUTHORITY/ca.crt
  Chromium: certutil -d sql:\$HOME/.pki/nssdb -A -t C,, -n workstead -i FILE   (Debian's libnss3-tools)
  Firefox:  Settings, Certificates, Authorities, Import
  macOS:    security add-trusted-cert -r trustRoot -k ~/Library/Keychains/login.keychain-db FILE
TEXT
  show_places "https://bob-scripts.$OIDC_DOMAIN:$PROXY_TLS_PORT/" "https://alice-code.$OIDC_DOMAIN:$PROXY_TLS_PORT/"
}
