#!/usr/bin/env bash
# Makes the root of debian:bookworm-slim from Debian's packages, as a tar file. Like the official image it drops
# downloaded packages at once, and has no manuals; unlike it, it has CA certificates.
set -euo pipefail

readonly RELEASE=$1 OUTPUT=$2
HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

# usr-is-merged takes the place of usrmerge, for the sake of which minbase holds all of Perl.
# shellcheck disable=SC2016 # mmdebstrap expands $1
mmdebstrap --variant=minbase --include=ca-certificates,usr-is-merged --dpkgopt="$HERE/no-manuals.conf" \
  --customize-hook='chroot "$1" apt-get purge -y -q usrmerge perl perl-modules-5.36 libperl5.36' \
  --customize-hook="copy-in $HERE/docker-clean /etc/apt/apt.conf.d" \
  --customize-hook='rm -f "$1"/var/cache/apt/*.bin' "$RELEASE" "$OUTPUT"
