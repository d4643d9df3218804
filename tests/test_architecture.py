"""The house keeps its shape: floors, shelves, one place for each outside library, and a start that loads nothing."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from floors import BEGIN, CONTRIBUTING, END, PACKAGE, ROOT, Import, Source, below, drawing, floors, imports_of, sources

FLOORS = {"core": 0, "hub": 1, "measure": 1, "tasks": 2, "models": 2, "parts": 3, "data": 4, "bench": 5, "training": 6}
FLOORS |= {"board": 7, "studies": 7, "demo": 8, "cli": 9}  # a folder may import those with a smaller number
SHELVES = {
    "data": ("builders", "exports", "pairs", "queries"),
    "measure": ("metrics",),
    "models": ("strategies",),
    "parts": ("losses", "rerankers", "retrievers", "teachers"),
}
HEAVY = set(
    """
    aiohttp bm25s cwl datasets faiss huggingface_hub ir_datasets ir_measures jinja2 msgspec numba numpy pandas pyarrow
    pyserini ranx rich scipy sentence_transformers torch transformers vllm yaml
    """.split()
)
KNOWS = {  # each of these outside libraries is known to the folders that name it here, and to no other
    "board": "jinja2",
    "cli": "click rich",
    "core": "aiohttp cbor2 ir_measures jinja2 pandas ray",  # pandas: for `to_pandas` alone
    "data": "datasets",
    "hub": "datasets huggingface_hub jinja2 yaml",
    "models": "faiss sentence_transformers torch transformers",
    "parts": "bm25s faiss jinja2 jnius pyserini ranx scipy torch transformers vllm",
    "tasks": "ir_datasets",
    "training": "accelerate sentence_transformers torch transformers",
}


def place(source: Source) -> str:
    return str(source.file.relative_to(ROOT))


def imports() -> Iterator[tuple[Source, Import]]:
    """Every import of every file."""
    for source in sources():
        for one in source.imports:
            yield source, one


def test_the_top_of_the_package_holds_what_the_product_does() -> None:
    names = {path.name for path in PACKAGE.iterdir() if path.is_dir() and path.name != "__pycache__"}
    names |= {path.stem for path in PACKAGE.glob("*.py")}
    assert names == FLOORS.keys() | {"__init__", "__main__", "mini", "recipes"}


def test_imports_point_down_and_never_sideways() -> None:
    for source, one in imports():
        assert one.module != "exabench", f"{place(source)} imports the root, which ties all modules into one knot"
        other = below(one.module)
        if other is None or other == source.folder or source.folder in ("__init__", "__main__"):
            continue
        told = f"{place(source)} imports {one.module}"
        assert FLOORS[other] < FLOORS[source.folder], f"{told}, which is not a floor below"
        if source.folder == "cli" and one.at_top and not one.for_types:
            assert other == "core", f"{told} at the top: --help would load it"


def test_contributing_shows_the_floors_as_the_imports_have_them() -> None:
    assert max(floors().values()) <= max(FLOORS.values())
    shown = CONTRIBUTING.read_text(encoding="utf-8").partition(BEGIN)[2].partition(END)[0]
    assert shown == drawing(), "make floors draws them anew"


def test_every_outside_library_has_its_folders_and_the_core_needs_few() -> None:
    known = set(" ".join(KNOWS.values()).split())
    allowed = set(sys.stdlib_module_names) | {"exabench", "msgspec", "pyarrow", *KNOWS["core"].split()}
    for source, one in imports():
        library = one.module.split(".")[0]
        told = f"{place(source)} imports {one.module}"
        assert library not in known or library in KNOWS.get(source.folder, "").split(), told
        assert source.folder != "core" or one.for_types or library in allowed, told


def test_measuring_a_run_needs_numpy_and_pyarrow_only() -> None:
    allowed = set(sys.stdlib_module_names) | {"exabench", "numpy", "pyarrow"}
    for source, one in imports():
        if source.folder == "measure":
            assert one.module.split(".")[0] in allowed, f"{place(source)} imports {one.module}"


def test_no_part_knows_a_part_of_another_shelf_or_a_sibling() -> None:
    for source, one in imports():
        path, other = source.module.split("."), one.module.split(".")[1:]
        if one.for_types or not all(
            len(module) > 1 and module[1] in SHELVES.get(module[0], ()) for module in (path, other)
        ):
            continue
        if other[0] == path[0]:
            assert other[1] == path[1], f"{place(source)} imports another shelf: {one.module}"
        if other[:2] == path[:2] and len(other) > 2:
            assert other[2].startswith("_"), f"{place(source)} imports its sibling {one.module}"


def test_private_modules_are_private_to_their_folder() -> None:
    for source, one in imports():
        package = ".".join(source.file.parent.relative_to(PACKAGE.parent).parts)
        home, _, private = one.module.partition("._")
        if private and home.startswith("exabench"):
            assert home == package, f"{place(source)} imports {one.module}, which is private to {home}"


def test_no_test_imports_or_patches_a_private_module_of_the_package() -> None:
    private = [f"exabench.{source.module}" for source in sources() if "._" in source.module]
    for file in Path(__file__).parent.rglob("*.py"):
        tree = ast.parse(file.read_text(encoding="utf-8"))
        named = [one.module for one in imports_of(tree)]
        named += [str(node.value) for node in ast.walk(tree) if isinstance(node, ast.Constant)]
        found = re.findall(rf"\b(?:{'|'.join(private)})\b", "\n".join(named))
        assert not found, f"{file.name} names {', '.join(found)}"


def test_a_shelf_is_thirty_lines_of_protocol_and_no_table_of_parts() -> None:
    for folder, shelves in SHELVES.items():
        for shelf in shelves:
            source = (PACKAGE / folder / shelf / "__init__.py").read_text(encoding="utf-8")
            lines = [line for line in source.splitlines() if line.strip()]
            assert "Protocol" in source and "Shelf(" in source and len(lines) <= 35, shelf


def test_modules_and_public_names_say_what_they_are_and_are_typed() -> None:
    for source in sources():
        assert ast.get_docstring(source.tree), f"{place(source)}: a module opens with one sentence"
        assert source.file.stem not in {"utils", "helpers", "common", "base", "manager", "config"}
        for node in source.tree.body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
                assert ast.get_docstring(node), f"{place(source)}: {node.name} has no docstring"
        for node in ast.walk(source.tree):
            if isinstance(node, ast.FunctionDef):
                assert node.returns is not None, f"{place(source)}: {node.name} has no return type"


def test_a_class_name_stands_for_one_class() -> None:
    homes: dict[str, list[str]] = {}
    for source in sources():
        for node in ast.walk(source.tree):
            if isinstance(node, ast.ClassDef):
                homes.setdefault(node.name, []).append(place(source))
    assert {name: files for name, files in homes.items() if len(files) > 1} == {}


def test_only_the_command_line_prints() -> None:
    for source in sources():
        for node in ast.walk(source.tree):
            called = node.func if isinstance(node, ast.Call) else None
            assert not (isinstance(called, ast.Name) and called.id == "print"), f"{place(source)} prints"
            if isinstance(called, ast.Attribute) and source.folder != "cli":
                assert called.attr != "echo", f"{place(source)} prints"


GROUPS = ("bench", "bench score", "board build", "demo", "data", "data build")
LIGHT = ["--help", "--version", *(f"{command} --help" for command in GROUPS)]


def test_help_loads_no_heavy_library(tmp_path: Path) -> None:
    code = f"""
import sys
from exabench.cli import main
for line in {[*LIGHT, "bench tasks --json", "parts"]}:
    main(line.split())
    found = {HEAVY | {"exabench.parts.rerankers.monot5"}}.intersection(sys.modules)
    print(line, *sorted(found), sep="|", file=sys.stderr)
"""
    # Away from the checkout, whose leaderboard describes a task of its own: checking that takes numpy.
    asked = [sys.executable, "-c", code]
    done = subprocess.run(asked, capture_output=True, text=True, check=True, cwd=tmp_path)
    # The table of tasks is checked as it is read; the parts themselves are listed without an import.
    loaded = [*LIGHT, "bench tasks --json|msgspec", "parts|msgspec|numpy|pyarrow"]
    assert done.stderr.splitlines() == loaded, "a heavy library stands behind the command that loads it"


def test_importing_the_package_loads_nothing_of_it_but_its_face() -> None:
    code = "import sys, exabench; print(*[m for m in sys.modules if m.startswith('exabench')])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["exabench"]


def test_every_name_of_the_face_is_there_and_is_listed() -> None:
    import exabench

    text = (PACKAGE / "__init__.py").read_text(encoding="utf-8")
    names = re.findall(r"(\w+) as \1\b", text)
    assert len(names) > 30
    for name in names:
        assert getattr(exabench, name) is not None
        assert name in dir(exabench)
    with pytest.raises(AttributeError):
        getattr(exabench, "nothing_of_" + "the_kind")
