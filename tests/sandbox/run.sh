#!/usr/bin/env bash
# Hostile submissions in the real jail: installs bubblewrap where it is missing. Arguments go to pytest.
#
# PYTHON   the Python that has exabench (default: .venv/bin/python of this repository)
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
python=${PYTHON:-$root/.venv/bin/python}

if ! command -v bwrap >/dev/null; then
  as_root=()
  ((EUID == 0)) || as_root=(sudo)
  log=$(mktemp)
  "${as_root[@]}" sh -c 'apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends bubblewrap' \
    >"$log" 2>&1 || {
    cat "$log" >&2
    exit 1
  }
  rm -f "$log"
fi

cd "$root"
export EXABENCH_JAIL=1 OMP_NUM_THREADS=${OMP_NUM_THREADS:-1}
exec "$python" -m pytest tests/sandbox "$@"
