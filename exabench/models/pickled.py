"""Pickled checkpoints. Reading one may run code in spite of everything: only the jail's own program calls this module
(bench/sandbox)."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import save


def as_safetensors(file: Path) -> bytes:
    """The tensors of a pickle, as the bytes of a safetensors file.

    A tensor that several names share is written under each of them: a loader finds all names, and ties those
    that the model ties. Raises ValueError for what is not a table of tensors by name.
    """
    try:
        # weights_only: even in the jail nothing of a pickle is to be run.
        loaded = torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ValueError("it holds more than tensors, and loading that may run any code") from error
    if not isinstance(loaded, Mapping):
        raise ValueError("it is not a table of tensors by name")
    tensors = {}
    for name, tensor in loaded.items():
        if not isinstance(name, str) or not isinstance(tensor, torch.Tensor):
            raise ValueError(f"{str(name)[:80]!r} is not the name of a tensor: it is not a checkpoint of weights only")
        # Cloned: safetensors refuses tensors that share memory, as tied weights do.
        tensors[name] = tensor.detach().clone().contiguous()
    data: bytes = save(tensors, {"format": "pt"})
    return data
