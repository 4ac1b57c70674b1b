#!/bin/bash
# Succeeds if the broker answers an ApiVersions request (key 18, version 0, correlation 1, no client id) without error.
exec 3<>/dev/tcp/127.0.0.1/9092 || exit
printf '\x00\x00\x00\x0a\x00\x12\x00\x00\x00\x00\x00\x01\xff\xff' >&3
# Four bytes of length, then correlation 1 and error 0.
[[ $(head -c 10 <&3 | od -An -v -tx1 | tr -d ' \n') == ????????000000010000 ]]
