"""`python -m exabench` is the command line."""

from __future__ import annotations

import sys

from exabench.cli import main

if __name__ == "__main__":
    sys.exit(main())
