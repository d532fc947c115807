{{/* Checks before anything is created. Each error says what to do. */}}
{{- define "scot.checks" -}}
{{- $live := lookup "v1" "Namespace" "" "kube-system" -}}
{{- $kinds := dict "ray.io/v1/RayService" "install the KubeRay operator first: helm install kuberay-operator kuberay-operator --repo https://ray-project.github.io/kuberay-helm --version 1.6.0" -}}
{{- if .Values.monitoring.monitors -}}
{{- $_ := set $kinds "monitoring.coreos.com/v1/PodMonitor" "install the Prometheus operator first, or set monitoring.monitors=false" -}}
{{- end -}}
{{- if .Values.monitoring.alerts.enabled -}}
{{- $_ := set $kinds "monitoring.coreos.com/v1/PrometheusRule" "install the Prometheus operator first, or set monitoring.alerts.enabled=false" -}}
{{- end -}}
{{- if .Values.route.enabled -}}
{{- $_ := set $kinds "gateway.networking.k8s.io/v1/GRPCRoute" "install the Gateway API first, or set route.enabled=false" -}}
{{- end -}}
{{- if and .Values.web.enabled .Values.web.route.enabled -}}
{{- $_ := set $kinds "gateway.networking.k8s.io/v1/HTTPRoute" "install the Gateway API first, or set web.route.enabled=false" -}}
{{- end -}}
{{- if and .Values.edits.enabled (eq .Values.edits.autoscaling.kind "keda") -}}
{{- $_ := set $kinds "keda.sh/v1alpha1/ScaledObject" "install KEDA first, or set edits.autoscaling.kind=none" -}}
{{- end -}}
{{- if .Values.checks -}}
{{- range $kind, $help := $kinds -}}
{{- if not ($.Capabilities.APIVersions.Has $kind) -}}
{{- fail (printf "\n\nThis cluster has no %s: %s.\n(`helm template` without a cluster: --api-versions %s, or --set checks=false)" $kind $help $kind) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- if and (eq .Values.store.mode "external") (not .Values.store.url) -}}
{{- fail "\n\nstore.mode is external, so store.url must be the address of Qdrant: http://host:6333" -}}
{{- end -}}
{{- if and .Values.store.caSecret (not (hasPrefix "https://" .Values.store.url)) -}}
{{- fail "\n\nstore.caSecret needs a store.url that begins with https://" -}}
{{- end -}}
{{- if and (ne .Values.store.mode "external") .Values.store.url -}}
{{- fail (printf "\n\nstore.url is set, but store.mode is %s: set store.mode=external" .Values.store.mode) -}}
{{- end -}}
{{- if eq .Values.store.mode "embedded" -}}
{{- if or (gt (int .Values.search.gateway.replicas) 1) .Values.search.gateway.autoscaling -}}
{{- fail "\n\nstore.mode is embedded, and only one gateway can open it: set search.gateway.replicas=1, or store.mode=qdrant" -}}
{{- end -}}
{{- if not .Values.artifacts.persistence.enabled -}}
{{- fail "\n\nstore.mode is embedded, which needs the artifacts' volume: set artifacts.persistence.enabled=true, or store.mode=qdrant" -}}
{{- end -}}
{{- end -}}
{{- if and (not .Values.artifacts.persistence.enabled) (not .Values.artifacts.url) -}}
{{- fail "\n\nartifacts need storage: set artifacts.persistence.enabled=true, or artifacts.url to an object store (s3://bucket/scot)" -}}
{{- end -}}
{{- if and .Values.pipeline.enabled (not .Values.artifacts.persistence.enabled) -}}
{{- fail "\n\npipeline.enabled needs the artifacts' volume for its galleries: set artifacts.persistence.enabled=true" -}}
{{- end -}}
{{- if and .Values.ingress.enabled (not .Values.ingress.host) -}}
{{- fail "\n\ningress.enabled needs ingress.host" -}}
{{- end -}}
{{- if and .Values.route.enabled (not .Values.route.parentRefs) -}}
{{- fail "\n\nroute.enabled needs route.parentRefs: the gateways to attach to, [{name: …, namespace: …}]" -}}
{{- end -}}
{{- if and .Values.web.ingress.enabled (not .Values.web.ingress.host) -}}
{{- fail "\n\nweb.ingress.enabled needs web.ingress.host" -}}
{{- end -}}
{{- if and .Values.web.route.enabled (not .Values.web.route.parentRefs) -}}
{{- fail "\n\nweb.route.enabled needs web.route.parentRefs: the gateways to attach to, [{name: …, namespace: …}]" -}}
{{- end -}}
{{- if and (or .Values.web.ingress.enabled .Values.web.route.enabled) (not .Values.web.enabled) -}}
{{- fail "\n\nweb.ingress and web.route lead to the web service: set web.enabled=true" -}}
{{- end -}}
{{- $fault := .Values.ray.gcsFaultTolerance -}}
{{- if and (eq $fault.backend "redis") (not $fault.redisAddress) (not .Values.redis.enabled) -}}
{{- fail "\n\nray.gcsFaultTolerance.backend is redis: set redis.enabled=true, or ray.gcsFaultTolerance.redisAddress to the address of yours (host:6379)" -}}
{{- end -}}
{{- if and .Values.redis.enabled (or (ne $fault.backend "redis") $fault.redisAddress) -}}
{{- fail "\n\nredis.enabled runs a Redis that nothing uses: set ray.gcsFaultTolerance.backend=redis and no redisAddress, or redis.enabled=false" -}}
{{- end -}}
{{- if gt (int .Values.qdrant.replicationFactor) (int .Values.qdrant.replicas) -}}
{{- fail (printf "\n\nqdrant.replicationFactor is %v, but there are %v pods for the copies: raise qdrant.replicas" .Values.qdrant.replicationFactor .Values.qdrant.replicas) -}}
{{- end -}}
{{- if gt (int .Values.qdrant.writeConsistency) (int .Values.qdrant.replicationFactor) -}}
{{- fail "\n\nqdrant.writeConsistency must not be larger than qdrant.replicationFactor" -}}
{{- end -}}
{{- $search := .Values.search -}}
{{- $places := mul $search.replicasPerPod (ternary .Values.ray.workers.maxReplicas .Values.ray.workers.replicas .Values.ray.autoscaler.enabled) -}}
{{- range $name := list "gateway" "composers" "encoders" -}}
{{- $deployment := index $search $name -}}
{{- $most := int (default $deployment.replicas (dig "max_replicas" 0 $deployment.autoscaling)) -}}
{{- if and $places (gt $most (int $places)) -}}
{{- fail (printf "\n\nsearch.%s wants %d replicas, but search.replicasPerPod leaves room for %d: raise ray.workers.replicas" $name $most $places) -}}
{{- end -}}
{{- end -}}
{{- if and .Values.edits.enabled (ne .Values.edits.engine "rules") (not .Values.edits.model) -}}
{{- fail (printf "\n\nedits.engine is %s, which needs edits.model" .Values.edits.engine) -}}
{{- end -}}
{{- $towers := list .Values.search.composers .Values.search.encoders -}}
{{- range $towers -}}
{{- if and (gt (float64 .gpus) 0.0) (lt (float64 $.Values.ray.workers.gpus) (float64 .gpus)) -}}
{{- fail (printf "\n\nsearch requests %v GPUs for each replica, but a worker has %v: raise ray.workers.gpus" .gpus $.Values.ray.workers.gpus) -}}
{{- end -}}
{{- end -}}

{{- if $live -}}
{{- with lookup "apps/v1" "StatefulSet" .Release.Namespace (printf "%s-qdrant" (include "scot.fullname" .)) -}}
{{- if and (eq $.Values.store.mode "qdrant") (ne (gt (int .spec.replicas) 1) (gt (int $.Values.qdrant.replicas) 1)) -}}
{{- fail (printf "\n\nthis release has a Qdrant of %v, which cannot become one of %v in place: index into a new release, or keep qdrant.replicas" .spec.replicas $.Values.qdrant.replicas) -}}
{{- end -}}
{{- end -}}
{{- include "scot.checkSecret" (dict "context" . "name" .Values.auth.existingSecret "keys" (list "keys.txt" "admin-key") "value" "auth.existingSecret" "needed" .Values.auth.enabled) -}}
{{- include "scot.checkSecret" (dict "context" . "name" .Values.ray.auth.existingSecret "keys" (list "auth_token") "value" "ray.auth.existingSecret" "needed" true) -}}
{{- include "scot.checkSecret" (dict "context" . "name" .Values.store.existingSecret "keys" (list "api-key") "value" "store.existingSecret" "needed" (eq .Values.store.mode "external")) -}}
{{- include "scot.checkSecret" (dict "context" . "name" .Values.store.caSecret "keys" (list "ca.crt") "value" "store.caSecret" "needed" true) -}}
{{- include "scot.checkSecret" (dict "context" . "name" .Values.ray.gcsFaultTolerance.redisSecret "keys" (list "password") "value" "ray.gcsFaultTolerance.redisSecret" "needed" (and (eq .Values.ray.gcsFaultTolerance.backend "redis") (not .Values.redis.enabled))) -}}
{{- include "scot.checkSecret" (dict "context" . "name" .Values.artifacts.credentialsSecret "keys" list "value" "artifacts.credentialsSecret" "needed" true) -}}
{{- $classes := lookup "storage.k8s.io/v1" "StorageClass" "" "" -}}
{{- if and .Values.artifacts.persistence.enabled (not .Values.artifacts.persistence.existingClaim) -}}
{{- include "scot.checkStorageClass" (dict "classes" $classes "name" .Values.artifacts.persistence.storageClass "value" "artifacts.persistence.storageClass") -}}
{{- end -}}
{{- if eq .Values.store.mode "qdrant" -}}
{{- include "scot.checkStorageClass" (dict "classes" $classes "name" .Values.qdrant.persistence.storageClass "value" "qdrant.persistence.storageClass") -}}
{{- end -}}
{{- if .Values.redis.enabled -}}
{{- include "scot.checkStorageClass" (dict "classes" $classes "name" .Values.redis.persistence.storageClass "value" "redis.persistence.storageClass") -}}
{{- end -}}
{{- if and .Values.rerank.enabled (not .Values.rerank.model) -}}
{{- fail "\n\nrerank.enabled needs rerank.model" -}}
{{- end -}}
{{- if and .Values.rerank.enabled .Values.rerank.modelCache.enabled -}}
{{- include "scot.checkStorageClass" (dict "classes" $classes "name" .Values.rerank.modelCache.storageClass "value" "rerank.modelCache.storageClass") -}}
{{- end -}}
{{- if and .Values.edits.enabled .Values.edits.modelCache.enabled -}}
{{- include "scot.checkStorageClass" (dict "classes" $classes "name" .Values.edits.modelCache.storageClass "value" "edits.modelCache.storageClass") -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "scot.checkSecret" -}}
{{- if and .needed .name -}}
{{- $secret := lookup "v1" "Secret" .context.Release.Namespace .name -}}
{{- if not $secret -}}
{{- fail (printf "\n\n%s names the Secret %q, which does not exist in the namespace %q: create it first, or leave %s empty" .value .name .context.Release.Namespace .value) -}}
{{- end -}}
{{- range .keys -}}
{{- if not (hasKey (default dict $secret.data) .) -}}
{{- fail (printf "\n\n%s names the Secret %q, which has no key %q" $.value $.name .) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "scot.checkStorageClass" -}}
{{- $names := list -}}
{{- $default := "" -}}
{{- range (default list .classes.items) -}}
{{- $names = append $names .metadata.name -}}
{{- if eq (dig "metadata" "annotations" "storageclass.kubernetes.io/is-default-class" "" .) "true" -}}
{{- $default = .metadata.name -}}
{{- end -}}
{{- end -}}
{{- if and .name (not (has .name $names)) -}}
{{- fail (printf "\n\n%s is %q, which does not exist in this cluster; it has: %s" .value .name (default "none" (join ", " $names))) -}}
{{- end -}}
{{- if and (not .name) (not $default) -}}
{{- fail (printf "\n\nthis cluster has no default storage class: set %s to one of: %s" .value (default "(none: install a provisioner first)" (join ", " $names))) -}}
{{- end -}}
{{- end -}}
