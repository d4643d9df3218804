"""A shelf: a folder of one-file parts, found by name and imported only when chosen."""

from __future__ import annotations

import ast
import importlib
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from exabench.core.errors import MissingExtra, UnknownName


class Shelf(Mapping[str, Any]):
    """The parts of one folder: `SHELF["name"]` is the object of `name.py` whose own name is the file's name.

    Case and underscores are ignored when the object is looked up, and the kind may follow (`ndcg_exp.py` may hold
    `NdcgExp` or `ndcg_exp`, losses/pointwise.py `PointwiseLoss`). Files whose names begin with an underscore belong
    to the shelf itself. Listing names imports nothing; an unknown name raises UnknownName, a package that is not
    installed raises MissingExtra.
    """

    def __init__(self, kind: str, package: str, folder: str) -> None:
        self.kind = kind
        self._package = package
        self._folder = Path(folder).parent  # of the __init__.py that makes the shelf

    def __iter__(self) -> Iterator[str]:
        names = (file.stem for file in self._folder.glob("[!_]*.py"))
        return iter(sorted(names))

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __getitem__(self, name: str) -> Any:
        if name not in list(self):
            raise UnknownName(self.kind, name, self)
        try:
            module = importlib.import_module(f"{self._package}.{name}")
        except ModuleNotFoundError as error:
            if (error.name or "").split(".")[0] == "exabench":
                raise
            raise MissingExtra(f"{self.kind} {name!r} needs a package: {_pip_line(error.name or '')}") from error
        wanted = (_plain(name), _plain(f"{name}{self.kind}"))
        for key, value in vars(module).items():
            if _plain(key) in wanted and not isinstance(value, ModuleType):
                return value
        raise TypeError(f"{module.__file__} defines nothing called {name}: a part carries the name of its file")

    def summary(self, name: str) -> str:
        """The first line of the part's module docstring, read without importing it."""
        source = (self._folder / f"{name}.py").read_text(encoding="utf-8")
        return (ast.get_docstring(ast.parse(source)) or "").split("\n")[0]


def _plain(name: str) -> str:
    return name.replace("_", "").lower()


def _pip_line(module: str) -> str:
    """The pip command that brings `module`: an extra of exabench where one lists it (faiss comes as faiss-cpu)."""
    import importlib.metadata  # takes 9 ms to load, for a rare message

    wanted = module.split(".")[0].replace("_", "-").lower()
    for requirement in importlib.metadata.requires("exabench") or []:
        extra = re.search(r"extra == ['\"]([\w-]+)['\"]", requirement)
        package = re.split(r"[^\w.-]", requirement)[0].lower()
        if extra and (package == wanted or package in (f"{wanted}-cpu", f"py{wanted}")):
            return f"pip install 'exabench[{extra[1]}]'"
    return f"pip install {wanted}"
