#!/bin/bash
# Succeeds if the answer to a four-letter word has a line that begins with the given text: answers.sh WORD TEXT
exec 3<>/dev/tcp/127.0.0.1/2181 || exit
printf '%s' "$1" >&3
grep -q "^$2" <&3
