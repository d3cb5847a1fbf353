{{- define "lamina-operator.name" -}}
{{- if contains "lamina-operator" .Release.Name }}{{ .Release.Name | trunc 50 | trimSuffix "-" }}
{{- else }}{{ printf "%s-lamina-operator" (.Release.Name | trunc 34 | trimSuffix "-") }}{{ end }}
{{- end }}

{{- define "lamina-operator.serviceAccount" -}}
{{- .Values.serviceAccount.name | default (include "lamina-operator.name" .) }}
{{- end }}

{{- define "lamina-operator.image" -}}
{{- with .Values.image }}
{{- if .digest }}{{ .repository }}@{{ .digest }}
{{- else }}{{ .repository }}:{{ .tag | default $.Chart.AppVersion }}{{ end }}
{{- end }}
{{- end }}

{{- define "lamina-operator.selector" -}}
app.kubernetes.io/name: lamina-operator
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "lamina-operator.labels" -}}
{{ include "lamina-operator.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/part-of: lamina
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- with .Values.labels }}
{{ toYaml . }}
{{- end }}
{{- end }}
