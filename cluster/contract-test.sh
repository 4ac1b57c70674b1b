#!/usr/bin/env bash
# Runs the three store images and checks every line of their contract, docs/images.md: the way the operator runs
# them, as a user that is not root, on a read-only root, without capabilities. Images of either supplier must pass.
# The negative control runs the same checks on an image that is no store, where all of them must fail.
#
#   contract-test.sh                                all three; not again on images that have passed it
#   contract-test.sh kafka|zookeeper|cassandra...   the named ones, always
#
# shellcheck disable=SC2016 # scripts in single quotes are for the container's shell
# shellcheck disable=SC2317 # checks are called through `holds`
set -euo pipefail

. "$(dirname "${BASH_SOURCE[0]}")/lib/base.sh"

passed=0
failed=0
# Set by the negative control: then a check that holds is the failure.
control=
# The container that the checks look into, and the ZooKeeper that the broker needs.
readonly server=millrace-contract
readonly quorum=millrace-contract-zookeeper

holds() { # SENTENCE COMMAND...
  local sentence=$1 result=holds
  shift
  "$@" >"$LOGS/contract.log" 2>&1 || result=fails
  if [ "$result" = "${control:-holds}" ]; then
    passed=$((passed + 1))
    [ -n "$control" ] || printf '  ok      %s\n' "$sentence"
  else
    failed=$((failed + 1))
    printf '  FAILED  %s%s\n' "${control:+in the negative control, this holds: }" "$sentence"
    sed 's/^/          | /' "$LOGS/contract.log" | tail -n 5
  fi
}

# Starts the server. Its mounts stand in for emptyDir volumes; they belong to the user, since runc gives a tmpfs the
# mode of the directory below it.
serve() { # IMAGE USER:GROUP MOUNT,... SCRIPT [OPTION...]
  local image=$1 user=$2 script=$4 mount options=()
  for mount in ${3//,/ }; do options+=(--tmpfs "$mount:exec,uid=${user%:*},gid=${user#*:}"); done
  shift 4
  remove_containers
  docker run -d --name "$server" --read-only --user "$user" --cap-drop ALL --security-opt no-new-privileges \
    --env POD_IP=127.0.0.1 "${options[@]}" "$@" --entrypoint /bin/bash "$image" -ec "$script" >/dev/null
}

remove_containers() { docker rm -f -v "$server" "$@" >/dev/null 2>&1 || true; }

inside() { docker exec "$server" /bin/bash -c "$1"; }

# Waits for what the server is to answer; gives up at once when it has ended.
answers() { # SCRIPT
  local deadline=$((SECONDS + 120))
  # A server that is just starting may take a connection and never answer it.
  until docker exec "$server" timeout 20 /bin/bash -c "$1"; do
    if [ "$(docker inspect -f '{{.State.Running}}' "$server")" != true ] || [ $SECONDS -gt "$deadline" ]; then
      docker logs --tail 5 "$server"
      return 1
    fi
    sleep 0.5
  done
}

# Whether the server's java was given this word.
given() { inside "tr '\0' '\n' </proc/1/cmdline | grep -qxF -- '$1'"; }
not_given() { inside "tr '\0' '\n' </proc/1/cmdline | grep -q QuorumPeerMain" && ! inside "tr '\0' '\n' </proc/1/cmdline | grep -qF -- '$1'"; }

# The end that Kubernetes brings: SIGTERM to process 1, and a server that ends by itself within the grace period.
ends_on_sigterm() {
  docker stop -t 30 "$server"
  case $(docker inspect -f '{{.State.ExitCode}}' "$server") in 0 | 143) ;; *) return 1 ;; esac
}

logs_to_stdout() { docker logs "$server" | grep "$1" >/dev/null; }

refuses() { # USER:GROUP SCRIPT EXPECTED
  local output
  output=$(docker run --rm --user "$1" --entrypoint /bin/bash "$image" -c "$2" 2>&1) && return 1
  grep -qi "$3" <<<"$output"
}

account() { inside "grep -q '^$1:[^:]*:$2:$2:' /etc/passwd"; }

common() { # ACCOUNT ID
  holds "the account is $1, $2:$2" account "$1" "$2"
  holds "java is process 1" inside '[ "$(readlink /proc/1/exe)" = "$(readlink -f /opt/java/openjdk/bin/java)" ]'
  holds "/opt/java/openjdk is Java 17 or newer" inside "/opt/java/openjdk/bin/java -version 2>&1 | grep -qE '\"(1[7-9]|2[0-9])'"
}

shell_tools() { # IMAGE TOOL...
  local image=$1
  shift
  holds "has /bin/bash and: $*" docker run --rm --entrypoint /bin/bash "$image" -c "type -P $*"
}

zookeeper_contract() { # IMAGE
  serve "$1" 1000:1000 /conf,/data,/datalog,/logs,/tmp '
    printf "%s\n" tickTime=2000 dataDir=/data dataLogDir=/datalog clientPort=2181 admin.enableServer=false standaloneEnabled=true >/conf/zoo.cfg
    printf "<configuration><appender name=\"C\" class=\"ch.qos.logback.core.ConsoleAppender\"><encoder><pattern>ours %%m%%n</pattern></encoder></appender><root level=\"INFO\"><appender-ref ref=\"C\"/></root></configuration>" >/conf/logback.xml
    exec zkServer.sh start-foreground' \
    --env ZK_SERVER_HEAP=96 --env SERVER_JVMFLAGS=-Dserver.flag=1 --env JVMFLAGS=-Dboth.flag=1 --env JMXDISABLE=true --env ZOO_LOG_DIR=/logs
  holds "starts with zkServer.sh start-foreground and answers srvr" answers 'exec 3<>/dev/tcp/127.0.0.1/2181; printf srvr >&3; grep -q Mode: <&3'
  common zookeeper 1000
  holds "ZOOCFGDIR is /conf, and its logback.xml rules" logs_to_stdout '^ours '
  holds "ZK_SERVER_HEAP sets the heap, in MB" given -Xmx96m
  holds "SERVER_JVMFLAGS reaches the server" given -Dserver.flag=1
  holds "JVMFLAGS reaches the server" given -Dboth.flag=1
  holds "JMXDISABLE=true leaves JMX out" not_given jmxremote
  holds "ZOO_LOG_DIR is told to the server" given -Dzookeeper.log.dir=/logs
  holds "zkCli.sh is on PATH and speaks to the server" inside "zkCli.sh -server 127.0.0.1:2181 ls / 2>&1 | grep -q '\[zookeeper\]'"
  holds "zkCli.sh deletes a node, with a heap of ZK_CLIENT_HEAP, as the runbook for UnderReplicated does" inside "
    zkCli.sh -server 127.0.0.1:2181 create /controller here 2>&1 | grep -q 'Created /controller' &&
    ZK_CLIENT_HEAP=64 zkCli.sh -server 127.0.0.1:2181 delete /controller &&
    zkCli.sh -server 127.0.0.1:2181 ls / 2>&1 | grep -q '\[zookeeper\]'"
  holds "ends on SIGTERM" ends_on_sigterm
  serve "$1" 1000:1000 /data,/datalog,/logs,/tmp,/other '
    printf "%s\n" tickTime=2000 dataDir=/data clientPort=2181 admin.enableServer=false >/other/zoo.cfg
    exec zkServer.sh start-foreground /other/zoo.cfg'
  holds "takes an absolute configuration file" answers 'exec 3<>/dev/tcp/127.0.0.1/2181; printf srvr >&3; grep -q Mode: <&3'
  holds "/conf of the image has logback.xml" inside 'test -r /conf/logback.xml'
  # A quorum of one, as the operator founds it. The digest is that of the password `secretpw`.
  serve "$1" 1000:1000 /data,/datalog,/logs,/tmp '
    printf "%s\n" tickTime=2000 initLimit=10 syncLimit=5 dataDir=/data admin.enableServer=false reconfigEnabled=true standaloneEnabled=false \
      4lw.commands.whitelist=conf,srvr dynamicConfigFile=/data/founding.list >/data/zoo.cfg
    printf "%s\n" "server.1=127.0.0.1:2888:3888:participant;2181" >/data/founding.list
    echo 1 >/data/myid
    exec zkServer.sh start-foreground /data/zoo.cfg' \
    --env "SERVER_JVMFLAGS=-Dzookeeper.DigestAuthenticationProvider.digestAlg=SHA-256 -Dzookeeper.DigestAuthenticationProvider.superDigest=super:+c0fmP9eAYNs6lQnDQ2unIL7LJ7xYUOCqsaruHJqnTw="
  holds "says which servers vote, and the version" answers 'exec 3<>/dev/tcp/127.0.0.1/2181; printf conf >&3; grep -q ^version=1 <&3'
  holds "keeps who votes beside its configuration" inside 'grep -q "^dynamicConfigFile=/data/zoo.cfg.dynamic.1" /data/zoo.cfg'
  holds "lets only super change who votes" inside "
    printf 'reconfig -remove 9\n' | zkCli.sh -server 127.0.0.1:2181 2>&1 | grep -q 'Insufficient permission'"
  holds "knows super by its digest, and refuses an old view" inside "
    printf 'addauth digest super:secretpw\nreconfig -remove 9 -v 1\n' | zkCli.sh -server 127.0.0.1:2181 2>&1 | grep -q 'version No is not valid'"
}

kafka_contract() { # IMAGE
  local tool
  # A broker in ZooKeeper mode, as the operator's, with a ZooKeeper on the same loopback interface.
  remove_containers "$quorum"
  docker run -d --name "$quorum" --user 1000:1000 --tmpfs /data:uid=1000 --env ZK_SERVER_HEAP=96 --entrypoint /bin/bash "${STORE_IMAGES[1]}" -ec '
    printf "%s\n" tickTime=2000 dataDir=/data clientPort=2181 admin.enableServer=false >/tmp/zoo.cfg
    exec zkServer.sh start-foreground /tmp/zoo.cfg' >/dev/null
  serve "$1" 1000:1000 /config,/var/lib/kafka/data,/var/log/kafka,/etc/kafka/secrets,/mnt/shared/config,/tmp '
    printf "%s\n" broker.id=0 zookeeper.connect=127.0.0.1:2181 log.dirs=/var/lib/kafka/data/log offsets.topic.replication.factor=1 >/config/server.properties
    printf "%s\n" log4j.rootLogger=INFO,C log4j.appender.C=org.apache.log4j.ConsoleAppender log4j.appender.C.layout=org.apache.log4j.PatternLayout "log4j.appender.C.layout.ConversionPattern=ours %m%n" >/config/log4j.properties
    exec /opt/kafka/bin/kafka-server-start.sh /config/server.properties --override broker.id=7' \
    --network "container:$quorum" --env KAFKA_HEAP_OPTS=-Xmx192m --env KAFKA_OPTS=-Dkafka.opts=1 --env LOG_DIR=/var/log/kafka \
    --env KAFKA_LOG4J_OPTS=-Dlog4j.configuration=file:/config/log4j.properties --env "EXTRA_ARGS=-name kafkaServer"
  holds "starts with kafka-server-start.sh and listens" answers 'exec 3<>/dev/tcp/127.0.0.1/9092'
  common appuser 1000
  holds "KAFKA_HEAP_OPTS sets the heap" given -Xmx192m
  holds "KAFKA_OPTS reaches the server" given -Dkafka.opts=1
  holds "KAFKA_LOG4J_OPTS chooses the log's configuration; it goes to stdout" logs_to_stdout '^ours '
  holds "LOG_DIR is told to the server" given -Dkafka.logs.dir=/var/log/kafka
  holds "EXTRA_ARGS without -loggc leaves the GC log out" inside '! ls /var/log/kafka/*gc* && [ -d /var/log/kafka ] && [ -x /opt/kafka/bin/kafka-run-class.sh ]'
  holds "--override wins: the broker's id is 7" answers "/opt/kafka/bin/kafka-broker-api-versions.sh --bootstrap-server 127.0.0.1:9092 | grep -q 'id: 7 '"
  holds "kafka-topics.sh makes a topic" inside "/opt/kafka/bin/kafka-topics.sh --bootstrap-server 127.0.0.1:9092 --create --topic contract --partitions 2"
  holds "kafka-configs.sh changes it" inside "/opt/kafka/bin/kafka-configs.sh --bootstrap-server 127.0.0.1:9092 --alter --topic contract --add-config retention.ms=1000"
  holds "kafka-topics.sh shows it" inside "/opt/kafka/bin/kafka-topics.sh --bootstrap-server 127.0.0.1:9092 --describe --topic contract | grep -q retention.ms=1000"
  holds "kafka-storage.sh makes an id" inside "/opt/kafka/bin/kafka-storage.sh random-uuid | grep -qE '^[A-Za-z0-9_-]{22}\$'"
  for tool in console-consumer console-producer consumer-groups get-offsets reassign-partitions leader-election; do
    holds "kafka-$tool.sh runs" inside "/opt/kafka/bin/kafka-$tool.sh --version | grep -q 3.9"
  done
  holds "the class path is /opt/kafka/libs" inside 'ls /opt/kafka/libs/kafka_2.13-3.9.*.jar'
  holds "ends on SIGTERM, after a controlled shutdown" ends_on_sigterm
  remove_containers "$quorum"
}

cassandra_contract() { # IMAGE
  local image=$1
  serve "$1" 999:999 /config,/var/lib/cassandra,/var/log/cassandra,/tmp '
    cp -r /etc/cassandra/. /config/
    printf "%s\n" -Xms320m -Xmx320m -Xlog:gc:stdout >>/config/jvm-server.options
    exec cassandra -f' \
    --env CASSANDRA_CONF=/config --env CASSANDRA_LOG_DIR=/var/log/cassandra --env CASSANDRA_HEAPDUMP_DIR=/var/lib/cassandra \
    --env JVM_EXTRA_OPTS="-Dcassandra.ring_delay_ms=1 -Dextra.opts=1 -Dcassandra.skip_wait_for_gossip_to_settle=0" --env HOME=/tmp
  holds "starts with cassandra -f and answers CQL" answers 'exec 3<>/dev/tcp/127.0.0.1/9042'
  common cassandra 999
  holds "CASSANDRA_CONF is first on the class path" inside "tr '\0' '\n' </proc/1/cmdline | grep -q '^/config:'"
  holds "heap options in jvm-server.options count" given -Xmx320m
  holds "jvm17-server.options counts" given -XX:+UseG1GC
  holds "JVM_EXTRA_OPTS reaches the server" given -Dextra.opts=1
  holds "CASSANDRA_LOG_DIR is told to the server" given -Dcassandra.logdir=/var/log/cassandra
  holds "CASSANDRA_HEAPDUMP_DIR is told to the server" inside "tr '\0' '\n' </proc/1/cmdline | grep -q '^-XX:HeapDumpPath=/var/lib/cassandra/'"
  holds "-Xlog:gc in the options replaces the GC log file" inside '[ -x "$(type -P cassandra)" ] && ! ls /var/log/cassandra/gc.log'
  holds "the jamm agent is loaded" inside "tr '\0' '\n' </proc/1/cmdline | grep -q '^-javaagent:.*jamm'"
  holds "logs to stdout" logs_to_stdout 'CassandraDaemon'
  holds "nodetool status: up and normal" answers "nodetool status | grep -q ^UN"
  holds "nodetool with MAX_HEAP_SIZE alone refuses: set both or none" inside 'MAX_HEAP_SIZE=128M nodetool version 2>&1 | grep -q "in pairs"'
  holds "cqlsh reads a table" inside "cqlsh -e 'SELECT release_version FROM system.local' | grep -q 5.0"
  for file in cassandra.yaml cassandra-env.sh cassandra-rackdc.properties logback.xml logback-tools.xml commitlog_archiving.properties \
    jvm-server.options jvm-clients.options jvm17-server.options jvm17-clients.options; do
    holds "/etc/cassandra/$file is there for all to read" inside "[ -n \"\$(find -L /etc/cassandra/$file -perm -o+r)\" ]"
  done
  holds "nodetool drain, then ends on SIGTERM" eval 'inside "nodetool drain" && ends_on_sigterm'
  holds "refuses to run as user 0" refuses 0:0 'cassandra -f' root
  holds "refuses to run with group 0" refuses 999:0 'cassandra -f' root
  serve "$1" 999:999 /config,/var/lib/cassandra,/var/log/cassandra,/tmp 'cp -r /etc/cassandra/. /config/; exec cassandra -f' \
    --env CASSANDRA_CONF=/config --env MAX_HEAP_SIZE=288M --env HEAP_NEWSIZE=64M --env JVM_OPTS=-Djvm.opts=1
  holds "MAX_HEAP_SIZE with HEAP_NEWSIZE sets the heap" answers "tr '\0' '\n' </proc/1/cmdline | grep -qx -- -Xmx288M"
  holds "JVM_OPTS reaches the server" given -Djvm.opts=1
}

tools_of() { # STORE
  case $1 in
    cassandra) echo cp grep sed ls ps python3 ;;
    *) echo cp grep sed ls ;;
  esac
}

# What these images have passed, by their digests and this file's.
# shellcheck disable=SC2046 # a list of words
stamp=$CACHE/passed/contract-$(recipe contract-test.sh -- $(docker image inspect -f '{{.Id}}' "${STORE_IMAGES[@]}" debian:bookworm-slim))
if [ $# -eq 0 ] && [ -f "$stamp" ]; then
  echo "NOTE: not checked again: these very images passed on $(date -r "$stamp" -I): $(cat "$stamp")"
  exit
fi

trap 'remove_containers "$quorum"' EXIT
stores=("$@")
[ $# -gt 0 ] || stores=(zookeeper kafka cassandra)
for store in "${stores[@]}"; do
  for image in "${STORE_IMAGES[@]}"; do
    case $image in *"$store":*) break ;; esac
  done
  echo "$image"
  "${store}_contract" "$image"
  # shellcheck disable=SC2046 # a list of words
  shell_tools "$image" $(tools_of "$store")
done
echo "negative control: the same checks on debian:bookworm-slim, where each must fail"
control=fails
for store in "${stores[@]}"; do "${store}_contract" debian:bookworm-slim; done
control=

printf '%d passed, %d failed\n' $passed $failed
[ $failed -eq 0 ]
if [ $# -eq 0 ]; then
  mkdir -p "$CACHE/passed"
  echo "$passed checks" >"$stamp"
fi
