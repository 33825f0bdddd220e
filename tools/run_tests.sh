#!/usr/bin/env bash
# Installs what is missing, builds lockstep, and runs every test. Arguments are passed on to ctest.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

install_build_packages
build release
say "Running the tests"
ctest --preset release "$@"
