{{/* The prefix of all names. KubeRay adds to a RayService's name, so it stays short. */}}
{{- define "scot.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- /* The name of a Service begins with a letter; that of a release need not. */ -}}
{{- $release := regexReplaceAll "^([0-9])" .Release.Name (printf "%s-${1}" $name) -}}
{{- if contains $name $release -}}
{{- $release | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" $release $name | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* Labels of selectors: no version and no labels from values. Takes context, component. */}}
{{- define "scot.selector" -}}
app.kubernetes.io/name: {{ .context.Chart.Name }}
app.kubernetes.io/instance: {{ .context.Release.Name | quote }}
app.kubernetes.io/component: {{ .component }}
{{- end -}}

{{/* Labels of an object. Takes context, component. */}}
{{- define "scot.labels" -}}
{{ include "scot.selector" . }}
app.kubernetes.io/part-of: scot
app.kubernetes.io/version: {{ .context.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .context.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .context.Chart.Name .context.Chart.Version | replace "+" "_" }}
{{- with .context.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* Labels of a pod. Without versions: a new chart with the same image replaces no pod. Takes context, component. */}}
{{- define "scot.podLabels" -}}
{{ include "scot.selector" . }}
app.kubernetes.io/part-of: scot
{{- with .context.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* An image. Takes context, image. Helm reads whole numbers of a values file as floats. */}}
{{- define "scot.image" -}}
{{- $repository := .image.repository -}}
{{- with .context.Values.imageRegistry -}}
{{- $repository = printf "%s/%s" (trimSuffix "/" .) (regexReplaceAll "^([^/]*[.:][^/]*|localhost)/" $repository "") -}}
{{- end -}}
{{- if .image.digest -}}
{{ $repository }}@{{ .image.digest }}
{{- else -}}
{{- $tag := default .context.Chart.AppVersion .image.tag -}}
{{ $repository }}:{{ ternary $tag (printf "%.0f" (float64 $tag)) (kindIs "string" $tag) }}
{{- end -}}
{{- end -}}

{{/* Tolerations: those of the values, and for how long a pod stays on a node that does not answer. Takes context, tolerations, moves. */}}
{{- define "scot.tolerations" -}}
{{- $all := default list .tolerations -}}
{{- $seconds := int .context.Values.ray.lostNodeSeconds -}}
{{- if and .moves $seconds -}}
{{- range list "node.kubernetes.io/not-ready" "node.kubernetes.io/unreachable" -}}
{{- $all = append $all (dict "key" . "operator" "Exists" "effect" "NoExecute" "tolerationSeconds" $seconds) -}}
{{- end -}}
{{- end -}}
{{- with $all }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{/* Pods of one workload on different zones and nodes, if possible. Takes selector, deployment (true for a Deployment). */}}
{{- define "scot.spread" -}}
topologySpreadConstraints:
{{- range list "topology.kubernetes.io/zone" "kubernetes.io/hostname" }}
  - topologyKey: {{ . }}
    maxSkew: 1
    whenUnsatisfiable: ScheduleAnyway
    {{- if $.deployment }}
    matchLabelKeys: [pod-template-hash] # or the pods of a rollout that end would count, and the new ones be left on one node
    {{- end }}
    labelSelector:
      matchLabels: {{- $.selector | nindent 8 }}
{{- end }}
{{- end -}}

{{- define "scot.pullSecrets" -}}
{{- with .Values.imagePullSecrets }}
imagePullSecrets:
{{- range . }}
  - name: {{ . }}
{{- end }}
{{- end }}
{{- end -}}

{{/* Restricted pod security. */}}
{{- define "scot.podSecurity" -}}
runAsNonRoot: true
runAsUser: 1000
runAsGroup: 1000
fsGroup: 1000
fsGroupChangePolicy: OnRootMismatch
seccompProfile: {type: RuntimeDefault}
{{- end -}}

{{- define "scot.containerSecurity" -}}
allowPrivilegeEscalation: false
capabilities: {drop: [ALL]}
{{- end -}}

{{/* Names of objects that a user may provide. */}}
{{- define "scot.authSecret" -}}
{{ default (printf "%s-keys" (include "scot.fullname" .)) .Values.auth.existingSecret }}
{{- end -}}
{{- define "scot.rayTokenSecret" -}}
{{ default (printf "%s-ray-token" (include "scot.fullname" .)) .Values.ray.auth.existingSecret }}
{{- end -}}
{{- define "scot.qdrantSecret" -}}
{{- if eq .Values.store.mode "qdrant" -}}
{{ include "scot.fullname" . }}-qdrant
{{- else if eq .Values.store.mode "external" -}}
{{ .Values.store.existingSecret }}
{{- end -}}
{{- end -}}
{{- define "scot.redisSecret" -}}
{{- if .Values.redis.enabled -}}
{{ include "scot.fullname" . }}-redis
{{- else -}}
{{ .Values.ray.gcsFaultTolerance.redisSecret }}
{{- end -}}
{{- end -}}
{{- define "scot.qdrantUrl" -}}
{{- if eq .Values.store.mode "qdrant" -}}
http://{{ include "scot.fullname" . }}-qdrant:6333
{{- else if eq .Values.store.mode "external" -}}
{{ .Values.store.url }}
{{- end -}}
{{- end -}}
{{- define "scot.artifactsClaim" -}}
{{ default (printf "%s-artifacts" (include "scot.fullname" .)) .Values.artifacts.persistence.existingClaim }}
{{- end -}}
{{- define "scot.artifactsRoot" -}}
{{ default "/artifacts" .Values.artifacts.url | trimSuffix "/" }}
{{- end -}}

{{/* Where jobs and commands in a pod of the release find and leave things, as the environment variables of their flags. */}}
{{- define "scot.places" -}}
{{- $root := include "scot.artifactsRoot" . -}}
{{- $source := .Values.pipeline.source -}}
{{- $drawn := and .Values.bootstrap.enabled .Values.artifacts.persistence.enabled -}}
{{- if and (not $source) $drawn .Values.bootstrap.trainSize -}}
{{- $source = list "/artifacts/catalogue/wardrobe" "/artifacts/catalogue/scenes" -}}
{{- end -}}
- {name: SCOT_ENCODER, value: {{ .Values.search.encoder | quote }}}
{{- range $name := list "composers" "triplets" "embeddings" "runs" }}
- {name: SCOT_{{ upper $name }}, value: {{ printf "%s/%s" $root $name | quote }}}
{{- end }}
{{- $quoted := list -}}
{{- range $source }}{{ $quoted = append $quoted (squote (replace "'" "'\\''" .)) }}{{ end -}}
{{- with $quoted }}
- {name: SCOT_SOURCE, value: {{ join " " . | quote }}}
{{- end }}
{{- if $drawn }}
- {name: SCOT_GALLERY, value: "/artifacts/gallery/wardrobe /artifacts/gallery/scenes"}
{{- end }}
{{- end -}}

{{/* Whether the pods that mount the artifacts must run on one node: yes, unless the volume has another access mode. */}}
{{- define "scot.artifactsOnOneNode" -}}
{{- $claim := .Values.artifacts.persistence -}}
{{- if and $claim.enabled (not $claim.existingClaim) (not (has "ReadWriteMany" $claim.accessModes)) -}}yes{{- end -}}
{{- end -}}

{{- define "scot.artifactsAffinity" -}}
{{- if include "scot.artifactsOnOneNode" . }}
affinity:
  podAffinity:
    requiredDuringSchedulingIgnoredDuringExecution:
      - topologyKey: kubernetes.io/hostname
        labelSelector:
          matchLabels: {{ include "scot.artifactsLabel" . }}
{{- end }}
{{- end -}}
{{- define "scot.artifactsLabel" -}}
{scot/artifacts: {{ include "scot.artifactsClaim" . }}}
{{- end -}}

{{- define "scot.artifactsVolume" -}}
{{- if .Values.artifacts.persistence.enabled }}
- name: artifacts
  persistentVolumeClaim:
    claimName: {{ include "scot.artifactsClaim" . }}
{{- end }}
{{- end -}}
{{- define "scot.artifactsMount" -}}
{{- if .Values.artifacts.persistence.enabled }}
- name: artifacts
  mountPath: /artifacts
{{- end }}
{{- end -}}

{{/* The environment of pods of the release that call the search service. */}}
{{- define "scot.clientEnv" -}}
- name: SCOT_ADDRESS
  value: {{ include "scot.fullname" . }}-search:{{ .Values.search.service.port }}
{{- if .Values.auth.enabled }}
- name: SCOT_API_KEY
  valueFrom:
    secretKeyRef: {name: {{ include "scot.authSecret" . }}, key: admin-key}
{{- end }}
{{- end -}}

{{/* Annotations for a Prometheus that uses them. Takes context, port. */}}
{{- define "scot.scrapeAnnotations" -}}
{{- if .context.Values.monitoring.annotations }}
prometheus.io/scrape: "true"
prometheus.io/port: {{ .port | quote }}
prometheus.io/path: {{ default "/metrics" .path }}
{{- end }}
{{- end -}}
