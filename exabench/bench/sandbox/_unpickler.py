"""Inside the jail: pickled checkpoints read as tensors and given out as safetensors, in pieces, one line each.

`python -I -B -m exabench.bench.sandbox._unpickler`. Each line on stdin is the name of a file in the model folder.
"""

from __future__ import annotations

import base64
import json
import sys
from pathlib import Path

from exabench.bench.sandbox._jail import MODEL
from exabench.bench.sandbox._program import begin_answers, end_refused

PIECE = 3 << 20  # bytes in a line, which base64 makes a third longer


def main() -> None:
    """For each file: a line with the number of bytes of its safetensors, then these in pieces."""
    answer = begin_answers()
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
        end_refused(answer, reason, error)


if __name__ == "__main__":
    main()
