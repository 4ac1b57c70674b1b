#!/bin/bash
# Gives the server its id and the list of servers that it starts with, then becomes the server.
#
# Who votes is agreed upon by the servers, and each keeps it on its volume. A server whose volume has no such list, or one
# that it is not in, asks those that vote to take it in: it is an observer of its own list, so that it can found nothing
# with others of its kind (docs/decisions/0026-zookeeper-membership.md).
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
# Of versions in which the number of servers could not change.
rm -f /data/ensemble-size

# ZooKeeper rewrites its configuration file, and names in it the list that was agreed upon last.
mkdir -p /data/conf
list=$(sed -n 's/^dynamicConfigFile=//p' /data/conf/zoo.cfg 2>/dev/null || true)
[[ -n $list && -s $list ]] || list=

votes_in() { # FILE
  grep -q "^server\.$id=.*:participant" "$1"
}

# Succeeds if the volume is empty, although the ensemble had founded itself.
is_lost() {
  [[ ! -e /data/version-2 && -e /members/founded ]]
}

if [[ -n $list ]] && votes_in "$list"; then
  echo "server $id votes, as its volume says"
elif [[ -z $list ]] && votes_in /members/servers && ! is_lost; then
  echo "server $id is one of those that found the ensemble, or takes its own over from an earlier version"
  # What follows the last dot would be taken for a version if it were a hexadecimal number.
  list=/data/conf/founding.list
  cp /members/servers "$list"
else
  echo "server $id asks those that vote to take it in"
  list=/data/conf/joining.list
  if ! grep -v "^server\.$id=" /members/servers >"$list"; then
    echo "this volume is empty, and no other server has what was on it: ZooKeeper lost its volume, and with it the names of" \
      "all topics; the runbook \"ZooKeeper lost its volume\" says what can be kept" >&2
    exit 66
  fi
  echo "server.$id=$HOSTNAME.$NODES_HOST:2888:3888:observer;2181" >>"$list"
fi

# Succeeds if the name that others know this server by leads to this pod.
resolves() {
  local address _
  read -r address _ < <(getent ahosts "$HOSTNAME.$NODES_HOST") &&
    [[ $'\n'$(getent ahosts "$HOSTNAME") == *$'\n'"$address "* ]]
}

# A leader compares the address that its name had when it started with the one that it has now. If they differ, it can never
# lead, and ends every election that it wins (`Leader.getDesignatedLeader`). A pod's name is known some time after the pod has
# started, to one server of the name service earlier than to another: hence three answers in a row.
in_a_row=0
until ((in_a_row == 3)); do
  if resolves; then in_a_row=$((in_a_row + 1)); else in_a_row=0; fi
  if ((SECONDS > 60)); then
    echo "$HOSTNAME.$NODES_HOST does not resolve to this pod; check the cluster's DNS" >&2
    exit 1
  fi
  sleep 0.2
done

# Renamed, so that a crash leaves the whole of the one or of the other.
{ cat "$ZOOCFGDIR/zoo.cfg" && echo "dynamicConfigFile=$list"; } >/data/conf/zoo.cfg.new
mv /data/conf/zoo.cfg.new /data/conf/zoo.cfg
exec zkServer.sh start-foreground /data/conf/zoo.cfg
