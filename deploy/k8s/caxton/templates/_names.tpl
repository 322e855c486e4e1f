{{- define "caxton.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 40 | trimSuffix "-" -}}
{{- end -}}

{{- define "caxton.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- else if contains (include "caxton.name" .) .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "caxton.name" .) | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "caxton.selector" -}}
app.kubernetes.io/name: {{ include "caxton.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: node
{{- end -}}

{{- define "caxton.labels" -}}
app.kubernetes.io/name: {{ include "caxton.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end -}}

{{- define "caxton.image" -}}
{{- if .Values.image.digest -}}
{{ .Values.image.repository }}@{{ .Values.image.digest }}
{{- else -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end -}}
{{- end -}}

{{- define "caxton.serviceAccount" -}}
{{- .Values.serviceAccount.name | default (include "caxton.fullname" .) -}}
{{- end -}}

{{- define "caxton.gossipSecret" -}}
{{- .Values.cluster.gossipKey.existingSecret | default (printf "%s-gossip" (include "caxton.fullname" .)) -}}
{{- end -}}

{{- define "caxton.tlsSecret" -}}
{{- if eq .Values.tls.mode "existing" -}}{{ .Values.tls.existingSecret }}
{{- else -}}{{ include "caxton.fullname" . }}-tls{{- end -}}
{{- end -}}

{{- define "caxton.headless" -}}
{{ include "caxton.fullname" . }}-nodes
{{- end -}}

{{/* How many nodes tell a majority. With an autoscaler the nodes count themselves. */}}
{{- define "caxton.expect" -}}
{{- if .Values.cluster.expect -}}{{ .Values.cluster.expect }}
{{- else if not .Values.autoscaling.enabled -}}{{ .Values.replicaCount }}{{- end -}}
{{- end -}}

{{- define "caxton.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end -}}

{{- define "caxton.podSecurity" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
fsGroup: 10001
fsGroupChangePolicy: OnRootMismatch
seccompProfile: {type: RuntimeDefault}
{{- end -}}
