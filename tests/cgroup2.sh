#!/bin/sh
# The supervisor's tests under cgroup version 2, in a Linux that runs as a program: Debian's user-mode-linux.
#
#   make cgroup2
#
# It needs no rights. Its root is this machine's, read-only; what it has to say comes back through one folder.
# Three tests are left out: it does not randomise addresses, and what MADV_DONTFORK keeps out of a fork stays mapped
# there, so a victim that asks for new memory may be given the server's.
set -eu
project=$(cd "$(dirname "$0")/.." && pwd)

if [ $$ -ne 1 ]; then
    command -v linux.uml >/dev/null || { echo "cgroup2: needs linux.uml (Debian: user-mode-linux)" >&2; exit 1; }
    report=$(mktemp -d)
    mkdir "$report/uml" # its sockets; it would make a folder in the user's home
    trap 'rm -r "$report"' EXIT
    linux.uml mem=3G root=/dev/root rootfstype=hostfs rootflags=/ ro quiet con=null con0=null,fd:1 \
        uml_dir="$report/uml/" init="$project/tests/cgroup2.sh" REPORT="$report" >"$report/console" </dev/null || true
    if [ ! -s "$report/status" ]; then
        echo "cgroup2: it did not come up, or did not end; its last words:" >&2
        grep -v "^ \[<\|^Call Trace\|^Stack" "$report/console" | tail -15 >&2
        exit 1
    fi
    cat "$report/told"
    exit "$(cat "$report/status")"
fi

mount -t proc proc /proc
mount -t sysfs sys /sys
# what is mounted on /tmp would hide a checkout below it
case $project in /tmp/*) scratch=/mnt ;; *) scratch=/tmp ;; esac
for folder in $scratch /run /dev/shm; do mkdir -p $folder; mount -t tmpfs tmpfs $folder; done
mkdir $scratch/report
mount -t hostfs none $scratch/report -o "$REPORT"
mount -t cgroup2 none /sys/fs/cgroup
echo "+memory +pids" >/sys/fs/cgroup/cgroup.subtree_control
ip link set lo up
export HOME=$scratch TMPDIR=$scratch PYTHONDONTWRITEBYTECODE=1 PATH="$project/.venv/bin:/usr/bin:/bin:/usr/sbin:/sbin"
cd "$project"
{
    status=0
    crash-harness doctor || status=1
    crash-harness run scenarios/oom-kill.toml scenarios/near-oom.toml --jobs 1 || status=1
    python -m pytest -q -p no:cacheprovider -p no:xdist tests/test_supervisor.py tests/test_hostile.py \
        tests/test_decision_table.py tests/test_zygote.py -k "not a_layout_belongs and not a_victim_says_is_kept \
        and not a_warm_victim_ends" || status=1
    echo $status >$scratch/report/status
} >$scratch/report/told 2>&1
poweroff -f
