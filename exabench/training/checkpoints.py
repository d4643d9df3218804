"""Checkpoints: the state of a run on disk as safetensors and JSON, whole or not there, and never a pickle.

checkpoints/step-000100/model.safetensors       one file of tensors for each name that `save_checkpoint` is given
                        optimiser.safetensors
                        state.json              step, recipe's fingerprint, aliases of tensors, plain numbers
                        digests.json            sha256 of each of the above
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.optim import Optimizer

from exabench.core.errors import REASON, BadInput, printable
from exabench.core.files import file_digest, json_text, read_json, replacing_folder, write, writing
from exabench.core.records import Record, read

_STATE = "state.json"
_DIGESTS = "digests.json"
_TENSORS = ".safetensors"


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint on disk: `tensors` by file and name, on the CPU; `state` as JSON holds it.

    `skipped` has a line for each later checkpoint that is not whole: which file, and what is wrong with it.
    """

    step: int
    fingerprint: str
    tensors: Mapping[str, Mapping[str, Tensor]]
    state: Mapping[str, Any]
    skipped: tuple[str, ...] = ()


class _State(Record, frozen=True):
    """state.json. `aliases`: by file, other names of a tensor and the name that it is stored by."""

    format: Literal[2]  # version 0.1 wrote none: it drew dropout otherwise, so its runs cannot be resumed
    step: int
    fingerprint: str
    aliases: dict[str, dict[str, str]]
    state: dict[str, Any]


def save_checkpoint(
    folder: Path,
    step: int,
    tensors: Mapping[str, Mapping[str, Tensor]],
    state: Mapping[str, Any],
    *,
    fingerprint: str,
    keep: int = 2,
    protect: int = 0,
) -> Path:
    """Write the checkpoint of `step` into `folder` and return its path; then remove all but the newest `keep`.

    `tensors`: file name without suffix ("model") to tensors by name; names of one tensor (tied embeddings) are
    stored once. Step `protect` (the best one) is never removed. One of the same step (a damaged one that was
    skipped) is replaced; later ones are left alone and do not count. Call it from one process. Raises CannotWrite on a
    full or read-only disk: the checkpoints before are as they were.
    """
    path = folder / f"step-{step:06d}"
    with replacing_folder(path) as fresh:
        aliases: dict[str, dict[str, str]] = {}
        for stem, named in tensors.items():
            # Each tensor is stored under its first name; its other names (tied weights) are aliases of that one.
            stored = {}
            aliases[stem] = {}
            first_names: dict[int, str] = {}
            for name, tensor in sorted(named.items()):
                first = first_names.setdefault(id(tensor), name)
                if first == name:
                    stored[name] = tensor.detach().contiguous()
                else:
                    aliases[stem][name] = first
            save_file(stored, fresh / f"{stem}{_TENSORS}", metadata={"format": "pt"})
        about = {"format": 2, "step": step, "fingerprint": fingerprint, "aliases": aliases, "state": state}
        write(fresh / _STATE, json_text(about))
        write(fresh / _DIGESTS, json_text({file.name: file_digest(file) for file in sorted(fresh.iterdir())}))
    with writing(folder):
        # Later ones are damaged ones that were skipped: they do not count, and their turn to be replaced will come.
        found = _list_checkpoints(folder)
        older = [number for number in found if number <= step]
        for old in older[:-keep]:
            if old != protect:
                shutil.rmtree(found[old])
    return path


def load_newest(folder: Path, fingerprint: str) -> Checkpoint | None:
    """The newest whole checkpoint of `folder`, or None where there is none yet; damaged later ones are in `skipped`.

    Raises BadInput for a checkpoint of another recipe (another `fingerprint`), for checkpoints of which none is
    whole, and for any file that is neither safetensors nor JSON: such a file may be a pickle, which can run code.
    """
    for file in sorted(folder.rglob("*")):
        first = file.relative_to(folder).parts[0]
        left_by_a_kill = re.fullmatch(r"\.step-\d+\.(unfinished|replaced)", first)  # never read
        if not left_by_a_kill and not file.is_dir() and file.suffix not in (_TENSORS, ".json"):
            raise BadInput("is neither safetensors nor JSON and may hold code; it is not opened: remove it", file=file)
    skipped = []
    for path in reversed(_list_checkpoints(folder).values()):
        try:
            found = read_checkpoint(path)
        except BadInput as error:
            skipped.append(str(error))
            continue
        if found.fingerprint != fingerprint:
            raise BadInput(
                f"is of another recipe ({printable(found.fingerprint)}, not {fingerprint}); give each its own folder",
                file=path,
            )
        return replace(found, skipped=tuple(skipped))
    if skipped:
        raise BadInput(f"has no complete checkpoint ({'; '.join(skipped)}); remove them to start again", file=folder)
    return None


def read_checkpoint(path: Path) -> Checkpoint:
    """A checkpoint, every file of it checked. Raises BadInput with the first one that is not as it was written."""
    digests = read(dict[str, str], read_json(path / _DIGESTS), file=path / _DIGESTS)
    for name, digest in {_STATE: "", **digests}.items():  # a state without a digest is a damaged one
        if file_digest(path / name) != digest:
            raise BadInput("is damaged: its bytes do not match digests.json", file=path / name)
    about = read(_State, read_json(path / _STATE), file=path / _STATE)
    tensors = {}
    for stem, aliases in about.aliases.items():
        file = path / f"{stem}{_TENSORS}"
        try:
            named = load_file(file)
            named.update({alias: named[name] for alias, name in aliases.items()})
        except (SafetensorError, OSError, KeyError) as error:
            raise BadInput(
                f"does not have the tensors of a run ({printable(str(error), REASON)})", file=file
            ) from error
        tensors[stem] = named
    return Checkpoint(about.step, about.fingerprint, tensors, about.state)


def optimiser_state(
    optimiser: Optimizer, parameters: Mapping[str, Tensor]
) -> tuple[dict[str, Tensor], dict[str, float]]:
    """The state of an optimiser as tensors (not copied) and plain numbers, each called `parameter/key`.

    `parameters`: `dict(module.named_parameters())`. What the recipe fixes (rate, decay) is not among it.
    """
    tensors = {}
    numbers = {}
    for name, parameter in parameters.items():
        for key, value in optimiser.state.get(parameter, {}).items():
            if torch.is_tensor(value):
                tensors[f"{name}/{key}"] = value
            else:
                numbers[f"{name}/{key}"] = value
    return tensors, numbers


def restore_optimiser(
    optimiser: Optimizer,
    parameters: Mapping[str, Tensor],
    tensors: Mapping[str, Tensor],
    numbers: Mapping[str, float],
    part: Callable[[Tensor, Tensor], Tensor],
) -> None:
    """Put back what `optimiser_state` took, bit for bit.

    `part` makes of a whole tensor, and its parameter, what is held of it here (sharded over ranks). Not by
    `load_state_dict`: that would round Adafactor's float32 moments to the type of a bfloat16 parameter.
    """
    optimiser.state.clear()
    for place, value in {**numbers, **tensors}.items():
        name, _, key = place.rpartition("/")
        parameter = parameters[name]
        if torch.is_tensor(value):
            device = value.device if key == "step" else parameter.device  # torch counts steps on the CPU
            value = part(value.to(device, copy=True), parameter)
        optimiser.state[parameter][key] = value


def _list_checkpoints(folder: Path) -> dict[int, Path]:
    """The checkpoints of a folder by step, from the first to the newest, whole or not."""
    found = {}
    for path in folder.glob("step-*"):
        match = re.fullmatch(r"step-(\d{6,})", path.name)
        if match:
            found[int(match[1])] = path
    return dict(sorted(found.items()))
