{{- define "millrace.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "millrace.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 52 | trimSuffix "-" -}}
{{- else -}}
{{- $name := include "millrace.name" . -}}
{{- if contains $name .Release.Name -}}
{{- .Release.Name | trunc 52 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name $name | trunc 52 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* Names of cluster-wide objects: two releases of one name in two namespaces must not share them. */}}
{{- define "millrace.clusterName" -}}
{{- printf "%s:%s" .Release.Namespace (include "millrace.fullname" .) -}}
{{- end -}}

{{- define "millrace.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/part-of: millrace
{{- end -}}

{{- define "millrace.selectorLabels" -}}
app.kubernetes.io/name: {{ include "millrace.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: operator
{{- end -}}

{{- define "millrace.consoleName" -}}
{{- printf "%s-console" (include "millrace.fullname" .) -}}
{{- end -}}

{{- define "millrace.consoleLabels" -}}
app.kubernetes.io/name: {{ include "millrace.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: console
{{- end -}}

{{/* What the console watches with its own account, for its history. What it shows, it reads with the viewer's. */}}
{{- define "millrace.consoleRules" -}}
- apiGroups: [millrace.dev]
  resources: [streamingpipelines]
  verbs: [list, watch]
- apiGroups: [""]
  resources: [pods]
  verbs: [list, watch]
{{- end -}}

{{- define "millrace.serviceAccountName" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "millrace.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{/* An image reference; takes a dict of `image` and `context`. */}}
{{- define "millrace.image" -}}
{{- if .image.digest -}}
{{- printf "%s@%s" .image.repository .image.digest -}}
{{- else -}}
{{- printf "%s:%s" .image.repository (default .context.Chart.AppVersion .image.tag) -}}
{{- end -}}
{{- end -}}

{{/* The watched namespaces, as a JSON list; empty for the whole cluster. */}}
{{- define "millrace.watched" -}}
{{- if eq .Values.scope "cluster" -}}
[]
{{- else -}}
{{- default (list .Release.Namespace) .Values.watchNamespaces | uniq | toJson -}}
{{- end -}}
{{- end -}}

{{/* Where `helm test` makes its pipeline: the release's namespace, or the first watched one. */}}
{{- define "millrace.testNamespace" -}}
{{- $watched := include "millrace.watched" . | fromJsonArray -}}
{{- if or (empty $watched) (has .Release.Namespace $watched) -}}
{{- .Release.Namespace -}}
{{- else -}}
{{- first $watched -}}
{{- end -}}
{{- end -}}

{{/*
All that the operator may do in a namespace of pipelines: what its code asks for, and no more. No Secrets, no pods made
or executed in, no wildcard. Server-side apply of an object that is not there needs `create` too. What it made is
removed by owner references, not by the operator, but for runs: it ends those that are cancelled, and deletes scheduled
ones that the history has no room for. And for stores whose storage was corrected before they had a volume, or grows.
*/}}
{{- define "millrace.rules" -}}
- apiGroups: [millrace.dev]
  resources: [streamingpipelines]
  verbs: [get, list, watch]
- apiGroups: [millrace.dev]
  resources: [streamingpipelines/status]
  verbs: [patch]
- apiGroups: [millrace.dev]
  resources: [ingestionruns]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [millrace.dev]
  resources: [ingestionruns/status]
  verbs: [patch]
- apiGroups: [batch]
  resources: [jobs]
  verbs: [get, list, watch, create, delete]
- apiGroups: [""]
  resources: [configmaps, serviceaccounts, services]
  verbs: [get, list, watch, create, patch]
- apiGroups: [apps]
  resources: [deployments, statefulsets]
  verbs: [get, list, watch, create, patch]
{{- if .Values.admissionPolicy.ownAccount }}
# Makes a store anew whose storage was corrected before it had a volume, and a StatefulSet whose claims have grown. The policy
# own-deletions lets nothing else be deleted, so there is no such right without it.
- apiGroups: [apps]
  resources: [statefulsets]
  verbs: [delete]
- apiGroups: [""]
  resources: [persistentvolumeclaims]
  verbs: [delete]
{{- end }}
- apiGroups: [networking.k8s.io]
  resources: [networkpolicies]
  verbs: [get, list, watch, create, patch]
- apiGroups: [policy]
  resources: [poddisruptionbudgets]
  verbs: [get, list, watch, create, patch]
# Deletes one to restart it.
- apiGroups: [""]
  resources: [pods]
  verbs: [get, list, watch, delete]
# Takes a label off them that other tools would delete them by, and lets them grow: the policy own-claims allows no more.
- apiGroups: [""]
  resources: [persistentvolumeclaims]
  verbs: [list, patch]
# Why pods are missing: only events say it for StatefulSets, claims and mounts.
- apiGroups: [""]
  resources: [events]
  verbs: [list]
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [create, patch]
{{- end -}}
