#!/usr/bin/env bash
# What one record costs our own roads, in instructions and allocations, against what is recorded in bench/cost.json:
# numbers that are the same on every machine, unlike time. Prints `N passed, N failed`.
#
# `process` is the processor's; `map` and `copy` are the producer's, with twelve expressions and without. A request allocates; a record of its own must not: with twice as many rows a request, records cost half as many.
#
#   bench/cost.sh            compares; not again what has passed: the same program, record and rule
#   bench/cost.sh --record   records what is measured now
set -euo pipefail
cd "$(dirname "$0")/.."

readonly FEWER=20480 MORE=40960 RECORDED=bench/cost.json
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

instructions() { # ROAD RECORDS
  valgrind --tool=callgrind --callgrind-out-file="$scratch/callgrind" "$program" "$1" "$2" 2>"$scratch/valgrind" >/dev/null
  sed -n 's/.*Collected : \([0-9]*\).*/\1/p' "$scratch/valgrind"
}
allocations() { "$program" "$@" | cut -d' ' -f1; } # ROAD RECORDS [ROWS]

# Start and end cost the same for few records and for many: the difference is that of the records alone.
per_record() { # FEWER MORE
  awk -v a="$1" -v b="$2" -v n=$((MORE - FEWER)) 'BEGIN { printf "%.3f", (b - a) / n }'
}
measured=$(for road in process map copy; do
  printf '%s %s %s\n' "$road" "$(per_record "$(instructions $road $FEWER)" "$(instructions $road $MORE)")" \
    "$(per_record "$(allocations $road $FEWER)" "$(allocations $road $MORE)")"
done)
in_larger_requests=$(per_record "$(allocations process $FEWER 64)" "$(allocations process $MORE 64)")
of_the_record=$(awk -v b="$in_larger_requests" '$1 == "process" { printf "%.3f", 2 * b - $3 }' <<<"$measured")

if [ "${1:-}" = --record ]; then
  awk 'BEGIN { printf "{" } { printf "%s\"%s\": {\"instructions\": %s, \"allocations\": %s}", (NR == 1 ? "" : ", "), $1, $2, $3 }
    END { print "}" }' <<<"$measured" | tee $RECORDED
  exit
fi

failed=0 judged=1
judge() { # ROAD NAME NOW
  local recorded
  recorded=$(jq ".[\"$1\"].$2" $RECORDED)
  judged=$((judged + 1))
  printf '%s, %s a record: %s, recorded %s\n' "$1" "$2" "$3" "$recorded"
  awk -v now="$3" -v then="$recorded" -v percent=$TOLERANCE 'BEGIN { exit !(now <= then * (1 + percent / 100) + 0.01) }' ||
    { echo "more than $TOLERANCE % above the record: fix it, or say why and run bench/cost.sh --record"; failed=$((failed + 1)); }
}
while read -r road instructions allocations; do
  judge "$road" instructions "$instructions"
  judge "$road" allocations "$allocations"
done <<<"$measured"
echo "allocations a record whatever a request holds: $of_the_record, at most $OF_THE_RECORD"
awk -v now="$of_the_record" -v most=$OF_THE_RECORD 'BEGIN { exit !(now <= most) }' || failed=$((failed + 1))
echo "$((judged - failed)) passed, $failed failed"
[ $failed = 0 ]
mkdir -p "${stamp%/*}" && touch "$stamp"
