"""The floors of the package, worked out from its imports: `python tests/floors.py` writes them into CONTRIBUTING.md.

A folder stands one floor above the highest folder that it imports. The command line stands on top by itself.
"""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "exabench"
CONTRIBUTING = ROOT / "CONTRIBUTING.md"
BEGIN = "<!-- floors: made by `make floors` from the imports -->\n"
END = "<!-- end of floors -->\n"


class Import(NamedTuple):
    """One import of a file: the module, whether it runs when the file is loaded, and whether only types need it."""

    module: str
    at_top: bool
    for_types: bool


class Source(NamedTuple):
    """A file of the package, parsed once."""

    file: Path
    tree: ast.Module
    imports: tuple[Import, ...]

    @property
    def module(self) -> str:
        return ".".join(self.file.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__")

    @property
    def folder(self) -> str:
        """The folder at the top of the package; the name itself of a file that lies there."""
        return self.module.split(".")[0]


@functools.cache
def sources() -> tuple[Source, ...]:
    """Every file of the package."""
    found = []
    for file in sorted(PACKAGE.rglob("*.py")):
        tree = ast.parse(file.read_text(encoding="utf-8"))
        found.append(Source(file, tree, tuple(imports_of(tree))))
    return tuple(found)


def imports_of(node: ast.AST, at_top: bool = True, for_types: bool = False) -> Iterator[Import]:
    """Every import below a node."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            for alias in child.names:
                yield Import(alias.name, at_top, for_types)
        elif isinstance(child, ast.ImportFrom):
            yield from _imports_from(child, at_top, for_types)
        else:
            inside_function = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            typing_only = isinstance(child, ast.If) and "TYPE_CHECKING" in ast.dump(child.test)
            yield from imports_of(child, at_top and not inside_function, for_types or typing_only)


def _imports_from(node: ast.ImportFrom, at_top: bool, for_types: bool) -> Iterator[Import]:
    """The modules of `from a.b import c`: a.b.c where that is a module, else a.b."""
    assert node.level == 0, "relative imports hide the floors"
    module = node.module or ""
    for alias in node.names:
        inner = PACKAGE.parent.joinpath(*module.split("."), alias.name)
        is_module = inner.is_dir() or inner.with_suffix(".py").is_file()
        yield Import(f"{module}.{alias.name}" if is_module else module, at_top, for_types)


def below(module: str) -> str | None:
    """The folder of the package that a module lies in; None for a module of others."""
    parts = module.split(".")
    return parts[1] if parts[0] == "exabench" and len(parts) > 1 else None


def arrows() -> dict[str, set[str]]:
    """Each folder at the top with the folders that it imports, for types too."""
    found: dict[str, set[str]] = {}
    for source in sources():
        if source.folder not in ("__init__", "__main__"):  # the lazy face names everything and imports nothing
            named = {below(one.module) for one in source.imports}
            found.setdefault(source.folder, set()).update(name for name in named if name and name != source.folder)
    return found


def floors() -> dict[str, int]:
    """The floor of each folder. Raises ValueError where folders import one another in a circle."""
    found = arrows()
    floor: dict[str, int] = {}
    while len(floor) < len(found):
        ready = [name for name in found if name not in floor and found[name] <= floor.keys()]
        if not ready:
            raise ValueError(f"these import one another in a circle: {sorted(found.keys() - floor.keys())}")
        for name in ready:
            floor[name] = 1 + max((floor[other] for other in found[name]), default=-1)
    return floor


def drawing() -> str:
    """The floors as text, the command line on top, each folder with the floors' folders that it rests on."""
    found, floor = arrows(), floors()
    width = max(len(name) for name in floor)
    lines = []
    for number in sorted(set(floor.values()), reverse=True):
        for name in sorted(name for name in floor if floor[name] == number):
            rests_on = " ".join(sorted(found[name], key=lambda other: (-floor[other], other)))
            lines.append(f"floor {number}   {name:<{width}}   {'-> ' + rests_on if rests_on else ''}".rstrip())
        lines.append("        " + "-" * (width + 6))
    return "```\n" + "\n".join(lines[:-1]) + "\n```\n"


def main() -> None:
    before, _, rest = CONTRIBUTING.read_text(encoding="utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    CONTRIBUTING.write_text(before + BEGIN + drawing() + END + after, encoding="utf-8")


if __name__ == "__main__":
    main()
