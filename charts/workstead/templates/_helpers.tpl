{{- define "workstead.labels" -}}
app.kubernetes.io/name: workstead
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{/* What selects the controller's pods. NetworkPolicies of workspaces refer to it too. */}}
{{- define "workstead.controller.selector" -}}
app.kubernetes.io/name: workstead
app.kubernetes.io/component: controller
{{- end }}

{{- define "workstead.image" -}}
{{- if not .Values.image.repository -}}
{{- fail "set image.repository: where the nodes find the Workstead image, for example --set image.repository=registry.example.com/workstead. `make images REGISTRY=registry.example.com` builds the image and pushes it there" -}}
{{- end -}}
{{- if and .Values.image.digest .Values.image.tag -}}
{{- fail (printf "image.digest is set, so image.tag %s would be ignored: set only one of them, and clear the other with --set image.digest= or --set image.tag=" .Values.image.tag) -}}
{{- end -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end -}}
{{- end }}

{{- define "workstead.serviceAccountUser" -}}
system:serviceaccount:{{ .Release.Namespace }}:workstead-controller
{{- end }}

{{/* The default class; "annotations" are more of them. */}}
{{- define "workstead.class" }}
apiVersion: workstead.dev/v1alpha1
kind: WorkspaceClass
metadata:
  name: {{ .root.Values.defaultClass.name }}
  labels: {{- include "workstead.labels" .root | nindent 4 }}
  annotations:
    workstead.dev/is-default-class: "true"
    # Workspaces refer to it: it stays when the release is uninstalled.
    helm.sh/resource-policy: keep
    {{- with .annotations }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
spec: {{- toYaml .root.Values.defaultClass.spec | nindent 2 }}
{{- end }}

{{/* key=value,key=value */}}
{{- define "workstead.labelList" -}}
{{- $labels := list -}}
{{- range $key, $value := . -}}
{{- $labels = append $labels (printf "%s=%s" $key $value) -}}
{{- end -}}
{{- join "," $labels -}}
{{- end }}

{{/* one,two */}}
{{- define "workstead.nameList" -}}
{{- $names := list -}}
{{- range . -}}
{{- $names = append $names .name -}}
{{- end -}}
{{- join "," $names -}}
{{- end }}

{{/* 53,5353. Helm reads numbers as floats. */}}
{{- define "workstead.numberList" -}}
{{- $numbers := list -}}
{{- range . -}}
{{- $numbers = append $numbers (int64 . | toString) -}}
{{- end -}}
{{- join "," $numbers -}}
{{- end }}

{{/* What selects the proxy's pods. NetworkPolicies of workspaces refer to it too. */}}
{{- define "workstead.proxy.selector" -}}
app.kubernetes.io/name: workstead
app.kubernetes.io/component: proxy
{{- end }}

{{/* "yes" where the proxy listens by TLS. What that needs is asked for. */}}
{{- define "workstead.proxy.tls" -}}
{{- $proxy := .Values.proxy -}}
{{- if $proxy.oidc.issuer -}}
{{- if not .Values.baseDomain -}}
{{- fail "set baseDomain: the domain below which workspaces open. *.<baseDomain> leads to the proxy" -}}
{{- end -}}
{{- if not $proxy.tls.certificates -}}
{{- fail (printf "set proxy.tls.certificates: names of Secrets (kubernetes.io/tls) in namespace %s with certificates for *.%s and %s" .Release.Namespace .Values.baseDomain (include "workstead.proxy.authHost" .)) -}}
{{- end -}}
{{- if not $proxy.oidc.clientId -}}
{{- fail (printf "set proxy.oidc.clientId: our name at %s. Its redirect URI is https://%s/.workstead-proxy/oidc/callback" $proxy.oidc.issuer (include "workstead.proxy.authHost" .)) -}}
{{- end -}}
yes
{{- else if not $proxy.local.domain -}}
{{- fail "the proxy would listen nowhere: set proxy.oidc.issuer (with baseDomain and proxy.tls.certificates) for TLS, or proxy.local.domain=workstead.localhost to try it on one machine" -}}
{{- else if or $proxy.tls.certificates $proxy.ingress.enabled $proxy.gateway.enabled -}}
{{- fail "proxy.tls, proxy.ingress and proxy.gateway are for TLS, and without proxy.oidc.issuer nobody could sign in there" -}}
{{- end -}}
{{- end }}

{{- define "workstead.proxy.authHost" -}}
{{ .Values.proxy.authHost | default (printf "auth.%s" .Values.baseDomain) }}
{{- end }}

{{/* The names that lead to the proxy by TLS. */}}
{{- define "workstead.proxy.hosts" -}}
{{- $hosts := list (printf "*.%s" .Values.baseDomain) (include "workstead.proxy.authHost" .) -}}
{{- toJson $hosts -}}
{{- end }}

{{/* What links to workspaces say, for the controller: by TLS where there is that, else on this machine. */}}
{{- define "workstead.links" -}}
{{- $local := and .Values.proxy.enabled .Values.proxy.local.domain (not .Values.proxy.oidc.issuer) -}}
{{- with ternary .Values.proxy.local.domain .Values.baseDomain (not (empty $local)) -}}
- name: WORKSTEAD_BASE_DOMAIN
  value: {{ . | quote }}
{{ end -}}
{{- if $local -}}
- name: WORKSTEAD_BASE_PLAIN_HTTP
  value: "true"
- name: WORKSTEAD_BASE_PORT
  value: {{ .Values.proxy.local.port | int64 | quote }}
{{ else if and .Values.proxy.enabled (ne (int64 .Values.proxy.publicPort) 443) -}}
- name: WORKSTEAD_BASE_PORT
  value: {{ .Values.proxy.publicPort | int64 | quote }}
{{ end -}}
{{- with .Values.reservedNames -}}
- name: WORKSTEAD_RESERVED_NAMES
  value: {{ join "," . | quote }}
{{ end -}}
{{- end }}

{{/* The Secrets that the proxy reads. */}}
{{- define "workstead.proxy.secrets" -}}
{{- toJson (concat (list "workstead-proxy-keys" "workstead-proxy-client") .Values.proxy.tls.certificates | uniq) -}}
{{- end }}

{{/* Longer than the process takes by itself: the lag, the streams, and a moment to end in order. */}}
{{- define "workstead.proxy.grace" -}}
{{ add (int64 .Values.proxy.drain.lagSeconds) (int64 .Values.proxy.drain.limitSeconds) 15 }}
{{- end }}

{{/* The newest version of TLSRoute that the cluster serves. */}}
{{- define "workstead.proxy.tlsRouteVersion" -}}
{{- $version := "gateway.networking.k8s.io/v1alpha2" -}}
{{- range list "gateway.networking.k8s.io/v1alpha3" "gateway.networking.k8s.io/v1" -}}
{{- if $.Capabilities.APIVersions.Has (printf "%s/TLSRoute" .) -}}
{{- $version = . -}}
{{- end -}}
{{- end -}}
{{- $version -}}
{{- end }}

{{/* The configuration of the proxy: `workstead proxy --help` names each variable. */}}
{{- define "workstead.proxy.env" -}}
{{- $proxy := .Values.proxy -}}
{{- if include "workstead.proxy.tls" . -}}
- name: WORKSTEAD_BASE_DOMAIN
  value: {{ .Values.baseDomain | quote }}
- name: WORKSTEAD_AUTH_HOST
  value: {{ include "workstead.proxy.authHost" . | quote }}
- name: WORKSTEAD_TLS_ADDRESS
  value: {{ printf "%s:8443" $proxy.listen | quote }}
- name: WORKSTEAD_PUBLIC_PORT
  value: {{ $proxy.publicPort | int64 | quote }}
- name: WORKSTEAD_CERTIFICATES
  value: {{ join "," $proxy.tls.certificates | quote }}
- name: WORKSTEAD_OIDC_ISSUER
  value: {{ $proxy.oidc.issuer | quote }}
- name: WORKSTEAD_OIDC_CLIENT_ID
  value: {{ $proxy.oidc.clientId | quote }}
{{- if $proxy.oidc.clientSecret.name }}
- name: WORKSTEAD_OIDC_CLIENT_SECRET_FILE
  value: /etc/workstead/oidc-client/secret
{{- end }}
{{- if $proxy.oidc.ca.configMap }}
- name: WORKSTEAD_OIDC_CA_FILE
  value: /etc/workstead/oidc-ca/ca.crt
{{- end }}
- name: WORKSTEAD_OIDC_SCOPES
  value: {{ join "," $proxy.oidc.scopes | quote }}
- name: WORKSTEAD_OIDC_IDENTITY_CLAIM
  value: {{ $proxy.oidc.identityClaim | quote }}
- name: WORKSTEAD_OIDC_GROUPS_CLAIM
  value: {{ $proxy.oidc.groupsClaim | quote }}
- name: WORKSTEAD_OIDC_ASSUME_S256
  value: {{ $proxy.oidc.assumeS256 | quote }}
{{- with $proxy.proxyProtocolFrom }}
- name: WORKSTEAD_PROXY_PROTOCOL_FROM
  value: {{ join "," . | quote }}
{{- end }}
{{ end -}}
{{- if $proxy.local.domain -}}
- name: WORKSTEAD_LOCAL_DOMAIN
  value: {{ $proxy.local.domain | quote }}
- name: WORKSTEAD_LOCAL_ADDRESS
  value: {{ printf "%s:8000" $proxy.listen | quote }}
- name: WORKSTEAD_LOCAL_PORT
  value: {{ $proxy.local.port | int64 | quote }}
{{ end -}}
- name: WORKSTEAD_HEALTH_ADDRESS
  value: {{ printf "%s:8080" $proxy.listen | quote }}
{{- with .Values.reservedNames }}
- name: WORKSTEAD_RESERVED_NAMES
  value: {{ join "," . | quote }}
{{- end }}
{{- with $proxy.trustedForwarders }}
- name: WORKSTEAD_TRUSTED_FORWARDERS
  value: {{ join "," . | quote }}
{{- end }}
{{- with $proxy.deniedAddresses }}
- name: WORKSTEAD_DENIED_ADDRESSES
  value: {{ join "," . | quote }}
{{- end }}
{{- with $proxy.deniedPorts }}
- name: WORKSTEAD_DENIED_PORTS
  value: {{ include "workstead.numberList" . | quote }}
{{- end }}
{{- with $proxy.keepAlivePaths }}
- name: WORKSTEAD_KEEP_ALIVE_PATHS
  value: {{ join "," . | quote }}
{{- end }}
- name: WORKSTEAD_ACCESS_LOG
  value: {{ $proxy.accessLog | quote }}
{{- with $proxy.limits }}
- name: WORKSTEAD_LIMIT_CONNECTIONS
  value: {{ .connections | int64 | quote }}
- name: WORKSTEAD_LIMIT_CONNECTIONS_PER_ADDRESS
  value: {{ .connectionsPerAddress | int64 | quote }}
- name: WORKSTEAD_LIMIT_STREAMS_PER_USER
  value: {{ .streamsPerUser | int64 | quote }}
- name: WORKSTEAD_LIMIT_STREAMS_PER_WORKSPACE
  value: {{ .streamsPerWorkspace | int64 | quote }}
- name: WORKSTEAD_LIMIT_LOGINS_PER_ADDRESS
  value: {{ .loginsPerAddress | int64 | quote }}
- name: WORKSTEAD_LIMIT_LOGINS_PER_USER
  value: {{ .loginsPerUser | int64 | quote }}
- name: WORKSTEAD_LIMIT_REFUSALS_PER_ADDRESS
  value: {{ .refusalsPerAddress | int64 | quote }}
- name: WORKSTEAD_LIMIT_HOLD
  value: {{ .hold | quote }}
- name: WORKSTEAD_LIMIT_HELD_PER_WORKSPACE
  value: {{ .heldPerWorkspace | int64 | quote }}
- name: WORKSTEAD_LIMIT_HELD_PER_USER
  value: {{ .heldPerUser | int64 | quote }}
{{- with .silentStream }}
- name: WORKSTEAD_LIMIT_SILENT_STREAM
  value: {{ . | quote }}
{{- end }}
{{- end }}
- name: WORKSTEAD_DRAIN_LAG
  value: {{ printf "%ds" (int64 $proxy.drain.lagSeconds) | quote }}
- name: WORKSTEAD_DRAIN_LIMIT
  value: {{ printf "%ds" (int64 $proxy.drain.limitSeconds) | quote }}
- name: WORKSTEAD_LOG
  value: {{ .Values.log.level | quote }}
- name: WORKSTEAD_LOG_FORMAT
  value: {{ .Values.log.format | quote }}
{{- end }}
