#!/bin/sh
# The browser test: does in Debian's Chromium what a newcomer does, lets axe look at every view in both themes, measures the
# layout on a phone and on wide pages, and takes the screenshots of docs/console.
#
#   console/web/tests/run.sh URL TOKEN NAMESPACE PIPELINE [PARAM=VALUE …]
#
# The pipeline has a source with a cron schedule, and rows. The token may trigger runs and patch the pipeline. The params
# are those of the source that have no default. In the environment, if wanted:
#   READER_TOKEN  a token that may only read: its buttons must be off
#   SHOTS         folder of the screenshots; by itself docs/console. Empty: none are taken
#   WIDTH         width of the screenshots in pixels; by itself 1280, and 390 is a phone
#   ONLY          newcomer, accessibility, look, away, reader or shots: only that part
#   CHROMIUM      the browser; by itself chromium
set -eu
if [ "$#" -lt 4 ]; then
  sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//p;}' "$0"
  exit 2
fi
cd "$(dirname "$0")/.."
if ! command -v "${CHROMIUM:-chromium}" >/dev/null; then
  echo "there is no Chromium: apt-get install chromium" >&2
  exit 2
fi
[ -d node_modules ] || npm ci --no-audit --no-fund
node build.mjs --tests
exec node build/browser/main.mjs "$@"
