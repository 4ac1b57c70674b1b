#!/bin/bash
# Lets the brokers leave first when everything is deleted at once: without ZooKeeper they cannot hand over.
# Ends when the ensemble has no session left, or has no quorum, or after 15 s: then a broker is not about to leave.
while ((SECONDS < 15)); do
  exec 3<>/dev/tcp/127.0.0.1/2181 || exit 0
  printf mntr >&3
  sessions=$(sed -n 's/^zk_global_sessions[[:space:]]*//p' <&3)
  ((${sessions:-0} > 0)) || exit 0
  sleep 1
done
