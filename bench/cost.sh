#!/usr/bin/env bash
# What one record costs the processor's own road, in instructions and allocations, against what is recorded in
# bench/cost.json: numbers that are the same on every machine, unlike time. Prints `N passed, N failed`.
#
# A request allocates; a record of its own must not: with twice as many rows a request, records cost half as many.
#
#   bench/cost.sh            compares; not again what has passed: the same program, record and rule
#   bench/cost.sh --record   records what is measured now
set -euo pipefail
cd "$(dirname "$0")/.."

readonly FEWER=20480 MORE=61440 RECORDED=bench/cost.json
# Percent that a cost may be above its record before it fails; below, the record is to be renewed.
readonly TOLERANCE=5
# Most allocations of a record itself: 0.076 are its share of what the hand-over of 512 records allocates. One for every
# tenth record would be seen.
readonly OF_THE_RECORD=0.1

command -v valgrind >/dev/null || { echo "valgrind is missing: apt-get install valgrind"; exit 1; }
program=$(cargo build -q --workspace --example cost --message-format=json |
  sed -n 's/.*"executable":"\([^"]*\)".*/\1/p' | tail -1)
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
# Without line tables, which name the checkout.
strip -o "$scratch/program" "$program"
stamp=${MILLRACE_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/millrace}/passed/cost-$(cat "$scratch/program" "$0" $RECORDED | sha256sum | cut -c1-12)
if [ $# -eq 0 ] && [ -f "$stamp" ]; then
  echo "NOTE: not measured again: this very program passed on $(date -r "$stamp" -I)"
  exit
fi

instructions() { # RECORDS
  valgrind --tool=callgrind --callgrind-out-file="$scratch/callgrind" "$program" "$1" 2>"$scratch/valgrind" >/dev/null
  sed -n 's/.*Collected : \([0-9]*\).*/\1/p' "$scratch/valgrind"
}
allocations() { "$program" "$@" | cut -d' ' -f1; } # RECORDS [ROWS]

# Start and end cost the same for few records and for many: the difference is that of the records alone.
per_record() { # FEWER MORE
  awk -v a="$1" -v b="$2" -v n=$((MORE - FEWER)) 'BEGIN { printf "%.3f", (b - a) / n }'
}
now_instructions=$(per_record "$(instructions $FEWER)" "$(instructions $MORE)")
now_allocations=$(per_record "$(allocations $FEWER)" "$(allocations $MORE)")
in_larger_requests=$(per_record "$(allocations $FEWER 64)" "$(allocations $MORE 64)")
of_the_record=$(awk -v a="$now_allocations" -v b="$in_larger_requests" 'BEGIN { printf "%.3f", 2 * b - a }')

if [ "${1:-}" = --record ]; then
  printf '{"instructions": %s, "allocations": %s}\n' "$now_instructions" "$now_allocations" | tee $RECORDED
  exit
fi

failed=0
judge() { # NAME NOW
  local recorded
  recorded=$(sed -n "s/.*\"$1\": \([0-9.]*\).*/\1/p" $RECORDED)
  printf '%s a record: %s, recorded %s\n' "$1" "$2" "$recorded"
  awk -v now="$2" -v then="$recorded" -v percent=$TOLERANCE 'BEGIN { exit !(now <= then * (1 + percent / 100) + 0.01) }' ||
    { echo "more than $TOLERANCE % above the record: fix it, or say why and run bench/cost.sh --record"; failed=$((failed + 1)); }
}
judge instructions "$now_instructions"
judge allocations "$now_allocations"
echo "allocations a record whatever a request holds: $of_the_record, at most $OF_THE_RECORD"
awk -v now="$of_the_record" -v most=$OF_THE_RECORD 'BEGIN { exit !(now <= most) }' || failed=$((failed + 1))
echo "$((3 - failed)) passed, $failed failed"
[ $failed = 0 ]
mkdir -p "${stamp%/*}" && touch "$stamp"
