# shellcheck shell=bash
# How far a long build is: a line on the terminal every half minute, with parts done of how many and an estimate.

# Seconds between two lines.
readonly REPORT_EVERY=${MILLRACE_REPORT_SECONDS:-30}

# Runs a command in the foreground, and beside it reports how far it is.
with_progress() { # WHAT PARTS HOW-FAR COMMAND [ARGUMENT...]
  local reporter status=0
  report_progress "$1" "$2" "$3" $BASHPID &
  reporter=$!
  shift 3
  "$@" || status=$?
  kill "$reporter" 2>/dev/null || true
  return $status
}

# Reports until the process that builds is gone. HOW-FAR prints `DONE TOTAL SHARE`, where SHARE is the part of the time,
# in percent, that this much takes, or in words what it waits for; while it prints nothing, only the time is reported.
report_progress() { # WHAT PARTS HOW-FAR PID
  local began=$SECONDS parts total share spent line pause=''
  # Where the build is killed, this goes on until its next line, and must not hold the locks until then.
  exec 8>&- 9>&-
  # A pause that outlived us would keep the log open.
  trap 'kill "$pause" 2>/dev/null; exit' TERM
  while sleep "$REPORT_EVERY" & pause=$!; wait "$pause" && kill -0 "$4" 2>/dev/null; do
    spent=$((SECONDS - began)) parts='' total='' share=''
    read -r parts total share < <($3 2>/dev/null) || true
    line="$1: $(printf '%d:%02d' $((spent / 60)) $((spent % 60)))"
    if [[ $parts == [0-9]* ]]; then
      line+=", $parts of $total $2"
      [ "$share" -lt 5 ] || line+=", about $(minutes $((spent * (100 - share) / share))) left"
    elif [ -n "$parts" ]; then
      line+=", $parts $total $share"
    fi
    note "$line"
  done
}

minutes() { # SECONDS
  if [ "$1" -lt 60 ]; then echo "1 min"; else echo "$((($1 + 30) / 60)) min"; fi
}

# How far cargo is, by the bar that it draws into a log.
cargo_progress() { # LOG
  local parts total
  read -r parts total < <(tr '\r' '\n' <"$1" | grep -oE '\] [0-9]+/[0-9]+' | tail -n 1 | tr -c '0-9\n' ' ')
  if [ -n "$total" ]; then
    echo "$parts $total $(cargo_share $((100 * parts / total)))"
  elif tail -n 1 "$1" | grep -q 'Blocking waiting for file lock'; then
    echo "waiting for another cargo in this directory"
  fi
}

# The share of cargo's time that a share of its units takes, both in percent: the first units are small, the last
# ones large. Read from `cargo build --timings` of a build from nothing, on two cores beside `make cluster`.
cargo_share() { # UNITS
  local units=(0 10 20 30 40 50 60 70 80 90 95 98 100) time=(0 6 14 24 35 43 50 62 76 82 87 95 100) i
  for ((i = 1; i < ${#units[@]} - 1 && units[i] < $1; i++)); do :; done
  echo $((time[i - 1] + ($1 - units[i - 1]) * (time[i] - time[i - 1]) / (units[i] - units[i - 1])))
}
