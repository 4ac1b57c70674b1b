#!/bin/bash
# Succeeds if the node answers a CQL OPTIONS frame (protocol 4), which it does once it has joined.
exec 3<>/dev/tcp/127.0.0.1/9042 || exit
printf '\x04\x00\x00\x00\x05\x00\x00\x00\x00' >&3
# A response (84) of any flags and stream, SUPPORTED (06).
[[ $(head -c 5 <&3 | od -An -v -tx1 | tr -d ' \n') == 84??????06 ]] || exit
# start.sh asks for this mark.
[[ -e /var/lib/cassandra/joined ]] || : >/var/lib/cassandra/joined
