#!/usr/bin/env bash
# Writes the console's OpenAPI document, the page's types and the built page anew. With --check it fails where something
# checked in is not what that gives. Wants Node and npm.
set -euo pipefail
cd "$(dirname "$0")/.."

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

cargo build --quiet --workspace --bin console
"${CARGO_TARGET_DIR:-target}/debug/console" openapi >"$work/openapi.json"
if [ "${1:-}" = --check ]; then
  diff -u console/web/openapi.json "$work/openapi.json" || { echo "console/web/openapi.json is old; run 'make console-page'" >&2; exit 1; }
else
  cp "$work/openapi.json" console/web/openapi.json
fi

cd console/web
npm ci --silent --no-audit --no-fund --prefer-offline
npm run --silent types
npm run --silent check
npm run --silent build
[ "${1:-}" != --check ] || git diff --exit-code --stat -- src/api.d.ts dist || { echo "the built page is old; run 'make console-page'" >&2; exit 1; }
