# shellcheck shell=bash
# The checks of tests of scripts: each counts as passed or failed, and a failed one shows the difference. `verdict` ends a
# test with the line `N passed, N failed`.

passed=0 failed=0

is() { # NAME EXPECTED ACTUAL
  if [ "$2" = "$3" ]; then
    passed=$((passed + 1))
  else
    failed=$((failed + 1))
    printf 'FAILED: %s\n' "$1"
    diff <(printf '%s\n' "$2") <(printf '%s\n' "$3") || true
  fi
}
# The same for text that must be in the actual one.
has() { # NAME PART ACTUAL
  case $3 in *"$2"*) is "$1" "" "" ;; *) is "$1" "...$2..." "$3" ;; esac
}
# The same for text that must not be in it.
lacks() { # NAME PART ACTUAL
  case $3 in *"$2"*) is "$1" "nothing like $2" "$3" ;; *) is "$1" "" "" ;; esac
}
fails() { # NAME COMMAND...
  local name=$1
  shift
  if "$@" >/dev/null 2>&1; then is "$name" "a failure" "success"; else is "$name" "" ""; fi
}

verdict() {
  printf '%d passed, %d failed\n' "$passed" "$failed"
  [ "$failed" = 0 ]
}
