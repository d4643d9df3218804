"""The house keeps its shape: floors, shelves, one place for each outside library, and a start that loads nothing."""

from __future__ import annotations

import ast
import subprocess
import sys

import pytest
from floors import BEGIN, CONTRIBUTING, END, PACKAGE, ROOT, Source, below, drawing, floors, sources

FLOORS = {  # a folder may import those with a smaller number
    "core": 0,
    "hub": 1,
    "measure": 1,
    "tasks": 2,
    "models": 2,
    "parts": 3,
    "data": 4,
    "bench": 5,
    "training": 6,
    "board": 7,
    "demo": 8,
    "cli": 9,
}
SHELVES = {
    "data": ("builders", "pairs", "queries"),
    "measure": ("metrics",),
    "models": ("strategies",),
    "parts": ("losses", "rerankers", "retrievers", "teachers"),
}
HEAVY = set(
    """
    aiohttp bm25s datasets faiss huggingface_hub ir_datasets jinja2 msgspec numba numpy pandas pyarrow pyserini ranx
    rich scipy sentence_transformers torch transformers vllm yaml
    """.split()
)
ONLY_IN = {  # an outside library and the folders that may know it
    "aiohttp": {"core"},
    "accelerate": {"training"},
    "bm25s": {"parts"},
    "click": {"cli"},
    "datasets": {"data", "hub"},
    "faiss": {"parts", "models"},
    "huggingface_hub": {"hub"},
    "ir_datasets": {"tasks"},
    "jinja2": {"board", "hub", "parts"},
    "jnius": {"parts"},
    "pyserini": {"parts"},
    "ranx": {"parts"},
    "ray": {"core"},
    "rich": {"cli"},
    "sentence_transformers": {"models"},
    "torch": {"models", "parts", "training"},
    "transformers": {"models", "parts", "training"},
    "vllm": {"parts"},
    "yaml": {"hub"},
}
MOST_AT_THE_TOP = 16


def place(source: Source) -> str:
    return str(source.file.relative_to(ROOT))


def test_the_top_of_the_package_holds_what_the_product_does() -> None:
    names = {path.name for path in PACKAGE.iterdir() if path.is_dir() and path.name != "__pycache__"}
    names |= {path.stem for path in PACKAGE.glob("*.py")}
    assert names == FLOORS.keys() | {"__init__", "__main__", "mini", "recipes"}
    assert len(names) <= MOST_AT_THE_TOP


def test_imports_point_down_and_never_sideways() -> None:
    for source in sources():
        for one in source.imports:
            assert one.module != "exabench", f"{place(source)} imports the root, which ties all modules into one knot"
            other = below(one.module)
            if other is None or other == source.folder or source.folder in ("__init__", "__main__"):
                continue
            assert FLOORS[other] < FLOORS[source.folder], (
                f"{place(source)} imports {one.module}, which is no floor below"
            )
            if source.folder == "cli" and one.at_top and not one.for_types:
                assert other == "core", f"{place(source)} imports {one.module} at the top: --help would load it"


def test_contributing_shows_the_floors_as_the_imports_have_them() -> None:
    assert max(floors().values()) <= max(FLOORS.values())
    shown = CONTRIBUTING.read_text(encoding="utf-8").partition(BEGIN)[2].partition(END)[0]
    assert shown == drawing(), "make floors draws them anew"


def test_the_core_needs_the_standard_library_and_three_small_ones() -> None:
    allowed = set(sys.stdlib_module_names) | {"exabench", "msgspec", "aiohttp", "ray"}
    for source in sources():
        if source.folder == "core":
            outside = {one.module.split(".")[0] for one in source.imports if not one.for_types} - allowed
            assert not outside, f"{place(source)} imports {outside}"


def test_every_outside_library_has_its_folders() -> None:
    for source in sources():
        for one in source.imports:
            folders = ONLY_IN.get(one.module.split(".")[0])
            assert folders is None or source.folder in folders, (
                f"{place(source)} imports {one.module}; only {folders} may"
            )


def test_no_part_knows_a_part_of_another_shelf_or_a_sibling() -> None:
    for source in sources():
        path = source.module.split(".")
        if len(path) < 2 or path[1] not in SHELVES.get(path[0], ()):
            continue
        for one in source.imports:
            other = one.module.split(".")[1:]
            if len(other) < 2 or other[1] not in SHELVES.get(other[0], ()) or one.for_types:
                continue
            if other[0] == path[0]:
                assert other[1] == path[1], f"{place(source)} imports another shelf: {one.module}"
            if other[:2] == path[:2] and len(other) > 2:
                assert other[2].startswith("_"), f"{place(source)} imports its sibling {one.module}"


def test_private_modules_are_private_to_their_folder() -> None:
    for source in sources():
        for one in source.imports:
            check_private(
                place(source), one.module, str(source.file.parent.relative_to(PACKAGE.parent)).replace("/", ".")
            )


def check_private(importer: str, module: str, package: str) -> None:
    if module.startswith("exabench."):
        home, _, private = module.partition("._")
        assert not private or home == package, f"{importer} imports {module}, which is private to {home}"


@pytest.mark.parametrize("shelf", [f"{folder}/{shelf}" for folder, shelves in SHELVES.items() for shelf in shelves])
def test_a_shelf_is_thirty_lines_of_protocol_and_no_table_of_parts(shelf: str) -> None:
    source = (PACKAGE / shelf / "__init__.py").read_text(encoding="utf-8")
    lines = [line for line in source.splitlines() if line.strip()]
    assert "Protocol" in source and "Shelf(" in source and len(lines) <= 35


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
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                assert node.func.id != "print", f"{place(source)} prints"
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and source.folder != "cli":
                assert node.func.attr != "echo", f"{place(source)} prints"


def loaded_by(*arguments: str) -> set[str]:
    code = f"import sys; from exabench.cli import main; main({list(arguments)!r}); print(*sys.modules, file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return {name.split(".")[0] for name in done.stderr.split()}


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        ["--version"],
        ["bench", "--help"],
        ["bench", "score", "--help"],
        ["board", "build", "--help"],
        ["demo", "--help"],
        ["data", "--help"],
        ["data", "build", "--help"],
        ["bench", "tasks", "--json"],
    ],
    ids=" ".join,
)
def test_help_loads_no_heavy_library(arguments: list[str]) -> None:
    assert not loaded_by(*arguments) & HEAVY


def test_importing_the_package_loads_nothing_of_it_but_its_face() -> None:
    code = "import sys, exabench; print(*[m for m in sys.modules if m.startswith('exabench')])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["exabench"]


def test_every_name_of_the_face_is_there_and_is_listed() -> None:
    import exabench

    for name in exabench._modules():
        assert getattr(exabench, name) is not None
        assert name in dir(exabench)
    with pytest.raises(AttributeError):
        getattr(exabench, "nothing_of_" + "the_kind")
