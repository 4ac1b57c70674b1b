#!/bin/bash
# Makes the node's configuration from the image's and the operator's, finds the other nodes, then becomes the node.
set -euo pipefail
# The first process of a container ignores what it has no trap for.
trap 'exit 143' TERM INT

# Written by ready.sh when the node has joined for the first time.
joined=/var/lib/cassandra/joined
# Written when this node begins to take the place of the one whose volume is gone, with that one's identity.
replacing=/var/lib/cassandra/replacing
# Written before this volume's node begins to leave the ring, with its identity.
leaving=/var/lib/cassandra/leaving
# Written when this volume's node has left the ring.
left=/var/lib/cassandra/left
# The ring that this node last dropped rows for, as the operator calls it.
cleaned=/var/lib/cassandra/cleaned
# On each line a pod, the identity of its node, and what that shall do: kept by the operator (cassandra/nodes.rs).
known=/millrace/nodes

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

# Prints the addresses of all nodes but this, with commas.
other_addresses() {
  addresses | grep -Fvx "$POD_IP" | grep . | paste -sd, || true
}

# Prints the identity of the node that was this pod's, and what the operator says of it; nothing: there was none.
past() {
  grep -s "^$HOSTNAME " "$known" | cut -d' ' -f2,3 || true
}

# Prints address and identity of every other node that node $1 has in its ring; fails unless the answer is whole.
peers_of() {
  local answer
  answer=$(timeout 30 cqlsh "$1" 9042 -e 'SELECT peer, host_id FROM system.peers_v2' 2>/dev/null) &&
    grep -q '^([0-9]* rows)$' <<<"$answer" &&
    sed -n 's/^ *\([0-9a-f.:]*\) *| *\([0-9a-f-]*\) *$/\1 \2/p' <<<"$answer"
}

# Prints what the first node of $1 that answers has in its ring.
ring_of() {
  local node
  for node in ${1//,/ }; do
    peers_of "$node" && return
  done
  return 1
}

# Prints the last address of the node of identity $1, as the first node of $2 says that knows it.
address_of() {
  local node
  for node in ${2//,/ }; do
    peers_of "$node" | sed -n "s/ $1\$//p" | grep . && return
  done
  return 1
}

# Does with nodetool what the operator asks of a node that runs, and asks again until it is done.
obey() {
  local identity word ring
  set +e
  unset JVM_EXTRA_OPTS
  while sleep 10; do
    [[ -e $joined ]] || continue
    read -r identity word < <(past)
    # What has begun is ended, also by a node that is wanted again: the others take it for one that leaves.
    if [[ $word == leave || -s $leaving ]]; then
      [[ ! -e $left ]] || continue
      if [[ ! -s $leaving ]]; then
        # The others forget the node while it still runs. From then on its pod may go before it can note that it has left.
        [[ $identity != - ]] || continue
        echo "$identity" >"$leaving"
        sync "$leaving"
        # A full volume takes no note, and then the node stays.
        [[ -s $leaving ]] || continue
      fi
      echo "leaving the ring"
      # The operator has seen to it that the pipeline's keyspace has nodes enough. Cassandra's own have three copies even
      # in a ring of two, which it would otherwise refuse to come to.
      nodetool decommission --force
      # The tool also succeeds while rows are still streamed for an earlier call, and fails if it was cut off.
      if [[ $(nodetool netstats 2>/dev/null) == *"Mode: DECOMMISSIONED"* ]]; then
        : >"$left"
        echo "left the ring"
      fi
      continue
    fi
    ring=$(grep -s '^ring ' "$known" | cut -d' ' -f2)
    if [[ -z $ring ]]; then
      continue
    elif [[ ! -e $cleaned ]]; then
      # A node that has just joined has no rows of others.
      echo "$ring" >"$cleaned"
    elif [[ $(<"$cleaned") != "$ring" ]]; then
      echo "the ring has changed: dropping rows that are no longer this node's"
      nodetool cleanup -j 1 && echo "$ring" >"$cleaned"
    fi
  done
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

# A node that was stopped while it left may have been forgotten by the others, or not. If it had, it must not come back; if
# not, it starts as a member, and leaves when it is told to again.
if [[ -s $leaving && ! -e $left ]]; then
  # What they heard from it last has reached all of them by then.
  until sleep 10 && peers=$(ring_of "$(other_addresses)"); do
    echo "this node was leaving the ring, and no other node answers whether it has left" >&2
  done
  if grep -q " $(<"$leaving")\$" <<<"$peers"; then
    echo "this node had not left the ring yet, and goes on as a member"
    rm "$leaving"
  else
    : >"$left"
  fi
fi

# Nothing that has left comes back as it was: the others have forgotten it, and rows were written and deleted since.
if [[ -e $left ]]; then
  while read -r identity word < <(past) && [[ $word == leave || $word == later ]]; do
    echo "this node has left the ring, and its pod is to go" >&2
    sleep 10
  done
  aside=/var/lib/cassandra/left-$(date +%s)
  mkdir "$aside"
  for part in data commitlog commitlog-empty hints saved_caches cdc_raw replacing cleaned joined leaving left; do
    [[ ! -e /var/lib/cassandra/$part ]] || mv "/var/lib/cassandra/$part" "$aside"
  done
  echo "this volume's node has left the ring; a new one joins, and what is left of the old one is in $aside"
  others=$(other_addresses)
fi

# A volume without data under a pod that has had a node: the old node's volume is gone. To join beside it would leave it in
# the ring for ever; so this one takes its place, when the operator sees that all others are well.
# One that was stopped on the way goes on; one that had taken the place, and could not note it, is that node by now.
read -r identity word < <(past) || true
if [[ ! -e $joined && -n $identity ]] &&
  [[ ! -d /var/lib/cassandra/data/system || $(cat "$replacing" 2>/dev/null) == "$identity" ]]; then
  # It ends, too, when the operator says no more: the node was given up, or the volumes of all are gone.
  while read -r identity word < <(past) && [[ $word != replace ]]; do
    echo "the volume of this pod's node is gone; waiting until the operator sees all other nodes up and normal" >&2
    sleep 10
  done
  others=$(other_addresses)
  if [[ $word == replace ]]; then
    if ! address=$(address_of "$identity" "$others"); then
      echo "the volume of node $identity is gone, and no other node says what its address was" >&2
      exit 1
    fi
    echo "$identity" >"$replacing"
    echo "taking the place of node $identity, which was last at $address"
    # Cassandra refuses if that node is up, and ignores it once this one has joined.
    export JVM_EXTRA_OPTS="${JVM_EXTRA_OPTS:-} -Dcassandra.replace_address_first_boot=$address"
  fi
fi

# A node that is its own seed does not ask for data when it joins. So only two kinds may be: one that has joined
# already, which can thereby start while all others are down, and the very first.
if [[ -e $joined ]]; then
  seeds=$POD_IP${others:+,$others}
elif [[ -n $others ]]; then
  seeds=$others
elif [[ $HOSTNAME == "$FIRST_NODE" ]] && ! grep -Eqsv "^(($HOSTNAME|ring) .*)?\$" "$known"; then
  # Nobody has a node to come back with: a second ring beside the one that was would lose its rows.
  seeds=$POD_IP
  # Evenly spread; the allocator would wait for others to show up before it chose.
  tokens=$(for ((i = 0; i < 16; i++)); do echo $((-(2 ** 63) + 2 ** 59 + i * 2 ** 60)); done | paste -sd,)
else
  echo "this node has yet to join, and no other node is there" >&2
  exit 1
fi

if [[ -z $others ]]; then
  # Nobody to gossip with: nothing to wait for.
  export JVM_EXTRA_OPTS="${JVM_EXTRA_OPTS:-} -Dcassandra.skip_wait_for_gossip_to_settle=0"
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

obey &
exec cassandra -f
