{{- define "lensora.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" -}}
{{- else if contains (default .Chart.Name .Values.nameOverride) .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (default .Chart.Name .Values.nameOverride) | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end }}

{{/* What selects the pods of a component, and of one track of it; a Deployment's selector can never change, so neither may these. */}}
{{- define "lensora.selector" -}}
app.kubernetes.io/name: {{ default .root.Chart.Name .root.Values.nameOverride | trunc 63 | trimSuffix "-" }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- with .track }}
lensora.studio/track: {{ . }}
{{- end }}
{{- end }}

{{- define "lensora.labels" -}}
{{ include "lensora.selector" . }}
app.kubernetes.io/part-of: lensora-studio
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
{{- end }}

{{/* `base` with `over` on top. Sprig's mergeOverwrite lets no false, 0 or empty value win, which an operator may well mean. */}}
{{- define "lensora.merge" -}}
{{- $out := deepCopy .base -}}
{{- range $key, $value := .over -}}
{{- if and (kindIs "map" $value) (kindIs "map" (get $out $key)) -}}
{{- $_ := set $out $key (include "lensora.merge" (dict "base" (get $out $key) "over" $value) | fromYaml) -}}
{{- else -}}
{{- $_ := set $out $key $value -}}
{{- end -}}
{{- end -}}
{{- toYaml $out -}}
{{- end }}

{{/* All services with their defaults filled in, as YAML. */}}
{{- define "lensora.services" -}}
{{- range $name, $entry := .Values.services }}
{{ $name }}:
  {{- include "lensora.merge" (dict "base" $.Values.serviceDefaults "over" $entry) | nindent 2 }}
{{- end }}
{{- end }}

{{/* The tracks of a service that have pods: {track: {replicas, weight, tag, digest, engine, settings}}. */}}
{{- define "lensora.tracks" -}}
{{- $canary := .service.canary -}}
stable:
  replicas: {{ .service.replicas }}
  weight: {{ ternary (sub 100 $canary.weight) 100 $canary.enabled }}
  tag: ""
  digest: {{ .service.digest | quote }}
  engine: {{ .service.engine }}
  settings: {{- toJson .service.settings | nindent 4 }}
{{- if $canary.enabled }}
canary:
  replicas: {{ $canary.replicas }}
  weight: {{ $canary.weight }}
  tag: {{ $canary.tag | quote }}
  digest: {{ $canary.digest | quote }}
  engine: {{ default .service.engine $canary.engine }}
  settings: {{- include "lensora.merge" (dict "base" .service.settings "over" $canary.settings) | nindent 4 }}
{{- end }}
{{- end }}

{{- define "lensora.image" -}}
{{- $image := .root.Values.image -}}
{{- with $image.registry }}{{ trimSuffix "/" . }}/{{ end -}}
{{ $image.prefix }}{{ .component }}
{{- if .digest }}@{{ .digest }}{{ else }}:{{ .tag | default $image.tag | default .root.Chart.AppVersion }}{{ end -}}
{{- end }}

{{- define "lensora.podSecurity" -}}
runAsNonRoot: true
runAsUser: 10001
runAsGroup: 10001
fsGroup: 10001
fsGroupChangePolicy: OnRootMismatch
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{- define "lensora.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end }}

{{/* Health over gRPC on the plaintext port that serves nothing else. A pod that is unfit is taken out, not killed: a new one would be no fitter. */}}
{{- define "lensora.probes" -}}
startupProbe:
  grpc: {port: {{ .Values.healthPort }}}
  periodSeconds: 2
  timeoutSeconds: 2
  failureThreshold: 60
readinessProbe:
  grpc: {port: {{ .Values.healthPort }}}
  periodSeconds: 5
  timeoutSeconds: 3
  failureThreshold: 2
livenessProbe:
  grpc: {port: {{ .Values.healthPort }}, service: liveness}
  periodSeconds: 10
  timeoutSeconds: 5
  failureThreshold: 6
{{- end }}

{{- define "lensora.spread" -}}
{{- range $key := list "topology.kubernetes.io/zone" "kubernetes.io/hostname" }}
- maxSkew: 1
  topologyKey: {{ $key }}
  whenUnsatisfiable: {{ $.spread }}
  labelSelector:
    matchLabels:
      {{- include "lensora.selector" $ | nindent 6 }}
  matchLabelKeys: [{{ $.revision }}]
{{- end }}
{{- end }}

{{/* Where it runs: selectors and tolerations, and those of the GPU where it wants one. */}}
{{- define "lensora.placement" -}}
{{- $gpu := .gpu | default dict -}}
{{- $selector := merge (dict) (ternary ($gpu.nodeSelector | default dict) dict ($gpu.enabled | default false)) (.nodeSelector | default dict) -}}
{{- $tolerations := concat (.tolerations | default list) (ternary ($gpu.tolerations | default list) list ($gpu.enabled | default false)) -}}
{{- if and $gpu.enabled $gpu.runtimeClassName }}
runtimeClassName: {{ $gpu.runtimeClassName }}
{{- end }}
{{- with $selector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with $tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* A container's resources, with its GPUs. */}}
{{- define "lensora.resources" -}}
{{- $resources := deepCopy .resources -}}
{{- if .gpu.enabled -}}
{{- $_ := set $resources "limits" (set (default dict $resources.limits) .gpu.resource .gpu.count) -}}
{{- end -}}
{{- toYaml $resources -}}
{{- end }}

{{/* Settings as environment: {some_thing: 1} of mesh3d becomes MESH3D_SOME_THING="1". */}}
{{- define "lensora.settings" -}}
{{- range $key, $value := .settings }}
- name: {{ printf "%s_%s" $.prefix $key | upper }}
  value: {{ ternary (toJson $value) (toString $value) (or (kindIs "slice" $value) (kindIs "map" $value)) | quote }}
{{- end }}
{{- end }}

{{- define "lensora.telemetryEnv" -}}
{{- if or .Values.collector.enabled .Values.collector.endpoint }}
- name: OTEL_EXPORTER_OTLP_ENDPOINT
  value: {{ .Values.collector.endpoint | default (printf "http://%s-collector:4317" (include "lensora.fullname" .)) | quote }}
- name: OTEL_METRIC_EXPORT_INTERVAL
  value: "10000"
{{- end }}
{{- end }}

{{- define "lensora.tritonAddress" -}}
{{- .Values.triton.address | default (printf "%s-triton:8001" (include "lensora.fullname" .)) -}}
{{- end }}

{{/* The address that presigned URLs begin with, and so the only one that services may read and write at. */}}
{{- define "lensora.blobPrefix" -}}
{{- if eq .Values.stores.kind "embedded" -}}
file:///var/lib/lensora/blobs/
{{- else -}}
{{- $blobs := .Values.stores.blobs -}}
{{- $endpoint := $blobs.endpoint | default (printf "https://s3.%s.amazonaws.com" $blobs.region) -}}
{{- printf "%s/%s/" (trimSuffix "/" $endpoint) ($blobs.url | trimPrefix "s3://" | trimSuffix "/") -}}
{{- end -}}
{{- end }}

{{/* Whether the gateway's calls are told their way by our control plane. */}}
{{- define "lensora.xds" -}}
{{- if eq .Values.trafficMode "xds" }}true{{ end -}}
{{- end }}

{{- define "lensora.mtls" -}}
{{- if and .Values.mtls.enabled (eq .Values.trafficMode "xds") }}true{{ end -}}
{{- end }}

{{/* What a gRPC server inside the mesh is told. */}}
{{- define "lensora.serverEnv" -}}
- name: {{ .prefix }}_HEALTH_LISTEN
  value: "0.0.0.0:{{ .root.Values.healthPort }}"
{{- if include "lensora.mtls" .root }}
- name: {{ .prefix }}_CERTIFICATES
  value: /etc/lensora/tls
{{- end }}
{{- end }}

{{- define "lensora.tlsVolume" -}}
{{- if include "lensora.mtls" .root }}
- name: tls
  secret: {secretName: {{ include "lensora.fullname" .root }}-{{ .component }}{{ .root.Values.mtls.secretSuffix }}, defaultMode: 0440}
{{- end }}
{{- end }}

{{/* Milliseconds that a request to these models of Triton waits in its queue. */}}
{{- define "lensora.tritonQueueQuery" -}}
1e-3 * sum(rate(nv_inference_queue_duration_us{model=~"{{ . }}"}[2m])) / clamp_min(sum(rate(nv_inference_request_success{model=~"{{ . }}"}[2m])), 0.001)
{{- end }}

{{/* Where the gateway keeps things. */}}
{{- define "lensora.storeEnv" -}}
{{- if eq .Values.stores.kind "embedded" }}
- name: GATEWAY_MIGRATE
  value: "true"
{{- else }}
- name: GATEWAY_MIGRATE
  value: {{ not .Values.stores.migrations.enabled | quote }}
- name: GATEWAY_DATABASE_URL
  valueFrom:
    secretKeyRef: {name: {{ .Values.stores.database.existingSecret }}, key: {{ .Values.stores.database.key }}}
- name: GATEWAY_BLOBS_URL
  value: {{ .Values.stores.blobs.url | quote }}
{{- with .Values.stores.blobs.endpoint }}
- name: AWS_ENDPOINT_URL
  value: {{ . | quote }}
{{- end }}
- name: AWS_REGION
  value: {{ .Values.stores.blobs.region | quote }}
{{- range $variable, $key := dict "AWS_ACCESS_KEY_ID" "access-key-id" "AWS_SECRET_ACCESS_KEY" "secret-access-key" }}
- name: {{ $variable }}
  valueFrom:
    secretKeyRef: {name: {{ $.Values.stores.blobs.existingSecret }}, key: {{ $key }}}
{{- end }}
{{- end }}
{{- end }}

{{/* Where the gateway finds the services: by the mesh; and where without it, or until it has been there. */}}
{{- define "lensora.targetEnv" -}}
{{- $full := include "lensora.fullname" . -}}
{{- $xds := include "lensora.xds" . -}}
{{- range $name, $service := .Values.services }}
- name: GATEWAY_{{ upper $name }}_TARGET
  value: {{ printf "%s-%s%s:%v" $full $name (ternary "-stable" "" (eq $xds "true")) $service.port | quote }}
{{- end }}
{{- if $xds }}
# each gateway has a name of its own in the mesh: $(…) is the kubelet's to fill in
- name: GRPC_XDS_BOOTSTRAP_CONFIG
  value: {{ include "lensora.bootstrap" . | fromJson | toJson | quote }}
{{- end }}
{{- end }}

{{- define "lensora.controlplaneEnv" -}}
- name: CONTROLPLANE_SOURCE
  value: kubernetes
- name: CONTROLPLANE_CONFIG_MAP
  value: {{ include "lensora.fullname" . }}-mesh
- name: CONTROLPLANE_LISTEN
  value: "0.0.0.0:18000"
{{- include "lensora.serverEnv" (dict "root" . "prefix" "CONTROLPLANE") | nindent 0 }}
{{- include "lensora.telemetryEnv" . | nindent 0 }}
{{- end }}

{{/* Names that a component's certificate must carry: the first is who it is in the mesh. */}}
{{- define "lensora.certificateNames" -}}
- {{ .component }}.lensora.internal
- {{ include "lensora.fullname" .root }}-{{ .component }}
- {{ include "lensora.fullname" .root }}-{{ .component }}.{{ .root.Release.Namespace }}.svc
{{- if eq .component "controlplane" }}
# for who comes by `kubectl port-forward`
- localhost
{{- end }}
{{- end }}

{{/* The mesh as the control plane reads it. */}}
{{- define "lensora.mesh" -}}
version: 1
tls: {{ eq (include "lensora.mtls" .) "true" }}
services:
  {{- $full := include "lensora.fullname" . }}
  {{- range $name, $service := include "lensora.services" . | fromYaml }}
  {{- $traffic := $service.traffic }}
  {{ $name }}:
    {{- range $track, $this := include "lensora.tracks" (dict "service" $service) | fromYaml }}
    {{ $track }}: {weight: {{ $this.weight }}, service: {{ $full }}-{{ $name }}-{{ $track }}, port: grpc}
    {{- end }}
    timeout_s: {{ $traffic.timeoutSeconds }}
    retry: {attempts: {{ $traffic.attempts }}}
    outliers: {failure_percent: {{ $traffic.failurePercent }}, ejection_s: {{ $traffic.ejectionSeconds }}}
    max_requests: {{ $traffic.maxRequests }}
  {{- end }}
{{- end }}

{{/* What gRPC in the gateway is told at its start: where the control plane is, and its own certificates. */}}
{{- define "lensora.bootstrap" -}}
{{- $provider := dict "certificate_file" "/etc/lensora/tls/tls.crt" "private_key_file" "/etc/lensora/tls/tls.key" "ca_certificate_file" "/etc/lensora/tls/ca.crt" "refresh_interval" "60.000s" -}}
{{- $mtls := include "lensora.mtls" . -}}
{{- $credentials := ternary (dict "type" "tls" "config" $provider) (dict "type" "insecure") (eq $mtls "true") -}}
{{- $server := dict "server_uri" (printf "dns:///%s-controlplane:18000" (include "lensora.fullname" .)) "channel_creds" (list $credentials) "server_features" (list "xds_v3") -}}
{{- $bootstrap := dict "xds_servers" (list $server) "node" (dict "id" "$(GATEWAY_EXECUTOR_ID)" "cluster" "lensora") -}}
{{- if $mtls }}{{ $_ := set $bootstrap "certificate_providers" (dict "mesh" (dict "plugin_name" "file_watcher" "config" $provider)) }}{{ end -}}
{{- toJson $bootstrap -}}
{{- end }}
