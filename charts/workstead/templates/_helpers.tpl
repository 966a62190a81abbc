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
