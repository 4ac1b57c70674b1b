#!/bin/bash
# Runs the broker of this pod's ordinal and hands signals on to it.
#
# Stays its parent instead of becoming it: a broker that is told to stop while ZooKeeper is gone waits for ZooKeeper
# without end, and only another process can end that.
set -euo pipefail
# The first process of a container ignores what it has no trap for.
trap 'exit 143' TERM INT

# Exported here and not in the pod: the tools that are run beside the broker would take the broker's heap.
export KAFKA_HEAP_OPTS="-Xms$BROKER_HEAP -Xmx$BROKER_HEAP"
export KAFKA_LOG4J_OPTS=-Dlog4j.configuration=file:/millrace/log4j.properties
export KAFKA_OPTS="-Djava.security.properties=/millrace/java.security ${BROKER_JVM_OPTIONS:-}"
export EXTRA_ARGS="-name kafkaServer"

# A broker that was killed stays registered until its ZooKeeper session ends, and one that finds itself registered ends
# itself. The log directory tells: no mark of a clean stop, and a checkpoint that a broker writes every 5 s. A session
# ends at most 12 s after its broker, and it takes a few seconds from here to the registration.
log=/var/lib/kafka/data/log
if [[ -e $log/replication-offset-checkpoint && ! -e $log/.kafka_cleanshutdown ]]; then
  rest=$(($(stat -c %Y "$log/replication-offset-checkpoint") + 15 - $(date +%s)))
  if ((rest > 0)); then
    echo "the last broker here was killed; waiting $rest s for its ZooKeeper session to end"
    sleep "$rest" &
    wait $!
  fi
fi

/opt/kafka/bin/kafka-server-start.sh /millrace/server.properties \
  --override "broker.id=${HOSTNAME##*-}" \
  --override "advertised.listeners=PLAINTEXT://$HOSTNAME.$NODES_HOST:9092" &
broker=$!

# Succeeds while the broker has a connection to ZooKeeper: remote port 2181 (885 in hexadecimal), established (01).
sees_zookeeper() {
  cat /proc/net/tcp /proc/net/tcp6 2>/dev/null | grep -Eq ': [0-9A-F]+:[0-9A-F]{4} [0-9A-F]+:0885 01 '
}

stop() {
  kill -TERM "$broker" 2>/dev/null || true
  local alone=0
  while kill -0 "$broker" 2>/dev/null; do
    if sees_zookeeper; then alone=0; else alone=$((alone + 1)); fi
    if ((alone > 15)); then
      echo "no connection to ZooKeeper for 15 s while stopping: ending the broker, which recovers its logs at the next start" >&2
      kill -KILL "$broker" 2>/dev/null || true
    fi
    sleep 1
  done
}
trap stop TERM INT

# A signal interrupts the first wait; the second one has the broker's own exit code.
wait "$broker" || true
code=0
wait "$broker" || code=$?

# A broker refuses a volume of another cluster in the middle of its log. The last line is what people are shown, and the
# operator knows the exit code (`intact.rs`).
written=$(sed -n 's/^cluster\.id=//p' $log/meta.properties 2>/dev/null || true)
if ((code == 1)) && [[ -n $written ]]; then
  zookeeper=$(sed -n 's/^zookeeper\.connect=//p' /millrace/server.properties)
  answer=$(KAFKA_HEAP_OPTS=-Xmx64m timeout 15 /opt/kafka/bin/kafka-run-class.sh org.apache.zookeeper.ZooKeeperMainWithTlsSupportForKafka \
    -server "$zookeeper" get /cluster/id 2>/dev/null || true)
  known=$(sed -n 's/.*"id":"\([^"]*\)".*/\1/p' <<<"$answer" | tail -1)
  if [[ -n $known && $known != "$written" ]]; then
    echo "this volume was written by Kafka cluster $written, and ZooKeeper has cluster $known: ZooKeeper lost its volume," \
      "and with it the names of all topics; the runbook \"ZooKeeper lost its volume\" says what can be kept" >&2
    exit 65
  fi
fi
exit "$code"
