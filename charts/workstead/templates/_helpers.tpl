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
