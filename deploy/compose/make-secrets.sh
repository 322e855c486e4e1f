#!/bin/sh
# Make the secrets of three nodes, once: an authority, a certificate for each, a key for gossip.
#
#   sh deploy/compose/make-secrets.sh [FOLDER]      default: secrets beside this file
#
# Needs `caxton` on the PATH, or CAXTON to say where it is. The authority's key stays in FOLDER/authority:
# move it where no node runs.
set -eu
caxton=${CAXTON:-caxton}
folder=${1:-$(dirname "$0")/secrets}
if [ -e "$folder/ca.crt" ]; then
  echo "$folder has secrets already" >&2
  exit 1
fi
umask 077
"$caxton" security init-ca --dir "$folder/authority"
for node in node-1 node-2 node-3; do
  "$caxton" security gen-cert --dir "$folder/authority" --node "$node"
  mv "$folder/authority/$node.crt" "$folder/authority/$node.key" "$folder/"
done
cp "$folder/authority/ca.crt" "$folder/ca.crt"
head -c 32 /dev/urandom | base64 > "$folder/gossip.key"
# Containers run as 10001 and have to read what is mounted.
chmod 0755 "$folder"
chmod 0644 "$folder"/*.crt
if chown 10001 "$folder"/*.key 2>/dev/null; then
  chmod 0400 "$folder"/*.key
else
  chmod 0644 "$folder"/*.key
  echo "run as root to keep the keys from other users of this machine: they may read them now" >&2
fi
echo "made $folder"
