"""Shelves find parts by name, import one only when it is chosen, and every part on them keeps its promise."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from exabench.core.errors import MissingExtra, UnknownName
from exabench.core.shelf import Shelf
from exabench.measure.metrics import METRICS
from exabench.parts.rerankers import RERANKERS
from exabench.parts.retrievers import RETRIEVERS
from exabench.tasks.collections import COLLECTIONS, ORDER

SHELVES = {"metric": METRICS, "collection": COLLECTIONS, "reranker": RERANKERS, "retriever": RETRIEVERS}
PARTS = [(shelf, name) for shelf in SHELVES.values() for name in shelf]
FILES = {
    "__init__.py": "",
    "_private.py": "raise RuntimeError('a private file was imported')\n",
    "plain.py": '"""A plain part: summary.\n\nMore."""\nclass Plain: pass\n',
    "two_words.py": "import two_words_helper as two_words\ndef twoWords(): pass\n",
    "needy.py": "import no_such_package_anywhere.inner\nclass Needy: pass\n",
    "extra.py": "raise ModuleNotFoundError('x', name='hypothesis.strategies')\n",
    "broken.py": "import exabench.no_such_module\n",
    "nameless.py": "class Other: pass\n",
}


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Shelf:
    package = f"shelf_{abs(hash(request.node.name))}"
    (tmp_path / package).mkdir()
    (tmp_path / "two_words_helper.py").write_text("")
    for name, text in FILES.items():
        (tmp_path / package / name).write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    return Shelf("toy", package, str(tmp_path / package / "__init__.py"))


def test_a_shelf_lists_its_files_but_not_the_private_ones(shelf):
    assert list(shelf) == ["broken", "extra", "nameless", "needy", "plain", "two_words"]
    assert len(shelf) == 6


def test_a_part_is_the_object_with_the_name_of_its_file(shelf):
    assert shelf["plain"].__name__ == "Plain"
    assert shelf["two_words"].__name__ == "twoWords"


def test_a_summary_is_read_without_importing(shelf):
    assert shelf.summary("plain") == "A plain part: summary."
    assert shelf.summary("broken") == ""


@pytest.mark.parametrize("name", ["plian", "_private", "__init__", "../plain", "", "plain.py", "Plain"])
def test_an_unknown_name_is_refused_with_the_choices(shelf, name):
    with pytest.raises(UnknownName, match="unknown toy .*plain"):
        shelf[name]


def test_a_missing_package_is_answered_with_the_pip_line(shelf):
    with pytest.raises(MissingExtra, match=r"^toy 'needy' needs a package: pip install no-such-package-anywhere$"):
        shelf["needy"]


def test_a_package_that_an_extra_brings_is_answered_with_the_extra(shelf):
    with pytest.raises(MissingExtra, match=r"pip install 'exabench\[dev\]'$"):
        shelf["extra"]


def test_a_bug_of_our_own_is_not_called_a_missing_package(shelf):
    with pytest.raises(ModuleNotFoundError, match="no_such_module"):
        shelf["broken"]


def test_a_file_without_its_part_says_so(shelf):
    with pytest.raises(TypeError, match="nothing called nameless"):
        shelf["nameless"]


def test_listing_and_summaries_import_nothing():
    script = """
import sys
from exabench.tasks.collections import COLLECTIONS
from exabench.measure.metrics import METRICS
from exabench.parts.rerankers import RERANKERS
from exabench.parts.retrievers import RETRIEVERS
before = set(sys.modules)
for shelf in (COLLECTIONS, METRICS, RERANKERS, RETRIEVERS):
    assert [shelf.summary(name) for name in shelf]
print(sorted(set(sys.modules) - before))
print(sorted(set(sys.modules) & {"bm25s", "ranx", "datasets", "ir_datasets", "scipy", "huggingface_hub"}))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.split("\n")[:2] == ["[]", "[]"]


@pytest.mark.parametrize(("shelf", "name"), PARTS, ids=[f"{shelf.kind}-{name}" for shelf, name in PARTS])
def test_every_part_loads_and_says_what_it_is(shelf, name):
    assert callable(shelf[name])
    summary = shelf.summary(name)
    assert summary.endswith(".")
    assert 20 < len(summary) <= 120
    assert shelf[name].__doc__


def test_every_collection_has_its_place_in_the_order():
    assert set(ORDER) == set(COLLECTIONS)
