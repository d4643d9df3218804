#!/usr/bin/env bash
# The test of control groups on a machine that has no cgroup v2 with the controller of memory: in a Linux of its own, a
# process of this user (user-mode-linux, fetched with apt-get into a folder that is removed). It sees the files of this
# machine. Arguments go to pytest.
#
# PYTHON   the Python that has exabench (default: .venv/bin/python of this repository)
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
python=${PYTHON:-$root/.venv/bin/python}
place=$(mktemp -d "$root/.with_cgroup.XXXX") # in /tmp the other Linux has a file system of its own
trap 'rm -rf "$place"' EXIT
chmod 755 "$place"
(cd "$place" && apt-get download user-mode-linux >/dev/null 2>&1 && dpkg -x user-mode-linux*.deb .)

cat >"$place/init" <<END
#!/bin/bash
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root EXABENCH_JAIL=1 OMP_NUM_THREADS=1 PYTHONDONTWRITEBYTECODE=1
export PYTHONPATH=$root
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t tmpfs tmp /tmp
mount -t tmpfs shm /dev/shm
mount -t cgroup2 cgroup2 /sys/fs/cgroup
echo "+memory +pids" >/sys/fs/cgroup/cgroup.subtree_control
cd $root
$python -m pytest -p no:cacheprovider --color=no tests/sandbox/test_cgroup.py $* >$place/said 2>&1
echo \$? >$place/code
halt -f
END
chmod 755 "$place/init"
timeout 600 "$place/usr/bin/linux.uml" mem=1500M rootfstype=hostfs rootflags=/ rw "init=$place/init" \
  con=null con0=null,null </dev/null >/dev/null 2>&1 || true
cat "$place/said"
exit "$(cat "$place/code")"
