"""Checkpoints: the state of a run on disk as safetensors and JSON, whole or not there, and never a pickle.

    checkpoints/step-000100/model.safetensors       one file of tensors for each name that `save` is given
                            optimiser.safetensors
                            state.json              step, recipe's fingerprint, aliases of tensors, plain numbers
                            digests.json            sha256 of each of the above

A folder is filled under a name that starts with `.unfinished-` and renamed when every byte is on the disk, so a kill
at any moment leaves the checkpoint before or the new one. (`files.only_writer` removes left files by the end of
their name; a folder has its mark in front and is removed here, by the next `save`.)
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from exabench.errors import BadInput, printable
from exabench.files import digest_of, file_digest, from_json, json_text, read_json, replacing, write, writing

if TYPE_CHECKING:
    from torch import Tensor
    from torch.optim import Optimizer

_UNFINISHED = ".unfinished-"
_STATE, _DIGESTS, _TENSORS = "state.json", "digests.json", ".safetensors"
_KEYS = {"step", "fingerprint", "aliases", "state"}  # of state.json
_DTYPES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What `save` was given, read back: `tensors` by file and name, on the CPU; `state` as JSON holds it.

    `skipped` has a line for each later checkpoint that is not whole: which file, and what is wrong with it.
    """

    path: Path
    step: int
    fingerprint: str
    tensors: Mapping[str, Mapping[str, Tensor]]
    state: Mapping[str, Any]
    skipped: tuple[str, ...] = ()


def save(
    folder: str | Path,
    step: int,
    tensors: Mapping[str, Mapping[str, Tensor]],
    state: Mapping[str, Any],
    *,
    fingerprint: str,
    keep: int = 2,
    protect: Collection[int] = (),
) -> Path:
    """Write the checkpoint of `step` into `folder` and return its path; then remove all but the newest `keep`.

    `tensors`: file name without suffix ("model") to tensors by name; names of one tensor (tied embeddings) are
    stored once. `state`: what JSON gives back unchanged (no tuples, no NaN), else ValueError or TypeError. Steps in
    `protect` (the best one) are never removed. One of the same step (a damaged one that was skipped) is replaced;
    later ones are left alone and do not count. Call it from one process. Raises CannotWrite on a full or read-only
    disk: nothing is half-written then, and the checkpoints before are as they were. Raises BadInput for a `keep`
    below 1 and for tensors of a type that is not stored.
    """
    if keep < 1:
        raise BadInput(f"{keep} checkpoints cannot be kept; keep at least 1")
    folder = Path(folder)
    path = folder / f"step-{step:06d}"
    unfinished = folder / (_UNFINISHED + path.name)
    with writing(path):
        folder.mkdir(parents=True, exist_ok=True)
        _sweep(folder)
        try:
            unfinished.mkdir()
            _fill(unfinished, tensors, {"step": step, "fingerprint": fingerprint, "state": dict(state)})
            _sync(unfinished)
            if path.exists():
                _set_aside(path)
            os.rename(unfinished, path)
            _sync(folder)
            for old in [number for number in _saved(folder) if number <= step][:-keep]:
                if old not in protect:
                    _set_aside(_saved(folder)[old])
        finally:
            _sweep(folder)
    return path


def load_newest(folder: str | Path, fingerprint: str) -> Checkpoint | None:
    """The newest whole checkpoint of `folder`, or None where there is none yet; damaged later ones are in `skipped`.

    Raises BadInput for a checkpoint of another recipe (another `fingerprint`), for checkpoints of which none is
    whole, and for any file that is neither safetensors nor JSON: such a file may be a pickle, which can run code.
    """
    folder = Path(folder)
    _refuse_strange_files(folder)
    skipped: list[str] = []
    for path in reversed(_saved(folder).values()):
        try:
            found = read(path)
        except BadInput as error:
            skipped.append(str(error))
            continue
        if found.fingerprint != fingerprint:
            what = f"is of another recipe ({printable(found.fingerprint)}, not {fingerprint}); give each a folder"
            raise BadInput(what, file=path)
        return replace(found, skipped=tuple(skipped))
    if skipped:
        raise BadInput(f"holds no whole checkpoint ({'; '.join(skipped)}); remove them to start anew", file=folder)
    return None


def optimiser_tensors(
    optimiser: Optimizer, names: Mapping[str, Tensor]
) -> tuple[dict[str, Tensor], dict[str, list[Any] | dict[str, Any]]]:
    """The state of an optimiser by parameter name: its tensors (not copied), and the rest as JSON holds it.

    `names`: `dict(module.named_parameters())`. Made for torch's AdamW and transformers' Adafactor; holds for any
    optimiser whose state is a tensor or a plain number for each parameter and key. Raises BadInput for a parameter
    without a name.
    """
    tensors: dict[str, Tensor] = {}
    numbers: dict[str, Any] = {}
    groups = []
    for group, called in zip(optimiser.param_groups, _names_of(optimiser, names), strict=True):
        options = {key: list(value) if isinstance(value, tuple) else value for key, value in group.items()}
        del options["params"]
        groups.append({"names": sorted(called), "options": options})
        for name in called:
            for key, value in optimiser.state.get(names[name], {}).items():
                (tensors if torch.is_tensor(value) else numbers)[f"{name}/{key}"] = value
    return tensors, {"groups": groups, "numbers": numbers}


def restore_optimiser(
    optimiser: Optimizer,
    names: Mapping[str, Tensor],
    tensors: Mapping[str, Tensor],
    plain: Mapping[str, Any],
    *,
    part: Callable[[Tensor, Tensor], Tensor] | None = None,
) -> None:
    """Put back what `optimiser_tensors` took, bit for bit: state, and options of the groups (rate, betas, ...).

    `part` makes of a whole tensor, and its parameter, what is held of it here (sharded over ranks).
    Not by `load_state_dict`: that would round Adafactor's float32 moments to the type of a bfloat16 parameter.
    Raises BadInput where the optimiser has other parameters or groups.
    """
    ours = _names_of(optimiser, names)
    if [sorted(called) for called in ours] != [each["names"] for each in plain["groups"]]:
        raise BadInput("the optimiser in the checkpoint has other parameters or groups than this one")
    entries: dict[str, dict[str, Any]] = {}
    for place, value in {**plain["numbers"], **tensors}.items():
        name, _, key = place.rpartition("/")
        entries.setdefault(name, {})[key] = value
    optimiser.state.clear()
    for group, called, saved in zip(optimiser.param_groups, ours, plain["groups"], strict=True):
        for key, value in saved["options"].items():
            group[key] = tuple(value) if isinstance(group.get(key), tuple) else value
        counts_on_cpu = not (group.get("capturable") or group.get("fused"))  # torch keeps "step" off the device
        for name in called:
            for key, value in entries.get(name, {}).items():
                if torch.is_tensor(value):
                    device = value.device if key == "step" and counts_on_cpu else names[name].device
                    value = value.to(device, copy=True)
                    value = part(value, names[name]) if part else value
                optimiser.state[names[name]][key] = value


def _names_of(optimiser: Optimizer, names: Mapping[str, Tensor]) -> list[list[str]]:
    """The names of the parameters of each group of an optimiser, in its order."""
    name_of = {id(parameter): name for name, parameter in names.items()}
    try:
        return [[name_of[id(parameter)] for parameter in group["params"]] for group in optimiser.param_groups]
    except KeyError as error:
        raise BadInput("the optimiser holds a parameter that the model has no name for") from error


def _fill(folder: Path, tensors: Mapping[str, Mapping[str, Tensor]], about: Mapping[str, Any]) -> None:
    """The files of a checkpoint, each on the disk when this returns."""
    digests, aliases = {}, {}
    for stem in sorted(tensors):
        own, aliases[stem] = _told_apart(tensors[stem])
        digests[stem + _TENSORS] = _write_tensors(folder / (stem + _TENSORS), own)
    written = {**about, "aliases": aliases}
    text = json_text(written)
    if from_json(text) != written:
        raise ValueError("the state of a checkpoint holds what JSON changes: a tuple, or a key that is no text")
    digests[_STATE] = digest_of(text)
    write(folder / _STATE, text)
    write(folder / _DIGESTS, json_text(digests))


def _told_apart(tensors: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Each tensor once, and other names of the same one with the name it is stored by."""
    own: dict[str, Tensor] = {}
    aliases: dict[str, str] = {}
    first: dict[object, str] = {}
    for name in sorted(tensors):
        each = tensors[name]
        place = (each.device, each.data_ptr(), each.dtype, each.shape, each.stride())
        if each.numel() and place in first:
            aliases[name] = first[place]
        else:
            own[name], first[place] = each, name
    return own, aliases


def _write_tensors(path: Path, tensors: Mapping[str, Tensor]) -> str:
    """Write a safetensors file and return its digest.

    The library's own writer makes bytes of all tensors at once, and neither syncs nor tells a full disk as OSError.
    The format: length of the header (8 bytes, little-endian), header as JSON, then the tensors' bytes.
    """
    names = sorted(tensors, key=lambda name: (-tensors[name].element_size(), name))  # widest first: all are aligned
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name in names:
        each = tensors[name]
        if each.dtype not in _DTYPES:
            raise BadInput(f"tensors of type {each.dtype} are not stored in checkpoints", file=path.name, id=name)
        start, end = end, end + each.numel() * each.element_size()
        header[name] = {"dtype": _DTYPES[each.dtype], "shape": list(each.shape), "data_offsets": [start, end]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    hashed = hashlib.sha256()
    with replacing(path) as file:
        for piece in _pieces(len(text).to_bytes(8, "little") + text, (tensors[name] for name in names)):
            hashed.update(piece)
            file.write(piece)
    return "sha256:" + hashed.hexdigest()


def _pieces(header: bytes, tensors: Iterator[Tensor]) -> Iterator[memoryview]:
    """The bytes of a safetensors file; a tensor of another device is copied only when its turn comes."""
    yield memoryview(header)
    for each in tensors:
        yield memoryview(each.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())


def read(path: Path) -> Checkpoint:
    """A checkpoint, every file of it checked. Raises BadInput with the first one that is not as it was written."""
    digests = read_json(path / _DIGESTS)
    if not isinstance(digests, dict):
        raise BadInput("is not a table of digests", file=path / _DIGESTS)
    here = {file.name for file in path.iterdir()}
    for name in sorted(here ^ {*digests, _STATE, _DIGESTS}):
        what = "is not in digests.json" if name in here else "is missing"
        raise BadInput(what, file=path / name)
    for name, digest in digests.items():
        if file_digest(path / name) != digest:
            raise BadInput("is damaged: its bytes are not those of its digest in digests.json", file=path / name)
    written = _read_state(path)
    tensors = {}
    for stem, aliases in written["aliases"].items():
        own = _read_tensors(path / (stem + _TENSORS))
        if not isinstance(aliases, dict) or not set(aliases.values()) <= set(own):
            raise BadInput(f"has aliases of tensors that {stem}{_TENSORS} does not hold", file=path / _STATE)
        tensors[stem] = own | {alias: own[name] for alias, name in aliases.items()}
    return Checkpoint(path, written["step"], written["fingerprint"], tensors, written["state"])


def _read_state(path: Path) -> dict[str, Any]:
    """What state.json holds: the keys that `save` writes, of the types it writes. Raises BadInput."""
    file = path / _STATE
    written = read_json(file)
    if not isinstance(written, dict) or set(written) != _KEYS:
        raise BadInput(f"must hold {', '.join(sorted(_KEYS))} and nothing else", file=file)
    if written["step"] != int(path.name.removeprefix("step-")):
        raise BadInput(f"is of another step than its folder ({printable(str(written['step']))})", file=file)
    if not (isinstance(written["fingerprint"], str) and isinstance(written["state"], dict)):
        raise BadInput("has no text for the fingerprint or no table for the state", file=file)
    stems = {each.name.removesuffix(_TENSORS) for each in path.glob(f"*{_TENSORS}")}
    if not isinstance(written["aliases"], dict) or set(written["aliases"]) != stems:
        raise BadInput(f"does not name the {_TENSORS} files beside it", file=file)
    return written


def _read_tensors(file: Path) -> dict[str, Tensor]:
    try:
        return dict(load_file(file))
    except (SafetensorError, OSError) as error:
        raise BadInput(f"is not a safetensors file ({printable(str(error))})", file=file) from error


def _saved(folder: Path) -> dict[int, Path]:
    """The checkpoints of a folder by step, from the first to the newest, whole or not."""
    found = {path: re.fullmatch(r"step-(\d{6,})", path.name) for path in folder.glob("step-*")}
    return dict(sorted((int(match[1]), path) for path, match in found.items() if match))


def _refuse_strange_files(folder: Path) -> None:
    for file in sorted(folder.rglob("*")):
        left = file.relative_to(folder).parts[0].startswith(_UNFINISHED)  # by a killed save, and never read
        if not left and not file.is_dir() and file.suffix not in (_TENSORS, ".json"):
            raise BadInput("is neither safetensors nor JSON and may hold code; it is not opened: remove it", file=file)


def _set_aside(path: Path) -> None:
    """Take a checkpoint out of the series in one move, so that a kill leaves it whole or gone."""
    os.rename(path, path.with_name(f"{_UNFINISHED}old-{path.name}"))


def _sweep(folder: Path) -> None:
    for left in folder.glob(f"{_UNFINISHED}*"):
        shutil.rmtree(left, ignore_errors=True)  # what stays is never read, and is swept again the next time


def _sync(folder: Path) -> None:
    """Have the names in a folder on the disk, not only the bytes of its files."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
