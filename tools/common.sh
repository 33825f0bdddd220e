# What the scripts in tools/ and .ci/ share; sourced by them. Goes to the root of the project.

set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

say() { printf '[%(%H:%M:%S)T] %s\n' -1 "$*"; }

fail() {
  printf 'error: %s\n' "$*" >&2
  exit 1
}

# quietly COMMAND...: shows the end of its output when it fails, nothing otherwise.
quietly() {
  local log
  log=$(mktemp)
  "$@" >"$log" 2>&1 || {
    tail -n 60 "$log" >&2
    fail "'$*' failed; its whole output is in $log"
  }
  rm -f "$log"
}

# install_packages NAME...: those that are missing, by apt-get, as root or with sudo.
install_packages() {
  command -v dpkg-query >/dev/null || {
    say "No Debian package manager here; going on with what is installed (needed: $*)"
    return
  }
  local package missing=() as_root=()
  for package in "$@"; do
    [[ $(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null) == installed ]] ||
      missing+=("$package")
  done
  ((${#missing[@]})) || return 0
  if ((EUID != 0)); then
    command -v sudo >/dev/null ||
      fail "packages are missing, and there is no sudo; as root run: apt-get install ${missing[*]}"
    as_root=(sudo)
  fi
  say "Installing ${missing[*]}"
  quietly "${as_root[@]}" apt-get update
  quietly "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
    apt-get install --yes --no-install-recommends "${missing[@]}"
}

install_build_packages() {
  install_packages g++ cmake ninja-build libopenmpi-dev libeigen3-dev libspdlog-dev \
    nlohmann-json3-dev libhwy-dev libcli11-dev catch2
}

# build PRESET [OPTION...]: into build-PRESET, with further options of cmake --build.
build() {
  say "Building in build-$1 (minutes the first time, seconds later)"
  quietly cmake --preset "$1"
  quietly cmake --build --preset "$1" --parallel "$(nproc)" "${@:2}"
}
