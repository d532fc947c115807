{{/* The Serve config of the search application, the string in serveConfigV2. */}}
{{- define "scot.serveConfig" -}}
{{- $search := .Values.search -}}
{{- $args := dict "encoder" $search.encoder "collection" $search.collection "composers" (printf "%s/composers" (include "scot.artifactsRoot" .)) "follow_s" 5 "hedge_s" $search.hedgeSeconds -}}
{{- if eq .Values.store.mode "embedded" -}}
{{- $_ := set $args "store" "/artifacts/qdrant" -}}
{{- else -}}
{{- $_ := set $args "qdrant_url" (include "scot.qdrantUrl" .) -}}
{{- $_ := set $args "gateways" (int (default $search.gateway.replicas (get $search.gateway.autoscaling "max_replicas"))) -}}
{{- if eq .Values.store.mode "qdrant" -}}
{{- $_ := set $args "replication_factor" .Values.qdrant.replicationFactor -}}
{{- $_ := set $args "write_consistency" .Values.qdrant.writeConsistency -}}
{{- end -}}
{{- if .Values.store.caSecret -}}
{{- $_ := set $args "qdrant_ca" "/etc/scot/qdrant/ca.crt" -}}
{{- end -}}
{{- end -}}
{{- if .Values.auth.enabled -}}
{{- $_ := set $args "api_keys" "/etc/scot/keys/keys.txt" -}}
{{- end -}}
{{- if .Values.rerank.enabled -}}
{{- $_ := set $args "rerank_url" (printf "http://%s-rerank:8000/v1" (include "scot.fullname" .)) -}}
{{- $_ := set $args "rerank_model" .Values.rerank.model -}}
{{- end }}
proxy_location: EveryNode
http_options: {host: 0.0.0.0, port: 8000}
grpc_options:
  port: 9000
  request_timeout_s: {{ $search.requestTimeoutSeconds }}
  grpc_servicer_functions:
    - services.search.servicers.add_search
    - services.search.servicers.add_index
    - services.search.servicers.add_health
logging_config: {enable_access_log: false}
applications:
  - name: search
    import_path: services.search.app:build
    route_prefix: /
    args: {{- mergeOverwrite $args $search.settings | toYaml | nindent 6 }}
    deployments:
      - name: Gateway
        max_ongoing_requests: {{ $search.gateway.maxOngoingRequests }}
        max_queued_requests: {{ $search.gateway.maxQueuedRequests }}
        {{- include "scot.replicas" (dict "deployment" $search.gateway "search" $search) | nindent 8 }}
        ray_actor_options: {num_cpus: {{ $search.gateway.cpus }}}
      - name: Composer
        user_config: {default: {{ $search.composer | quote }}, split: {{ $search.composers.split | toJson }}, shadow: {{ $search.composers.shadow | quote }}}
        {{- include "scot.replicas" (dict "deployment" $search.composers "search" $search) | nindent 8 }}
        ray_actor_options: {num_cpus: {{ $search.composers.cpus }}, num_gpus: {{ $search.composers.gpus }}}
      - name: Encoder
        {{- include "scot.replicas" (dict "deployment" $search.encoders "search" $search) | nindent 8 }}
        ray_actor_options: {num_cpus: {{ $search.encoders.cpus }}, num_gpus: {{ $search.encoders.gpus }}}
{{- end -}}

{{/* How many replicas, and where. Takes deployment, search. */}}
{{- define "scot.replicas" -}}
{{- if .deployment.autoscaling -}}
autoscaling_config: {{- toYaml .deployment.autoscaling | nindent 2 }}
{{- else -}}
num_replicas: {{ .deployment.replicas }}
{{- end }}
{{- if .search.replicasPerPod }}
max_replicas_per_node: {{ .search.replicasPerPod }}
{{- end }}
# A replica that died is noticed by this check.
health_check_period_s: 1
{{- end -}}
