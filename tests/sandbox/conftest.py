"""The real jail: nothing here is collected unless tests/sandbox/run.sh (`make test-sandbox`) asks for it."""

from __future__ import annotations

import os

if "EXABENCH_JAIL" not in os.environ:
    collect_ignore_glob = ["test_*.py"]
