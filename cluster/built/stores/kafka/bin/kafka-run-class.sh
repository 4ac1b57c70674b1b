#!/bin/bash
# Runs one class of Kafka's: kafka-run-class.sh [-name NAME] [-loggc] CLASS [ARGUMENT...]
# Written for the contract in docs/images.md; the variables and defaults are those of Kafka's own script.
name=
gc_log=
while [ $# -gt 0 ]; do
  case $1 in
    -name) name=$2; shift 2 ;;
    -loggc) gc_log=yes; shift ;;
    *) break ;;
  esac
done
if [ $# -eq 0 ]; then
  echo "USAGE: $0 [-name NAME] [-loggc] CLASS [ARGUMENT...]" >&2
  exit 1
fi

LOG_DIR=${LOG_DIR:-/opt/kafka/logs}
[ -d "$LOG_DIR" ] || mkdir -p "$LOG_DIR"

[ -z "$gc_log" ] || [ -n "$KAFKA_GC_LOG_OPTS" ] ||
  KAFKA_GC_LOG_OPTS="-Xlog:gc*:file=$LOG_DIR/$name-gc.log:time,tags:filecount=10,filesize=100M"
[ -n "$KAFKA_JMX_OPTS" ] ||
  KAFKA_JMX_OPTS="-Dcom.sun.management.jmxremote=true -Dcom.sun.management.jmxremote.authenticate=false -Dcom.sun.management.jmxremote.ssl=false"
[ -z "$JMX_PORT" ] || KAFKA_JMX_OPTS="$KAFKA_JMX_OPTS -Dcom.sun.management.jmxremote.port=$JMX_PORT -Dcom.sun.management.jmxremote.rmi.port=$JMX_PORT"
[ -n "$KAFKA_LOG4J_OPTS" ] || KAFKA_LOG4J_OPTS=-Dlog4j.configuration=file:/opt/kafka/config/tools-log4j.properties
[ -n "$KAFKA_HEAP_OPTS" ] || KAFKA_HEAP_OPTS=-Xmx256M
[ -n "$KAFKA_JVM_PERFORMANCE_OPTS" ] ||
  KAFKA_JVM_PERFORMANCE_OPTS="-server -XX:+UseG1GC -XX:MaxGCPauseMillis=20 -XX:InitiatingHeapOccupancyPercent=35 -XX:+ExplicitGCInvokesConcurrent -XX:MaxInlineLevel=15 -Djava.awt.headless=true"

# These variables are lists of words.
# shellcheck disable=SC2086
exec "${JAVA_HOME:-/opt/java/openjdk}/bin/java" $KAFKA_HEAP_OPTS $KAFKA_JVM_PERFORMANCE_OPTS $KAFKA_GC_LOG_OPTS $KAFKA_JMX_OPTS \
  -Dkafka.logs.dir="$LOG_DIR" $KAFKA_LOG4J_OPTS -cp "${CLASSPATH:+$CLASSPATH:}/opt/kafka/libs/*" $KAFKA_OPTS "$@"
