#!/usr/bin/env bash
# long.sh BUILD_FOLDER [EXECUTIONS]: every reader for so many executions, 10 million by default; one
# line each with what they took. A finding ends it.
set -euo pipefail
build=$1 executions=${2:-10000000}
here=$(dirname "${BASH_SOURCE[0]}")
log=$(mktemp)
trap 'rm -f "$log"' EXIT
for corpus in "$here"/corpus/*/; do
  reader=$(basename "$corpus")
  "$here/fuzz.sh" "$build/tests/fuzz/fuzz_$reader" "$corpus" -runs="$executions" >"$log" 2>&1 || {
    tail -n 40 "$log" >&2
    exit 1
  }
  awk -v reader="$reader" '
    /number_of_executed_units/ { executed = $2 }
    /peak_rss_mb/ { memory = $2 }
    END { printf "%-16s %10d executions, no finding, %d MB\n", reader, executed, memory }' "$log"
done
