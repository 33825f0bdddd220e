#!/usr/bin/env bash
# kill_during_saves.sh LOCKSTEP COUNT
#
# Kills a training that saves after every step, COUNT times and by SIGKILL, and starts it again each
# time with --resume. Fails unless every start goes on from the newest checkpoint that was there.
set -euo pipefail

lockstep=$(realpath "$1")
count=$2

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"

num_steps=0    # of the newest checkpoint
num_halves=0   # kills that left half a file

fail() {
  echo "kill $kill: $1" >&2
  cat error >&2
  ls -l run/checkpoints >&2
  exit 1
}

newest() {
  ls run/checkpoints 2>/dev/null | sed -n 's/^step_0*\([0-9]*\)\.safetensors$/\1/p' | sort -n | tail -n 1
}

for ((kill = 1; kill <= count; ++kill)); do
  "$lockstep" train --data synthetic:blobs --model mlp --epochs 1000000 --save-every 1 --keep 2 \
    --out run --resume >output 2>error &
  pid=$!
  until [[ $(newest) -gt $num_steps ]]; do
    kill -0 "$pid" 2>/dev/null || fail "the training ended by itself"
    sleep 0.01
  done
  sleep "0.0$((RANDOM % 100))"
  kill -9 "$pid"
  wait "$pid" 2>/dev/null || true

  if ((num_steps > 0)); then
    grep -q "^resumed from .* (step $num_steps)$" error || fail "it did not go on from step $num_steps"
    ! grep -q "^passed over" error || fail "a checkpoint was not whole"
  fi
  num_steps=$(newest)
  ! ls run/checkpoints/*.tmp >/dev/null 2>&1 || ((++num_halves))
done
echo "$count kills, $num_halves of them while a file was half written; each time it went on, at last" \
  "from step $num_steps"
