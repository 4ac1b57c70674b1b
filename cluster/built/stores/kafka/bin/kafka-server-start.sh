#!/bin/bash
# Runs a broker in the foreground: kafka-server-start.sh FILE [--override KEY=VALUE]...
if [ $# -eq 0 ]; then
  echo "USAGE: $0 server.properties [--override property=value]*" >&2
  exit 1
fi
[ "$1" != -daemon ] || { echo "-daemon is not supported: the broker is the container's process" >&2; exit 1; }
export KAFKA_LOG4J_OPTS=${KAFKA_LOG4J_OPTS:--Dlog4j.configuration=file:/opt/kafka/config/log4j.properties}
export KAFKA_HEAP_OPTS=${KAFKA_HEAP_OPTS:--Xmx1G -Xms1G}
# shellcheck disable=SC2086 # a list of words
exec /opt/kafka/bin/kafka-run-class.sh ${EXTRA_ARGS--name kafkaServer -loggc} kafka.Kafka "$@"
