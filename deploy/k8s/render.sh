#!/bin/sh
# Render the plain manifests from the chart: sh deploy/k8s/render.sh > deploy/k8s/plain.yaml
set -eu
cd "$(dirname "$0")"
cat <<'HEAD'
# Rendered by deploy/k8s/render.sh from the chart beside this file. Do not edit.
#
#   kubectl create namespace caxton
#   kubectl -n caxton create secret generic caxton-gossip --from-file=gossip.key
#   kubectl -n caxton create secret generic caxton-tls --from-file=ca.crt --from-file=caxton-0.crt …
#   kubectl -n caxton apply -f plain.yaml
HEAD
"${HELM:-helm}" template caxton caxton --namespace caxton --kube-version 1.31.0 \
  --values caxton/ci/plain-values.yaml --skip-tests
