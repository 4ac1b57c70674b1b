#!/bin/bash
# Runs a server in the foreground: zkServer.sh [--config DIR] start-foreground [FILE]
# Written for the contract in docs/images.md; the variables and defaults are those of ZooKeeper's own script.
if [ "$1" = --config ]; then
  ZOOCFGDIR=$2
  shift 2
fi
ZOOCFGDIR=${ZOOCFGDIR:-/conf}
ZOO_LOG_DIR=${ZOO_LOG_DIR:-/logs}
if [ "$1" != start-foreground ]; then
  echo "Usage: $0 [--config <conf-dir>] start-foreground [<config-file>]" >&2
  exit 1
fi
# shellcheck disable=SC1091
[ ! -f "$ZOOCFGDIR/zookeeper-env.sh" ] || . "$ZOOCFGDIR/zookeeper-env.sh"
# shellcheck disable=SC1091
[ ! -f "$ZOOCFGDIR/java.env" ] || . "$ZOOCFGDIR/java.env"

file=${2:-zoo.cfg}
[[ $file = /* ]] || file=$ZOOCFGDIR/$file

management=()
if [ "${JMXDISABLE:-}" != true ]; then
  management=(-Dcom.sun.management.jmxremote -Dcom.sun.management.jmxremote.local.only="${JMXLOCALONLY:-false}")
  [ -z "${JMXPORT:-}" ] || management+=(-Dcom.sun.management.jmxremote.port="$JMXPORT"
    -Dcom.sun.management.jmxremote.authenticate="${JMXAUTH:-false}" -Dcom.sun.management.jmxremote.ssl="${JMXSSL:-false}")
fi

# These variables are lists of words; an -Xmx in them comes after ours, and wins.
# shellcheck disable=SC2086
exec "${JAVA_HOME:-/opt/java/openjdk}/bin/java" -Dzookeeper.log.dir="$ZOO_LOG_DIR" -XX:+HeapDumpOnOutOfMemoryError "-XX:OnOutOfMemoryError=kill -9 %p" \
  -cp "$ZOOCFGDIR:/opt/zookeeper/lib/*${CLASSPATH:+:$CLASSPATH}" -Xmx"${ZK_SERVER_HEAP:-1000}m" ${SERVER_JVMFLAGS:-} ${JVMFLAGS:-} "${management[@]}" \
  org.apache.zookeeper.server.quorum.QuorumPeerMain "$file"
