"""The house keeps its shape: floors, shelves, one room for each outside library, and a start that loads nothing."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "exabench"
FILES = sorted(PACKAGE.rglob("*.py"))

FLOORS = {
    0: {
        "nouns",
        "rows",
        "shelf",
        "recipe",
        "files",
        "errors",
        "catalogue",
        "options",
        "parallel",
        "records",
        "sampling",
        "sentence_modules",
        "sqlite_store",
    },
    1: {
        *("metrics", "statistics", "runs", "qrels", "submissions", "hub", "flops", "strategies"),
        *("batches", "models", "prompting", "quality", "permutation", "losses"),
        *("screening", "exposure", "http", "asking", "rank_fusion"),
    },
    1.5: {"dual_encoder", "collections"},
    2: {
        *("retrievers", "rerankers", "teachers", "ledger", "measuring", "costs"),
        *("pairs", "queries", "builders", "replies", "releases", "cards", "shards"),
        *("showing", "discussions"),
    },
    3: {"systems", "commits"},
    4: {"reranking", "sandbox"},
    5: {
        *("evaluation", "comparison", "verification", "board", "pages"),
        *("building", "publishing", "auditing", "training"),
    },
    5.3: {"submitting"},
    5.6: {"queueing"},
    6: {"demo"},
    7: {"__init__", "cli"},
    8: {"__main__"},
}
FLOOR_OF = {room: floor for floor, rooms in FLOORS.items() for room in rooms}
SHELVES = (
    *("builders", "collections", "losses", "metrics", "pairs", "queries", "rerankers", "retrievers", "strategies"),
    "teachers",
)
HEAVY = {
    *("torch", "transformers", "vllm", "pyserini", "ranx", "datasets", "huggingface_hub", "pyarrow", "numpy"),
    *(
        "pandas",
        "jinja2",
        "scipy",
        "bm25s",
        "ir_datasets",
        "numba",
        "rich",
        "sentence_transformers",
        "faiss",
        "aiohttp",
        "yaml",
    ),
}
ONLY_IN = {  # an outside library and the rooms that may know it
    "huggingface_hub": {"hub", "discussions", "cards"},
    "datasets": {"hub", "releases"},
    "jinja2": {"pages", "prompting", "cards"},
    "ir_datasets": {"collections"},
    "bm25s": {"retrievers"},
    "ranx": set(),
    "rich": {"cli"},
    "vllm": {"teachers"},
    "aiohttp": {"http"},
    "pyserini": {"retrievers"},
    "jnius": {"retrievers"},
    "sentence_transformers": {"dual_encoder"},
    "faiss": {"retrievers"},
    "torch": {"losses", "strategies", "models", "dual_encoder", "rerankers", "retrievers", "teachers", "training"},
    "transformers": {"models", "rerankers", "retrievers", "teachers", "training"},
    "accelerate": {"training"},
    "click": {"cli"},
    "yaml": {"cards"},
    "ray": {"building", "parallel"},
}


def room_of(file: Path) -> str:
    return file.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(file: Path) -> Iterator[tuple[str, bool]]:
    """Every module a file imports at run time, and whether it does so at the top."""

    def walk(node: ast.AST, top: bool) -> Iterator[tuple[str, bool]]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.dump(child.test):
                continue
            if isinstance(child, ast.Import):
                yield from ((alias.name, top) for alias in child.names)
            elif isinstance(child, ast.ImportFrom):
                assert child.level == 0, f"{file}: relative imports hide the floors"
                yield child.module or "", top
            yield from walk(child, top and not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda))

    yield from walk(ast.parse(file.read_text(encoding="utf-8")), True)


def inner(module: str) -> str | None:
    parts = module.split(".")
    return parts[1] if parts[0] == "exabench" and len(parts) > 1 else None


def functions(file: Path) -> Iterator[ast.FunctionDef]:
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef):
            yield node


@pytest.mark.parametrize("file", FILES, ids=lambda f: str(f.relative_to(PACKAGE)))
def test_imports_point_down_and_never_sideways(file: Path) -> None:
    room = room_of(file)
    assert room in FLOOR_OF, f"{room} has no floor: give it one in FLOORS"
    for module, top in imports(file):
        other = inner(module)
        assert module != "exabench", f"{file.name} imports the package root, which ties every module into one knot"
        if other is None or other == room:
            continue
        assert other in FLOOR_OF, f"{file.name} imports {module}, which has no floor"
        down = FLOOR_OF[other] < FLOOR_OF[room]
        same_ground = FLOOR_OF[room] == FLOOR_OF[other] == 0
        assert down or same_ground, f"{file.name} (floor {FLOOR_OF[room]}) imports {module} (floor {FLOOR_OF[other]})"
        if room == "cli":
            assert FLOOR_OF[other] == 0 or not top, f"{file.name} imports {module} at the top: --help would load it"


@pytest.mark.parametrize("file", FILES, ids=lambda f: str(f.relative_to(PACKAGE)))
def test_the_ground_floor_needs_the_standard_library_and_msgspec_alone(file: Path) -> None:
    if FLOOR_OF[room_of(file)] == 0:
        outside = {m.split(".")[0] for m, _ in imports(file)} - set(sys.stdlib_module_names) - {"exabench", "msgspec"}
        if room_of(file) == "parallel":
            outside -= {"ray"}
        assert not outside, f"{file.name} imports {outside}"


@pytest.mark.parametrize("file", FILES, ids=lambda f: str(f.relative_to(PACKAGE)))
def test_every_outside_library_has_one_room(file: Path) -> None:
    for module, _ in imports(file):
        rooms = ONLY_IN.get(module.split(".")[0])
        assert rooms is None or room_of(file) in rooms, f"{file.name} imports {module}; only {rooms} may"


@pytest.mark.parametrize("shelf", SHELVES)
def test_no_part_of_a_shelf_knows_a_sibling(shelf: str) -> None:
    for file in (PACKAGE / shelf).glob("*.py"):
        for module, _ in imports(file):
            parts = module.split(".")
            if parts[:2] == ["exabench", shelf] and len(parts) > 2:
                assert parts[2].startswith("_"), f"{file.name} imports its sibling {module}"


@pytest.mark.parametrize("shelf", SHELVES)
def test_a_shelf_is_thirty_lines_of_protocol_and_no_table_of_parts(shelf: str) -> None:
    file = "_collection.py" if shelf == "collections" else "__init__.py"
    source = (PACKAGE / shelf / file).read_text(encoding="utf-8")
    lines = [line for line in source.splitlines() if line.strip()]
    assert "Protocol" in source and "Shelf(" in source and len(lines) <= 45


@pytest.mark.parametrize("file", FILES, ids=lambda f: str(f.relative_to(PACKAGE)))
def test_a_module_says_what_it_is(file: Path) -> None:
    source = file.read_text(encoding="utf-8")
    assert ast.get_docstring(ast.parse(source)), "a module opens with one sentence"
    assert file.stem not in {"utils", "helpers", "common", "base", "manager", "config"}


@pytest.mark.parametrize("file", FILES, ids=lambda f: str(f.relative_to(PACKAGE)))
def test_public_names_are_typed_and_documented(file: Path) -> None:
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            assert ast.get_docstring(node), f"{node.name} has no docstring"
    for function in functions(file):
        assert function.returns is not None, f"{function.name} has no return type"


@pytest.mark.parametrize("file", FILES, ids=lambda f: str(f.relative_to(PACKAGE)))
def test_only_the_command_line_prints(file: Path) -> None:
    calls = [n.func for n in ast.walk(ast.parse(file.read_text(encoding="utf-8"))) if isinstance(n, ast.Call)]
    assert not any(isinstance(f, ast.Name) and f.id == "print" for f in calls)
    if room_of(file) != "cli":
        assert not any(isinstance(f, ast.Attribute) and f.attr == "echo" for f in calls)


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

    for name in exabench._NAMES:
        assert getattr(exabench, name) is not None
        assert name in dir(exabench)
    with pytest.raises(AttributeError):
        getattr(exabench, "nothing_of_" + "the_kind")
