{{/* Names and labels that several templates share. The argument is a dict of `root` and `part` (node or api). */}}

{{- define "agent-manager.name" -}}
{{- printf "%s-%s" (default .root.Release.Name .root.Values.nameOverride | trunc 50 | trimSuffix "-") .part -}}
{{- end -}}

{{- define "agent-manager.selector" -}}
app.kubernetes.io/name: agent-manager
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .part }}
{{- end -}}

{{- define "agent-manager.labels" -}}
{{ include "agent-manager.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version }}
{{- end -}}

{{- define "agent-manager.image" -}}
{{- $image := index .root.Values.image .part -}}
{{ printf "%s:%s" $image.repository (default .root.Chart.AppVersion $image.tag) | quote }}
{{- end -}}

{{/* What every pod has in common: nobody's user, nothing to gain, no token of the cluster. */}}
{{- define "agent-manager.pod" -}}
serviceAccountName: {{ include "agent-manager.name" . }}
automountServiceAccountToken: false
enableServiceLinks: false
{{- with .root.Values.image.pullSecrets }}
imagePullSecrets: {{- toYaml . | nindent 2 }}
{{- end }}
securityContext:
  runAsNonRoot: true
  runAsUser: 65532
  runAsGroup: 65532
  fsGroup: 65532
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile:
    type: RuntimeDefault
{{- with (index .root.Values .part) }}
{{- with .nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .affinity }}
affinity: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}
{{- end -}}

{{- define "agent-manager.container" -}}
image: {{ include "agent-manager.image" . }}
imagePullPolicy: {{ .root.Values.image.pullPolicy }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities:
    drop: [ALL]
resources: {{- toYaml (index .root.Values .part).resources | nindent 2 }}
{{- end -}}

{{- define "agent-manager.ask" -}}
- python
- -c
- import urllib.request as r; r.urlopen('http://127.0.0.1:{{ .root.Values.api.port }}{{ .path }}', timeout=4)
{{- end -}}
