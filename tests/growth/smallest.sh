#!/usr/bin/env bash
# Runs tools/growth.sh on 16 and 64 ranks of one cluster; builds in the folder that is given.
set -euo pipefail

command -v smpirun >/dev/null || {
  echo "skipped: SimGrid is not installed (Debian: libsimgrid-dev)"
  exit
}
folder=$1
script=$(dirname "${BASH_SOURCE[0]}")/../../tools/growth.sh

fail() {
  echo "error: $*" >&2
  exit 1
}

output=$("$script" --no-install --build "$folder/build" --figure "$folder/growth.svg" \
  --ranks "16 64" --clusters 100)
echo "$output"
[[ $output == *"From 16 to 64 ranks x1.50, log P x1.50: growth like log P"* ]] ||
  fail "the merges did not grow like log P"
grep -q "one message per layer" "$folder/growth.svg" || fail "the figure has no curve"

! "$script" --no-install --ranks 2000 2>/dev/null || fail "2000 ranks were accepted"
