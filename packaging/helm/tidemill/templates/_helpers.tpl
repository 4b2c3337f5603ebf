{{- define "tidemill.name" -}}
{{- if contains .Chart.Name .Release.Name -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name .Chart.Name | trunc 50 | trimSuffix "-" -}}
{{- end -}}
{{- end }}

{{- define "tidemill.labels" -}}
helm.sh/chart: {{ .Chart.Name }}-{{ .Chart.Version }}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{- define "tidemill.tag" -}}
{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}

{{- define "tidemill.serverUrl" -}}
{{ .Values.workers.server | default (printf "http://%s-server:%d" (include "tidemill.name" .) (int .Values.service.port)) }}
{{- end }}

{{/* The pod of a worker, with an engine of its own: both have the same directories at the same paths. */}}
{{- define "tidemill.workerPod" -}}
restartPolicy: {{ .restart }}
terminationGracePeriodSeconds: 90
automountServiceAccountToken: {{ ne .root.Values.workers.serviceAccount "" }}
{{- with .root.Values.workers.serviceAccount }}
serviceAccountName: {{ . }}
{{- end }}
{{- with .root.Values.image.pullSecrets }}
imagePullSecrets: {{ toYaml . | nindent 2 }}
{{- end }}
{{- with .root.Values.workers.nodeSelector }}
nodeSelector: {{ toYaml . | nindent 2 }}
{{- end }}
{{- with .root.Values.workers.tolerations }}
tolerations: {{ toYaml . | nindent 2 }}
{{- end }}
securityContext: { fsGroup: 7600 }
initContainers:
  - name: engine
    image: {{ .root.Values.workers.engine.image | quote }}
    # A sidecar: it starts before the worker, and ends after it.
    restartPolicy: Always
    args: ["--host=unix:///run/engine/docker.sock", "--group=7600"]
    securityContext: { privileged: true, runAsUser: 0 }
    resources: {{ toYaml .root.Values.workers.engineResources | nindent 6 }}
    startupProbe:
      exec: { command: [docker, --host=unix:///run/engine/docker.sock, version] }
      periodSeconds: 1
      failureThreshold: 60
    volumeMounts:
      - { name: socket, mountPath: /run/engine }
      - { name: work, mountPath: /var/lib/tidemill }
      - { name: engine, mountPath: /var/lib/docker }
containers:
  - name: worker
    image: "{{ .root.Values.image.worker }}:{{ include "tidemill.tag" .root }}"
    imagePullPolicy: {{ .root.Values.image.pullPolicy }}
    args:
      - worker
      - --isolate=off
      {{- range .args }}
      - {{ . | quote }}
      {{- end }}
      {{- range $name, $value := .root.Values.workers.labels }}
      - {{ printf "--label=%s=%v" $name $value | quote }}
      {{- end }}
      {{- range .root.Values.workers.options }}
      - {{ . | quote }}
      {{- end }}
    env:
      - { name: TIDEMILL_SERVER, value: {{ include "tidemill.serverUrl" .root | quote }} }
      {{- if not .root.Values.workers.server }}
      # Within the cluster; a network policy or a mesh may protect it further.
      - { name: TIDEMILL_INSECURE_HTTP, value: "true" }
      {{- end }}
      - name: TIDEMILL_TOKEN
        valueFrom: { secretKeyRef: { name: {{ .root.Values.workers.tokenSecret | quote }}, key: token } }
      - { name: TIDEMILL_DATA_DIR, value: /var/lib/tidemill/worker }
      - { name: DOCKER_HOST, value: "unix:///run/engine/docker.sock" }
      - { name: TIDEMILL_LOG_FORMAT, value: json }
    securityContext:
      runAsNonRoot: true
      runAsUser: 7600
      runAsGroup: 7600
      allowPrivilegeEscalation: false
      readOnlyRootFilesystem: true
      capabilities: { drop: [ALL] }
      seccompProfile: { type: RuntimeDefault }
    resources: {{ toYaml .root.Values.workers.resources | nindent 6 }}
    volumeMounts:
      - { name: socket, mountPath: /run/engine }
      - { name: work, mountPath: /var/lib/tidemill }
      - { name: tmp, mountPath: /tmp }
volumes:
  - { name: socket, emptyDir: {} }
  - { name: tmp, emptyDir: {} }
  - { name: work, emptyDir: { sizeLimit: {{ .root.Values.workers.engine.storage }} } }
  - { name: engine, emptyDir: { sizeLimit: {{ .root.Values.workers.engine.storage }} } }
{{- end }}
