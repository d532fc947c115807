{{/* A Ray pod. Takes context, node (head or worker), settings (of ray.head or ray.workers). */}}
{{- define "scot.rayPod" -}}
{{- $ctx := .context -}}
{{- $values := $ctx.Values -}}
metadata:
  labels:
    {{- include "scot.podLabels" (dict "context" $ctx "component" "search") | nindent 4 }}
    {{- if $values.artifacts.persistence.enabled }}
    scot/artifacts: {{ include "scot.artifactsClaim" $ctx }}
    {{- end }}
  annotations:
    {{- include "scot.scrapeAnnotations" (dict "context" $ctx "port" 8080) | nindent 4 }}
    {{- with $values.ray.podAnnotations }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
spec:
  serviceAccountName: {{ include "scot.fullname" $ctx }}-search
  automountServiceAccountToken: {{ and (eq .node "head") $values.ray.autoscaler.enabled }}
  enableServiceLinks: false
  {{- include "scot.pullSecrets" $ctx | nindent 2 }}
  securityContext: {{- include "scot.podSecurity" $ctx | nindent 4 }}
  terminationGracePeriodSeconds: {{ max 60 (add 30 $values.search.requestTimeoutSeconds) }}
  {{- if and (eq .node "head") (eq $values.ray.gcsFaultTolerance.backend "redis") }}
  # Ray's head ends with its Redis. KubeRay replaces the pod at once; Kubernetes would wait longer before each restart.
  restartPolicy: Never
  {{- end }}
  {{- with .settings.nodeSelector }}
  nodeSelector: {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- include "scot.tolerations" (dict "context" $ctx "tolerations" .settings.tolerations "moves" true) | nindent 2 }}
  {{- include "scot.artifactsAffinity" $ctx | nindent 2 }}
  {{- if eq .node "worker" }}
  {{- if .settings.topologySpreadConstraints }}
  topologySpreadConstraints: {{- toYaml .settings.topologySpreadConstraints | nindent 4 }}
  {{- else if not (include "scot.artifactsOnOneNode" $ctx) }}
  {{- $workers := printf "%s\nray.io/node-type: worker" (include "scot.selector" (dict "context" $ctx "component" "search")) }}
  {{- include "scot.spread" (dict "selector" $workers) | nindent 2 }}
  {{- end }}
  {{- end }}
  containers:
    - name: ray-{{ .node }}
      image: {{ include "scot.image" (dict "context" $ctx "image" $values.image) }}
      imagePullPolicy: {{ $values.image.pullPolicy }}
      {{- if and (eq .node "head") (eq $values.ray.gcsFaultTolerance.backend "redis") }}
      # KubeRay runs it before `ray start`, which would end without Redis.
      args: ["until (exec 3<>/dev/tcp/{{ include "scot.redisAddress" $ctx | replace ":" "/" }}) 2>/dev/null; do sleep 0.5; done"]
      {{- end }}
      env:
        - {name: HOME, value: /home/scot}
        - {name: HF_HOME, value: {{ ternary "/artifacts/huggingface" "/tmp/huggingface" $values.artifacts.persistence.enabled }}}
        - {name: RAY_SERVE_GRPC_MAX_MESSAGE_SIZE, value: "356515840"}
        # Processes of Serve start without pandas, and sooner.
        - {name: __RAY_WORKER_PROCESS_SETUP_HOOK_ENV_VAR, value: services.search.local.lean_serve.install}
        {{- if eq .node "head" }}
        - {name: RAY_API_SERVER_ADDRESS, value: "http://127.0.0.1:8265"} # of `ray job submit`, in a shell of this pod
        {{- end }}
        {{- include "scot.places" $ctx | nindent 8 }}
        {{- with include "scot.qdrantSecret" $ctx }}
        - name: SCOT_QDRANT_API_KEY
          valueFrom:
            secretKeyRef: {name: {{ . }}, key: api-key}
        {{- end }}
        {{- with $values.ray.env }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
      {{- with $values.artifacts.credentialsSecret }}
      envFrom:
        - secretRef: {name: {{ . }}}
      {{- end }}
      ports:
        {{- if eq .node "head" }}
        - {name: gcs-server, containerPort: 6379}
        - {name: dashboard, containerPort: 8265}
        - {name: client, containerPort: 10001}
        - {name: as-metrics, containerPort: 44217}
        - {name: dash-metrics, containerPort: 44227}
        {{- end }}
        - {name: metrics, containerPort: 8080}
        - {name: serve, containerPort: 8000}
        - {name: serve-grpc, containerPort: 9000} # a port whose name begins with serve- is one of the Service's
      {{- if eq .node "worker" }}
      # KubeRay's own probe looks every five seconds, ten times before a pod that fails gets no calls.
      readinessProbe:
        httpGet: {path: /-/healthz, port: serve}
        initialDelaySeconds: 2
        periodSeconds: 2
        timeoutSeconds: 2
        failureThreshold: 3
      {{- end }}
      lifecycle:
        preStop: # callers are sent elsewhere before Ray ends
          exec: {command: [/bin/sh, -c, "sleep 5; ray stop"]}
      securityContext: {{- include "scot.containerSecurity" $ctx | nindent 8 }}
      resources:
        {{- toYaml (omit .settings.resources "limits") | nindent 8 }}
        limits:
          {{- $gpus := int (default 0 .settings.gpus) }}
          {{- if $gpus }}
          nvidia.com/gpu: {{ $gpus }}
          {{- end }}
          {{- with .settings.resources.limits }}
          {{- toYaml . | nindent 10 }}
          {{- end }}
      volumeMounts:
        - {name: tmp, mountPath: /tmp}
        - {name: shared-memory, mountPath: /dev/shm}
        {{- if $values.auth.enabled }}
        - {name: keys, mountPath: /etc/scot/keys, readOnly: true}
        {{- end }}
        {{- if $values.store.caSecret }}
        - {name: qdrant-ca, mountPath: /etc/scot/qdrant, readOnly: true}
        {{- end }}
        {{- include "scot.artifactsMount" $ctx | nindent 8 }}
  volumes:
    - name: tmp
      emptyDir: {}
    - name: shared-memory
      emptyDir: {medium: Memory, sizeLimit: {{ add 64 .settings.objectStoreMiB }}Mi}
    {{- if $values.auth.enabled }}
    - name: keys
      secret:
        secretName: {{ include "scot.authSecret" $ctx }}
        items: [{key: keys.txt, path: keys.txt}]
    {{- end }}
    {{- with $values.store.caSecret }}
    - name: qdrant-ca
      secret: {secretName: {{ . }}}
    {{- end }}
    {{- include "scot.artifactsVolume" $ctx | nindent 4 }}
{{- end -}}

{{/* HOST:PORT of the Redis that keeps the state of Ray's head. */}}
{{- define "scot.redisAddress" -}}
{{- default (printf "%s-redis:6379" (include "scot.fullname" .)) .Values.ray.gcsFaultTolerance.redisAddress -}}
{{- end -}}

{{/* gcsFaultToleranceOptions, as far as the cluster's CRD supports it. */}}
{{- define "scot.gcsFaultTolerance" -}}
{{- $wanted := .Values.ray.gcsFaultTolerance -}}
{{- $backend := $wanted.backend -}}
{{- if eq $backend "auto" -}}
{{- $backend = "none" -}}
{{- $crd := lookup "apiextensions.k8s.io/v1" "CustomResourceDefinition" "" "rayservices.ray.io" -}}
{{- range (dig "spec" "versions" list (default dict $crd)) -}}
{{- if eq .name "v1" -}}
{{- if hasKey (dig "schema" "openAPIV3Schema" "properties" "spec" "properties" "rayClusterConfig" "properties" "gcsFaultToleranceOptions" "properties" dict .) "backend" -}}
{{- $backend = "rocksdb" -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if eq $backend "rocksdb" -}}
gcsFaultToleranceOptions:
  backend: rocksdb
  storage: {size: {{ $wanted.size }}}
{{- else if eq $backend "redis" -}}
gcsFaultToleranceOptions:
  redisAddress: {{ include "scot.redisAddress" . | quote }}
  {{- with include "scot.redisSecret" . }}
  redisPassword:
    valueFrom:
      secretKeyRef: {name: {{ . }}, key: password}
  {{- end }}
{{- end -}}
{{- end -}}
