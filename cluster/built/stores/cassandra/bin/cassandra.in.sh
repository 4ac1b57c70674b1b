# shellcheck shell=bash disable=SC2034,SC2154,SC2013
# What server and tools share: class path, and the options of jvm$variant.options and jvm17$variant.options in
# $CASSANDRA_CONF, added to JVM_OPTS. Sourced with `variant` set to -server or -clients.
CASSANDRA_HOME=${CASSANDRA_HOME:-/opt/cassandra}
CASSANDRA_CONF=${CASSANDRA_CONF:-/etc/cassandra}
CASSANDRA_LOG_DIR=${CASSANDRA_LOG_DIR:-/var/log/cassandra}
CLASSPATH="$CASSANDRA_CONF:$CASSANDRA_HOME/lib/*"
JAVA=${JAVA_HOME:-/opt/java/openjdk}/bin/java
for option in $(grep -hs '^-' "$CASSANDRA_CONF/jvm$variant.options" "$CASSANDRA_CONF/jvm17$variant.options"); do
  JVM_OPTS="$JVM_OPTS $option"
done
