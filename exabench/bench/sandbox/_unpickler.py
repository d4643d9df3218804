"""Inside the jail: pickled checkpoints read as tensors and given out as safetensors, in pieces, one line each.

`python -I -B -m exabench.bench.sandbox._unpickler`. Each line on stdin is the name of a file in the model folder.
"""

from __future__ import annotations

import base64
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from exabench.bench.sandbox._jail import MODEL

PIECE = 3 << 20  # bytes in a line, which base64 makes a third longer


def main() -> None:
    """For each file: a line with the number of bytes of its safetensors, then these in pieces."""
    stdout = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # whatever a library prints is not an answer

    def answer(value: Mapping[str, Any]) -> None:
        stdout.write(json.dumps(value) + "\n")
        stdout.flush()

    try:
        from exabench.models.pickled import as_safetensors

        for line in sys.stdin:
            data = as_safetensors(Path(MODEL, json.loads(line)))
            answer({"bytes": len(data)})
            for start in range(0, len(data), PIECE):
                answer({"piece": base64.b64encode(data[start : start + PIECE]).decode()})
    except Exception as error:
        from exabench.models.loading import out_of_memory

        reason = "out-of-memory" if out_of_memory(error) else "load-failed"
        answer({"refused": reason, "message": " ".join(str(error).split())[:300] or type(error).__name__})
        sys.exit(1)


if __name__ == "__main__":
    main()
