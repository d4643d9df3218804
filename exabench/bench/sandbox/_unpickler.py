"""Inside the jail: pickled checkpoints read as tensors and given out as safetensors, in pieces, one line each.

`python -I -B -m exabench.bench.sandbox._unpickler`. Each line on stdin is the name of a file in the model folder.
"""

from __future__ import annotations

import base64
import json
import os
import pickle
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
        for line in sys.stdin:
            data = _as_safetensors(Path(MODEL, json.loads(line)))
            answer({"bytes": len(data)})
            for start in range(0, len(data), PIECE):
                answer({"piece": base64.b64encode(data[start : start + PIECE]).decode()})
    except Exception as error:
        from exabench.models.loading import out_of_memory

        reason = "out-of-memory" if out_of_memory(error) else "load-failed"
        answer({"refused": reason, "message": " ".join(str(error).split())[:300] or type(error).__name__})
        sys.exit(1)


def _as_safetensors(file: Path) -> bytes:
    """The tensors of a pickle, as the bytes of a safetensors file.

    A tensor that several names share is written under each of them: whoever loads it finds all names, and ties those
    that the model ties.
    """
    import torch
    from safetensors.torch import save

    try:
        loaded = torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ValueError("it holds more than tensors, and loading that may run any code") from error
    if not isinstance(loaded, Mapping):
        raise ValueError("it is not a table of tensors by name")
    tensors = {}
    for name, tensor in loaded.items():
        if not isinstance(name, str) or not isinstance(tensor, torch.Tensor):
            raise ValueError(f"{str(name)[:80]!r} is not the name of a tensor: it is not a checkpoint of weights only")
        tensors[name] = tensor.detach().clone().contiguous()
    return save(tensors, {"format": "pt"})


if __name__ == "__main__":
    main()
