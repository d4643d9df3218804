"""Conversion of a model folder: its pickled weights (pytorch_model.bin, in shards too) become safetensors.

Loading a pickle may run any code in it, so it happens in the sandbox only, and there with weights_only; what comes out
is tensors, whose headers are read as those of a stranger's model.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from exabench.bench.sandbox import unpickle
from exabench.core.errors import BadInput, printable
from exabench.core.files import file_digest, json_text, read_json, replacing_folder, write
from exabench.core.nouns import Progress, silent
from exabench.hub.client import ADAPTER_WEIGHTS, CARD, MODEL_FILES, check_described, model_folder
from exabench.models.screening import Read, shapes_in

_INDEX = ".bin.index.json"
_LICENCES = ("LICENSE*", "LICENCE*", "NOTICE*")


@dataclass(frozen=True)
class Converted:
    """A converted model: the new folder and its digest (the revision to submit it with), and the digest of each pickle
    that it was made of, by its path in the old one."""

    folder: Path
    revision: str
    pickles: Mapping[str, str]


def convert(folder: str | Path, to: str | Path, *, as_root: bool = False, progress: Progress = silent) -> Converted:
    """Write the model of `folder` to the new folder `to`, with safetensors in place of its pickles.

    Settings, tokenizer, card and licence are copied. A tensor that has several names (tied weights) is written under
    each, so that transformers finds what it found in the pickle. `as_root` as in JailLimits. Raises BadInput for a
    folder without pickles, or with safetensors already, and for a pickle that is not tensors by name; SubmissionRefused
    (no-sandbox), CannotWrite.
    """
    folder = Path(folder)
    to = Path(to)
    pickles = _pickles(folder)
    if to.exists():
        raise BadInput("exists; name a new folder with --to", file=to)
    # Before anything is loaded: the digest is that of what was there.
    digests = {}
    for file in pickles:
        digests[file.relative_to(folder).as_posix()] = file_digest(file)
    with replacing_folder(to) as fresh:
        for pattern in (*MODEL_FILES, CARD, *_LICENCES):
            for file in sorted(folder.rglob(pattern)):
                if not file.name.endswith(_INDEX):
                    _copy(file, fresh / file.relative_to(folder))
        made = {}
        for file in pickles:
            place = fresh / file.relative_to(folder).parent / _new_name(file)
            place.parent.mkdir(parents=True, exist_ok=True)
            made[file] = place
        unpickle(made, progress, as_root=as_root)
        shapes = {}
        for place in made.values():
            shapes[place] = shapes_in(place.name, place.stat().st_size, _reader(place))
        for index in sorted(folder.rglob(f"*{_INDEX}")):
            _write_index(fresh / index.relative_to(folder).parent, shapes)
    return Converted(to, model_folder(str(to)).revision, digests)


def _pickles(folder: Path) -> list[Path]:
    """The pickles that hold a model's weights: those at its top, of its modules, and of an adapter. Raises BadInput."""
    check_described(folder)
    found = []
    for pattern, read_instead in (("pytorch_model*.bin", "model*.safetensors"), ("adapter_model.bin", ADAPTER_WEIGHTS)):
        for file in sorted(folder.rglob(pattern)):
            if not any(file.parent.glob(read_instead)):  # transformers reads the safetensors then
                found.append(file)
    if not found:
        raise BadInput("has no pytorch_model.bin to convert, or safetensors next to it", file=folder)
    for index in sorted(folder.rglob(f"*{_INDEX}")):
        values = read_json(index)
        shards = isinstance(values, dict) and values.get("weight_map")
        if not isinstance(shards, dict):
            raise BadInput("has no weight_map", file=index)
        for shard in sorted(set(map(str, shards.values()))):
            if index.parent / shard not in found:
                raise BadInput(f"names the shard {printable(shard)!r}, which is not in the folder", file=index)
    return found


def _new_name(file: Path) -> str:
    """How the safetensors of a pickle are called: pytorch_model.bin becomes model.safetensors."""
    return file.name.removeprefix("pytorch_").removesuffix(".bin") + ".safetensors"


def _copy(file: Path, place: Path) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(file, place)  # what a link leads to


def _reader(place: Path) -> Read:
    def read(name: str, start: int, end: int) -> bytes:
        with open(place, "rb") as stream:
            stream.seek(start)
            return stream.read(end - start)

    return read


def _write_index(folder: Path, shapes: Mapping[Path, Mapping[str, object]]) -> None:
    """The index of the shards in a folder, by the names that they hold."""
    places = {}
    size = 0
    for place, tensors in shapes.items():
        if place.parent == folder:
            size += place.stat().st_size
            for name in tensors:
                places[name] = place.name
    write(folder / "model.safetensors.index.json", json_text({"metadata": {"total_size": size}, "weight_map": places}))
