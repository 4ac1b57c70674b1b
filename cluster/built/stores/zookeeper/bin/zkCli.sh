#!/bin/bash
# The command line: zkCli.sh [-server HOST:PORT] [COMMAND...]
ZOOCFGDIR=${ZOOCFGDIR:-/conf}
# shellcheck disable=SC2086 # lists of words
exec "${JAVA_HOME:-/opt/java/openjdk}/bin/java" -Xmx"${ZK_CLIENT_HEAP:-256}m" ${CLIENT_JVMFLAGS:-} ${JVMFLAGS:-} \
  -cp "$ZOOCFGDIR:/opt/zookeeper/lib/*" org.apache.zookeeper.ZooKeeperMain "$@"
