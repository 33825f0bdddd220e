#!/usr/bin/env bash
# Two nodes on one machine: network namespaces with a cable between them, no ssh. Training runs
# across; when the cable is cut, both sides end in time and each names the ranks of the other.
#
#   two_nodes.sh LOCKSTEP MPIRUN
#
# Exit code 77 where namespaces are not permitted. All traffic stays within the namespaces.
set -u
lockstep=$1 mpirun=$2
stall_timeout=1
folder=$(mktemp -d)
a=lockstep-$$-a b=lockstep-$$-b

clean_up() {
  ip netns delete "$a" 2>/dev/null
  ip netns delete "$b" 2>/dev/null
  rm -rf "$folder"
}
trap clean_up EXIT

skip() { echo "skipped: $1"; exit 77; }
fail() {
  echo "failed: $1"
  tail -n 30 "$folder"/output "$folder"/error.*
  exit 1
}

command -v ip >/dev/null || skip "ip (package iproute2) is not installed"
ip netns add "$a" 2>"$folder/reason" && ip netns add "$b" 2>>"$folder/reason" &&
  ip link add cable netns "$a" type veth peer name cable netns "$b" 2>>"$folder/reason" &&
  ip netns exec "$a" unshare --uts true 2>>"$folder/reason" ||
  skip "network namespaces are not permitted here: $(head -n 1 "$folder/reason")"
for node in "$a 10.211.7.1" "$b 10.211.7.2"; do
  read -r name address <<<"$node"
  ip -n "$name" address add "$address/24" dev cable
  ip -n "$name" link set lo up
  ip -n "$name" link set cable up
  # Open MPI's daemons end when TCP gives up, by default after a quarter of an hour.
  ip netns exec "$name" sh -c 'echo 3 >/proc/sys/net/ipv4/tcp_retries2' 2>/dev/null
done

# In place of ssh: what is to run on the other node.
cat >"$folder/agent.sh" <<END
while [ "\${1#-}" != "\$1" ]; do shift; done
shift
exec ip netns exec $b unshare --uts sh -c "hostname node-b; \$*"
END
# What a rank is: its process number and its stderr go to files.
cat >"$folder/rank.sh" <<END
echo \$\$ >$folder/process.\$OMPI_COMM_WORLD_RANK
exec "\$@" 2>$folder/error.\$OMPI_COMM_WORLD_RANK
END

# train TIME OPTIONS...: two ranks per node train; the exit code is mpirun's.
train() {
  local limit=$1
  shift
  timeout -k 1 "$limit" ip netns exec "$a" unshare --uts sh -c 'hostname node-a; exec "$@"' sh \
    "$mpirun" -n 4 --host 10.211.7.1:2,10.211.7.2:2 --mca plm_rsh_agent "sh $folder/agent.sh" \
    --mca btl_tcp_if_include 10.211.7.0/24 --mca oob_tcp_if_include 10.211.7.0/24 \
    sh "$folder/rank.sh" "$lockstep" train --data synthetic:images --stall-timeout $stall_timeout "$@" \
    >"$folder/output" 2>&1 </dev/null
}

is_any_rank_alive() {
  local rank
  for rank in 0 1 2 3; do
    grep -q -v ") Z " "/proc/$(cat "$folder/process.$rank")/stat" 2>/dev/null && return 0
  done
  return 1
}

now() { date +%s%N; }
says() { grep -q -- "$2" "$1" || fail "$(basename "$1") does not say: $2"; }

train 60 --epochs 1 --steps 5 || fail "training across two nodes ended with exit code $?"
says "$folder/error.0" "4 ranks of 2 hosts (node-a, node-b)"
says "$folder/output" "^epoch 1/1"

rm "$folder"/process.*
train 60 --epochs 1000 --quiet &
mpirun_waits=$!
for _ in $(seq 100); do
  sleep 0.1
  [ "$(ls "$folder"/process.* 2>/dev/null | wc -l)" -eq 4 ] && break
done
sleep 2 # MPI_Init, and some steps
is_any_rank_alive || fail "ranks ended before the cable was cut"
ip -n "$a" link set cable down
start=$(now)
while is_any_rank_alive; do
  [ $(($(now) - start)) -lt 30000000000 ] || fail "ranks live on without the cable"
  sleep 0.05
done
milliseconds=$((($(now) - start) / 1000000))
wait "$mpirun_waits"
code=$?
[ "$code" -eq 75 ] || fail "mpirun ended with exit code $code"
[ "$milliseconds" -le $((1000 * stall_timeout + 3000)) ] ||
  fail "the last rank ended $milliseconds ms after the cable was cut"
cat "$folder"/error.0 "$folder"/error.1 >"$folder/error.a"
cat "$folder"/error.2 "$folder"/error.3 >"$folder/error.b"
# The cut may part the ranks of one side too: then each waits at its own place.
says "$folder/error.a" "ranks 2, 3 on node-b give no sign of life"
says "$folder/error.a" "\(ranks 0, 1\|rank 0\) on node-a: at "
says "$folder/error.a" "\(ranks 0, 1\|rank 1\) on node-a: at "
says "$folder/error.b" "ranks 0, 1 on node-a give no sign of life"
says "$folder/error.b" "\(ranks 2, 3\|rank 2\) on node-b: at "
says "$folder/error.b" "\(ranks 2, 3\|rank 3\) on node-b: at "
echo "both sides ended $milliseconds ms after the cable was cut"
