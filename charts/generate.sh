#!/usr/bin/env bash
# Writes all that is generated: the CRD (crds/ and the chart's copy), its reference (docs/reference/) and the chart's
# table of values. With --check it writes nothing, and fails where something checked in is not what it would write.
set -euo pipefail
cd "$(dirname "$0")/.."

readme=charts/millrace/README.md
begin='<!-- values, by charts/generate.sh -->'
end='<!-- end of values -->'

with_table() {
  sed "\\|^$begin\$|q" "$readme"
  awk -f charts/values-table.awk charts/millrace/values.yaml
  sed -n "\\|^$end\$|,\$p" "$readme"
}

if [ "${1:-}" = --check ]; then
  cargo test --quiet --workspace --test generated
  with_table | diff -u "$readme" - || { echo "$readme is not what values.yaml says; run 'make generate'" >&2; exit 1; }
else
  UPDATE_GENERATED=1 cargo test --quiet --workspace --test generated
  with_table >"$readme.new"
  mv "$readme.new" "$readme"
fi
