#!/usr/bin/env bash
# Installs what is missing, builds lockstep, and trains on real handwritten digits with two ranks.
# Arguments are passed on to `lockstep train`.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

install_build_packages
build release --target tools/lockstep
say "Training on two ranks"
mpirun -n 2 build-release/tools/lockstep train \
  --data tools/data/digits --model mlp --epochs 5 "$@"
