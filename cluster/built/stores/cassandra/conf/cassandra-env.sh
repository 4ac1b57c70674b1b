# shellcheck shell=bash disable=SC2034
# Turns the environment into JVM_OPTS: heap, GC log, JMX, agent. Sourced by cassandra and nodetool, after the
# options files. Variables: docs/images.md.
heap_is_set() { case "$JVM_OPTS" in *-Xmx*) true ;; *) false ;; esac; }

# A quarter of the machine's memory, at least 1 GiB or half of it, at most 8 GiB. Always better set by hand:
# this sees the machine, not the container.
if [ -z "$MAX_HEAP_SIZE" ] && [ -z "$HEAP_NEWSIZE" ]; then
  memory=$(free -m | awk '/^Mem:/ { print $2 }')
  half=$((memory / 2)) quarter=$((memory / 4))
  [ $half -le 1024 ] || half=1024
  [ $quarter -le 8192 ] || quarter=8192
  if [ $half -gt $quarter ]; then calculated_heap=${half}M; else calculated_heap=${quarter}M; fi
else
  # With G1 the young generation sizes itself; a tool has no G1 in its options, and so wants both.
  case "$JVM_OPTS" in
    *UseG1GC*) pair_needed= ;;
    *) pair_needed=yes ;;
  esac
  if [ -n "$pair_needed" ] && { [ -z "$MAX_HEAP_SIZE" ] || [ -z "$HEAP_NEWSIZE" ]; }; then
    echo "please set or unset MAX_HEAP_SIZE and HEAP_NEWSIZE in pairs (see cassandra-env.sh)" >&2
    exit 1
  fi
  calculated_heap=$MAX_HEAP_SIZE
fi
heap_is_set || JVM_OPTS="$JVM_OPTS -Xms$calculated_heap -Xmx$calculated_heap"

export MALLOC_ARENA_MAX=${MALLOC_ARENA_MAX:-4}

case "$JVM_OPTS" in
  *-Xlog:gc*) ;;
  *) JVM_OPTS="$JVM_OPTS -Xlog:gc=info,heap*=debug,safepoint=info,promotion*=debug:file=$CASSANDRA_LOG_DIR/gc.log:time,uptime,pid,tid,level:filecount=10,filesize=10485760" ;;
esac
[ -z "$CASSANDRA_HEAPDUMP_DIR" ] || JVM_OPTS="$JVM_OPTS -XX:HeapDumpPath=$CASSANDRA_HEAPDUMP_DIR/cassandra-$(date +%s)-pid$$.hprof"

# JMX on the loopback interface only, unless LOCAL_JMX=no, which asks for a password file.
JMX_PORT=${JMX_PORT:-7199}
if [ "${LOCAL_JMX:-yes}" = yes ]; then
  JVM_OPTS="$JVM_OPTS -Dcassandra.jmx.local.port=$JMX_PORT -Dcom.sun.management.jmxremote.authenticate=false"
else
  JVM_OPTS="$JVM_OPTS -Dcassandra.jmx.remote.port=$JMX_PORT -Dcom.sun.management.jmxremote.rmi.port=$JMX_PORT -Dcom.sun.management.jmxremote.authenticate=true -Dcom.sun.management.jmxremote.password.file=/etc/cassandra/jmxremote.password"
fi

for agent in "$CASSANDRA_HOME"/lib/jamm-*.jar; do JVM_OPTS="$JVM_OPTS -javaagent:$agent"; done
JVM_OPTS="$JVM_OPTS $JVM_EXTRA_OPTS"
