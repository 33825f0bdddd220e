#!/usr/bin/env bash
# Installs what is missing, builds lockstep, and trains on real handwritten digits with two ranks.
# Arguments are passed on to `lockstep train`.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

install_build_packages
build release --target tools/lockstep

# mpirun as root, with more ranks than cores, without ssh: containers and small machines.
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
export OMPI_MCA_rmaps_base_oversubscribe=true OMPI_MCA_hwloc_base_binding_policy=none
export OMPI_MCA_plm_rsh_agent= OMPI_MCA_btl_vader_single_copy_mechanism=none
export PRTE_MCA_rmaps_default_mapping_policy=:oversubscribe
export OMP_NUM_THREADS=1

say "Training on two ranks"
mpirun -n 2 build-release/tools/lockstep train \
  --data idx:tools/data/digits --model mlp --lr 0.05 --epochs 5 "$@"
