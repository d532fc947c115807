{{/* Adds the values that this chart has and the values in use do not: those of an older chart after --reuse-values.
     Maps that a user may shorten (resources, labels, annotations) are added as a whole, or not at all. */}}
{{- define "scot.defaults" -}}
{{- include "scot.addMissing" (dict "values" .Values "defaults" (.Files.Get "defaults.yaml" | fromYaml)) -}}
{{- end -}}

{{- define "scot.addMissing" -}}
{{- range $key, $default := .defaults -}}
{{- $there := index $.values $key -}}
{{- if not (hasKey $.values $key) -}}
{{- $_ := set $.values $key $default -}}
{{- else if and (kindIs "map" $default) (kindIs "map" $there) (not (has $key (list "resources" "labels" "annotations"))) -}}
{{- include "scot.addMissing" (dict "values" $there "defaults" $default) -}}
{{- end -}}
{{- end -}}
{{- end -}}
