#!/usr/bin/env bash
# fuzz.sh PROGRAM CORPUS [OPTION...]: runs a libFuzzer program from the seeds in CORPUS, which stay
# as they are. What it finds is kept in a folder that the end of the output names.
set -euo pipefail
program=$1 corpus=$2
shift 2
work=$(mktemp -d)
cp -r "$corpus" "$work/corpus"
if "$program" "$work/corpus" -rss_limit_mb=600 -timeout=10 -max_len=4096 -verbosity=0 \
  -print_final_stats=1 -artifact_prefix="$work/" "$@"; then
  rm -r "$work"
else
  echo "the input that failed is in $work" >&2
  exit 1
fi
