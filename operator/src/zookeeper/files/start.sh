#!/bin/bash
# Gives the server its id, makes sure that its volume was written by an ensemble of the same size, then becomes the
# server. A smaller ensemble on old volumes would have a majority that an acknowledged write may never have reached.
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

# A single server is not listed.
size=$(grep -c '^server\.' "$ZOOCFGDIR/zoo.cfg" || true)
((size > 0)) || size=1
if [[ -s /data/ensemble-size ]]; then
  found=$(</data/ensemble-size)
  if [[ $found != "$size" ]]; then
    echo "this volume belongs to an ensemble of $found servers, and the pipeline asks for $size;" \
      "create it with spec.zookeeper.replicas: $found, or delete the volume claims of all stores to start empty" >&2
    exit 1
  fi
else
  echo "$size" >/data/ensemble-size
fi
exec zkServer.sh start-foreground
