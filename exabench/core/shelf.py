"""A shelf: a folder of one-file parts, found by name and imported only when chosen."""

from __future__ import annotations

import ast
import importlib
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

    def __contains__(self, name: object) -> bool:
        # Mapping would import the part, and raise for a name that is unknown; to list the folder takes far longer.
        if not isinstance(name, str) or not name.isidentifier() or name.startswith("_"):
            return False
        return (self._folder / f"{name}.py").is_file()

    def __getitem__(self, name: str) -> Any:
        if name not in self:
            raise UnknownName(self.kind, name, self)
        try:
            module = importlib.import_module(f"{self._package}.{name}")
        except ModuleNotFoundError as error:
            if (error.name or "").split(".")[0] == "exabench":
                raise
            from exabench.core.packages import pip_line  # takes 9 ms to load, for a rare message

            raise MissingExtra(f"{self.kind} {name!r} needs a package: {pip_line(error.name or '')}") from error
        wanted = (_plain(name), _plain(f"{name}{self.kind}"))
        for key, value in vars(module).items():
            if _plain(key) in wanted and not isinstance(value, ModuleType):
                return value
        raise TypeError(f"{module.__file__} defines nothing called {name}: a part carries the name of its file")

    def file(self, name: str) -> Path:
        """The file of a part. Raises UnknownName; nothing is imported."""
        if name not in self:
            raise UnknownName(self.kind, name, self)
        return self._folder / f"{name}.py"

    def summary(self, name: str) -> str:
        """The first line of the part's module docstring, read without importing it."""
        return (ast.get_docstring(self._tree(name)) or "").split("\n")[0]

    def constant(self, name: str, key: str) -> str:
        """A text that the part's module calls `key`, read without importing it; empty where it has none."""
        for line in self._tree(name).body:
            match line:
                case ast.Assign(targets=[ast.Name(id=found)], value=ast.Constant(value=str(text))) if found == key:
                    return text
        return ""

    def _tree(self, name: str) -> ast.Module:
        return ast.parse(self.file(name).read_text(encoding="utf-8"))


def _plain(name: str) -> str:
    return name.replace("_", "").lower()
