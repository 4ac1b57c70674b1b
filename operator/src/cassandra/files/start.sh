#!/bin/bash
# Makes the node's configuration from the image's and the operator's, finds the other nodes, then becomes the node.
set -euo pipefail
# The first process of a container ignores what it has no trap for.
trap 'exit 143' TERM INT

# Written by ready.sh when the node has joined for the first time.
joined=/var/lib/cassandra/joined

# Prints the addresses of all nodes, ready or not, that have a pod now.
addresses() {
  python3 -c '
import socket, sys
try:
    answers = socket.getaddrinfo(sys.argv[1], None, type=socket.SOCK_STREAM)
except socket.gaierror:
    answers = []
print(*sorted({answer[4][0] for answer in answers}), sep="\n")' "$NODES_HOST"
}

# An answer that has our own address is younger than this pod, so it has every node that was there before.
until nodes=$(addresses) && grep -Fqx "$POD_IP" <<<"$nodes"; do
  if ((SECONDS > 60)); then
    echo "$NODES_HOST does not resolve to this pod's address $POD_IP, but to: ${nodes:-nothing}" >&2
    # Only a node that has joined can do without: another might found a second cluster beside the one it cannot see.
    [[ -e $joined ]] || exit 1
    break
  fi
  sleep 0.2
done
others=$(grep -Fvx "$POD_IP" <<<"$nodes" | grep . | paste -sd, || true)

# A node that is its own seed does not ask for data when it joins. So only two kinds may be: one that has joined
# already, which can thereby start while all others are down, and the very first.
if [[ -e $joined ]]; then
  seeds=$POD_IP${others:+,$others}
elif [[ -n $others ]]; then
  seeds=$others
elif [[ $HOSTNAME == "$FIRST_NODE" ]]; then
  seeds=$POD_IP
  # Evenly spread; the allocator would wait for others to show up before it chose.
  tokens=$(for ((i = 0; i < 16; i++)); do echo $((-(2 ** 63) + 2 ** 59 + i * 2 ** 60)); done | paste -sd,)
else
  echo "this node has yet to join, and no other node is there" >&2
  exit 1
fi

if [[ -z $others ]]; then
  # Nobody to gossip with: nothing to wait for.
  export JVM_EXTRA_OPTS=-Dcassandra.skip_wait_for_gossip_to_settle=0
fi

cp -R /etc/cassandra/* "$CASSANDRA_CONF"
# Its presence would turn on an older way to learn racks.
rm -f "$CASSANDRA_CONF/cassandra-topology.properties"
cp /millrace/logback.xml /millrace/jvm-server.options "$CASSANDRA_CONF"
# The options of a Java version come after ours, and the last one counts.
sed -i '/^-XX:MaxGCPauseMillis=/d' "$CASSANDRA_CONF"/jvm[0-9]*-server.options
sed "s/POD_IP/$POD_IP/; s/SEEDS/$seeds/" /millrace/cassandra.yaml >"$CASSANDRA_CONF/cassandra.yaml"
[[ -z ${tokens:-} ]] || echo "initial_token: $tokens" >>"$CASSANDRA_CONF/cassandra.yaml"
printf 'dc=%s\nrack=%s\n' "$DATACENTER" "$RACK" >"$CASSANDRA_CONF/cassandra-rackdc.properties"

# The segment that was written when the disk ran full ends torn. Cassandra takes that as an end in the youngest segment
# only, so whatever a later start leaves behind it would keep the node from ever starting again. Hence no start without
# room for what it writes: what the commit log holds, and no more than memtables do, which have half the heap.
log=/var/lib/cassandra/commitlog
if [[ -d $log ]]; then
  heap=$(sed -n 's/^-Xmx\([0-9]*\)m$/\1/p' /millrace/jvm-server.options)
  logged=$(du -sm "$log" | cut -f1)
  needed=$((64 + (logged < heap / 2 ? logged : heap / 2)))
  room=$(df -m --output=avail "$log" | tail -1)
  if ((room < needed)); then
    echo "the volume has only $((room)) MiB left, and a start may need $needed; enlarge it or make room" >&2
    exit 1
  fi
  # Segments without a row do the same if they are younger. Nothing is deleted.
  aside=/var/lib/cassandra/commitlog-empty
  empty=$(python3 /millrace/empty_segments.py "$log")
  while IFS= read -r segment; do
    mkdir -p "$aside"
    mv "$segment" "$aside"
    echo "moved ${segment##*/}, which holds no row, to $aside"
  done < <(grep . <<<"$empty")

  # A person's word for one start (docs/runbooks.md). Cassandra deletes what it has replayed; the links keep it.
  word=/var/lib/cassandra/replay-what-can-be-read
  if [[ -e $word ]]; then
    cp -al "$log" "$log-$(date +%s)"
    rm "$word"
    export JVM_EXTRA_OPTS="${JVM_EXTRA_OPTS:-} -Dcassandra.commitlog.ignorereplayerrors=true"
  fi
fi

exec cassandra -f
