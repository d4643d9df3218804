#!/usr/bin/env bash
# Set up (what is missing only) and run the browser tests of the leaderboard pages: tests/web/run.sh [TEST FILES]
#
# PYTHON   the Python that has exabench (default: .venv/bin/python of this repository)
# CHROMIUM the browser (default: /usr/bin/chromium)
# SITES    a folder filled by site.py; without it one is made and thrown away
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
python=${PYTHON:-$root/.venv/bin/python}
export PYTHON=$python
export CHROMIUM=${CHROMIUM:-/usr/bin/chromium}

# Says nothing unless it fails; then it says everything.
quietly() {
  local log status=0
  log=$(mktemp)
  "$@" >"$log" 2>&1 || status=$?
  if ((status)); then
    echo "failed: $*" >&2
    cat "$log" >&2
  fi
  rm -f "$log"
  return "$status"
}

java_is_new_enough() {
  local major
  major=$(java -version 2>&1 | sed -n 's/.*version "\([0-9]*\).*/\1/p') && ((${major:-0} >= 17))
}

wanted=()
[[ -x $CHROMIUM ]] || wanted+=(chromium)
java_is_new_enough || wanted+=(default-jre-headless)
command -v node >/dev/null && command -v npm >/dev/null || wanted+=(nodejs npm)
if ((${#wanted[@]})); then
  as_root=()
  ((EUID == 0)) || as_root=(sudo)
  quietly "${as_root[@]}" apt-get update
  quietly "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install --yes --no-install-recommends "${wanted[@]}"
fi

cd "$here"
# npm keeps a copy of the lock file with what it installed: newer than ours means nothing to do.
if [[ ! node_modules/.package-lock.json -nt package-lock.json ]]; then
  quietly npm ci --ignore-scripts --no-audit --no-fund
fi

if [[ -z ${SITES:-} ]]; then
  SITES=$(mktemp -d)
  trap 'rm -rf "$SITES"' EXIT
  (cd "$root" && quietly "$python" "$here/site.py" "$SITES")
fi
export SITES

# What is timed has the machine to itself; the others share it, where this Node can.
tests=("$@")
if ((!${#tests[@]})); then
  together=()
  ! node --help | grep -q -- --test-concurrency || together=(--test-concurrency=2)
  mapfile -t tests < <(ls *.test.mjs | grep -v '^scale')
  node --test --test-reporter=spec "${together[@]}" "${tests[@]}"
  tests=(scale.test.mjs)
fi
node --test --test-reporter=spec "${tests[@]}"
