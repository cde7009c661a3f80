#!/bin/sh
# One machine of the cluster, run as the first process of its own namespaces: NAME ADDRESS HOSTS LOG DAEMON...
set -eu
name=$1 address=$2 hosts=$3 log=$4
shift 4
hostname "$name"
mount --bind "$hosts" /etc/hosts
ip link set lo up
echo ready
read -r _ # returns when eth0 has been plugged in
ip address add "$address" dev eth0
ip link set eth0 up
"$@" >"$log" 2>&1 &
wait # the first process of a machine also has to collect the orphans
