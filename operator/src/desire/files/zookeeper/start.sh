#!/bin/bash
# Gives the server its id, then becomes the server.
set -euo pipefail

id=$((${HOSTNAME##*-} + 1))
if [[ -s /data/myid ]]; then
  found=$(</data/myid)
  if [[ $found != "$id" ]]; then
    echo "this volume belongs to server $found, and this pod is server $id; give the pod its own volume" >&2
    exit 1
  fi
else
  echo "$id" >/data/myid
fi
exec zkServer.sh start-foreground
