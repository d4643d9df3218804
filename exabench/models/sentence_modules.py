"""modules.json of a sentence-transformers folder: which modules it names, and where they lie.

Both are checked here before any library reads the file, which imports the classes and opens the folders that it names.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, NamedTuple

from exabench.core.errors import BadInput, UnknownName, printable
from exabench.core.files import read_json

KINDS = ("Transformer", "Pooling", "Normalize", "Dense")
"""The modules that exabench loads."""

_TYPE = re.compile(rf"sentence_transformers(\.[a-z_0-9]+)*\.({'|'.join(KINDS)})")
_FOLDER = re.compile(r"(\w[\w-]{0,63})?", re.ASCII)


class SentenceModule(NamedTuple):
    """A module of KINDS, and the folder inside the model folder that holds its files ("" for the model folder)."""

    kind: str
    folder: str


def modules_in(folder: Path) -> list[SentenceModule]:
    """The modules of a model folder, in order; none where it has no modules.json. Raises as `checked_modules` does."""
    file = folder / "modules.json"
    return checked_modules(read_json(file), file) if file.is_file() else []


def checked_modules(listed: Any, file: str | Path) -> list[SentenceModule]:
    """The modules that the content of a modules.json lists.

    Raises BadInput for what is no such list and for a path that is no plain name, UnknownName for a module that is
    not loaded here.
    """
    if not isinstance(listed, list):
        raise BadInput("is not a list of modules, each with type and path", file=file)
    modules = []
    for module in listed:
        if not isinstance(module, dict) or "type" not in module:
            raise BadInput("is not a list of modules, each with type and path", file=file)
        kind = _TYPE.fullmatch(str(module["type"]))
        if kind is None:
            raise UnknownName("module", str(module["type"]), KINDS, file=file)
        path = module.get("path", "")
        if not isinstance(path, str) or not _FOLDER.fullmatch(path):
            raise BadInput(f"names the folder {printable(str(path), 80)!r}, no plain name inside the model", file=file)
        modules.append(SentenceModule(kind[2], path))
    return modules
