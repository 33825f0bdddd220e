#!/usr/bin/env bash
# Simulates how the merges of a training step grow with the number of ranks; see --help.
source "$(dirname "${BASH_SOURCE[0]}")/common.sh"

ranks=(16 32 64 128 256 512 1024)
clusters=(100 10)
allreduce=rdb
build="build-growth"
figure=default
installs=yes

usage() {
  cat <<END
Usage: tools/growth.sh [OPTION...]

Builds lockstep's merges for SimGrid's simulated MPI and prints how long those of one training step
of ResNet-50 take (53 layers of batch normalization, forward and backward), by the number of ranks:
with one message per layer and direction as lockstep sends them, and with one message per quantity.
Takes about a minute; without options it also draws tools/figures/growth.svg.

  --ranks "P ..."     numbers of ranks, 2 to 1024     (${ranks[*]})
  --clusters "G ..."  of tools/growth/cluster_G.xml   (${clusters[*]})
  --allreduce NAME    SMPI's algorithm: rdb is recursive doubling, ompi what Open MPI would choose,
                      SimGrid's manual lists others    ($allreduce)
  --figure FILE       where to draw the curves        (nowhere, where one of the above is given)
  --build FOLDER      where to build                  ($build)
  --no-install        go on with what is installed
END
}

while (($#)); do
  case $1 in
    -h | --help)
      usage
      exit
      ;;
    --no-install)
      installs=
      shift
      continue
      ;;
    --ranks | --clusters | --allreduce | --figure | --build) ;;
    *) fail "there is no option '$1'; see --help" ;;
  esac
  (($# > 1)) || fail "$1 needs a value; see --help"
  case $1 in
    --ranks) read -ra ranks <<<"$2"; figure=${figure#default} ;;
    --clusters) read -ra clusters <<<"$2"; figure=${figure#default} ;;
    --allreduce) allreduce=$2; figure=${figure#default} ;;
    --figure) figure=$2 ;;
    --build) build=$2 ;;
  esac
  shift 2
done
if [[ $figure == default ]]; then figure=tools/figures/growth.svg; fi
((${#ranks[@]} && ${#clusters[@]})) || fail "there is nothing to simulate; see --help"
for number in "${ranks[@]}"; do
  if ! [[ $number =~ ^[1-9][0-9]{0,3}$ ]] || ((number < 2 || number > 1024)); then
    fail "--ranks must be numbers from 2 to 1024, not '$number'"
  fi
done
for cluster in "${clusters[@]}"; do
  [[ -f tools/growth/cluster_$cluster.xml ]] || fail "there is no tools/growth/cluster_$cluster.xml"
done

if [[ $installs ]]; then
  install_packages g++ cmake ninja-build libspdlog-dev libsimgrid-dev
fi
command -v smpirun >/dev/null || fail "SimGrid's smpirun is missing (Debian: libsimgrid-dev)"

say "Building in $build"
export CMAKE_GENERATOR=${CMAKE_GENERATOR:-Ninja}
quietly cmake -S tools/growth -B "$build"
quietly cmake --build "$build" --parallel "$(nproc)"
printf 'node%s\n' {0..1023} >"$build/hosts"

# A message takes latency + bytes / bandwidth: SMPI's factors are those of one Ethernet cluster.
simulate() {  # CLUSTER RANKS
  smpirun -np "$2" -hostfile "$build/hosts" -platform "tools/growth/cluster_$1.xml" \
    --cfg=smpi/simulate-computation:no --cfg=smpi/allreduce:"$allreduce" \
    --cfg=smpi/bw-factor:0:1 --cfg=smpi/lat-factor:0:1 --log=root.thres:error \
    "$build/libsimulation.so" || fail "the simulation of $2 ranks failed"
}

results=$build/results.txt
: >"$results"
for cluster in "${clusters[@]}"; do
  say "Links of $cluster Gb/s; in ms per step, and collectives:"
  printf '%7s %26s %26s %8s\n' ranks 'one message per layer' 'one per quantity' ratio
  for number in "${ranks[@]}"; do
    line=$(simulate "$cluster" "$number")
    [[ $line =~ ^$number\ [0-9.]+\ 106\ [0-9.]+\ 265$ ]] ||
      fail "expected one collective per layer and direction, 2 x 53, and 5 x 53; got '$line'"
    printf '%s %s\n' "$cluster" "$line" | tee -a "$results" |
      awk '{ printf "%7d %20.3f %5d %20.3f %5d %8.2f\n", $2, 1e3 * $3, $4, 1e3 * $5, $6, $5 / $3 }'
  done
  awk -v cluster="$cluster" '
    $1 == cluster && !first { first = $2; packed = $3 }
    $1 == cluster { growth = $3 / packed; law = log($2) / log(first); last = $2 }
    END {
      if (last != first)
        printf "From %d to %d ranks x%.2f, log P x%.2f: %s\n", first, last, growth, law,
          growth <= 1.05 * law ? "growth like log P" : "growth beyond log P"
    }' "$results"
done

if [[ $figure ]]; then
  "$build/curves" "$results" "$figure"
  say "Drew $figure"
fi
