"""Shelves find parts by name, import one only when it is chosen, and every part on them keeps its promise."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from exabench.bench.submissions import TYPES
from exabench.core.errors import MissingExtra, UnknownName
from exabench.core.packages import extra_line
from exabench.core.shelf import Shelf
from exabench.parts.rerankers import RERANKERS
from exabench.tasks.collections import COLLECTIONS, ORDER

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


def test_a_shelf_lists_its_public_files_without_importing_and_a_part_is_the_object_with_the_name_of_its_file(shelf):
    assert list(shelf) == ["broken", "extra", "nameless", "needy", "plain", "two_words"] and len(shelf) == 6
    assert "broken" in shelf and "plian" not in shelf
    assert shelf.summary("plain") == "A plain part: summary."
    assert shelf.summary("broken") == ""
    assert shelf["plain"].__name__ == "Plain"
    assert shelf["two_words"].__name__ == "twoWords"


@pytest.mark.parametrize("name", ["plian", "_private", "__init__", "../plain", "", "plain.py", "Plain"])
def test_an_unknown_name_is_refused_with_the_choices(shelf, name):
    with pytest.raises(UnknownName, match="unknown toy .*plain"):
        shelf[name]


@pytest.mark.parametrize(
    ("name", "error", "told"),
    [
        ("needy", MissingExtra, r"^toy 'needy' needs a package: pip install no-such-package-anywhere$"),
        ("extra", MissingExtra, f"{re.escape(extra_line('dev'))}$"),
        ("broken", ModuleNotFoundError, "no_such_module"),  # a bug of our own is not called a missing package
        ("nameless", TypeError, "nothing called nameless"),
    ],
)
def test_a_part_that_cannot_be_had_says_what_brings_it_or_what_is_wrong(shelf, name, error, told):
    with pytest.raises(error, match=told):
        shelf[name]


def test_every_collection_has_its_place_in_the_order():
    assert {"beir_folder", *ORDER} == set(COLLECTIONS)  # a folder at hand comes before all places


def test_every_reranker_with_a_model_says_its_type_and_nothing_is_imported_for_it():
    needs_none = {"constant", "oracle", "random", "reversed", "unchanged"}
    for name in set(RERANKERS) - needs_none:
        assert RERANKERS.constant(name, "TYPE") in TYPES, name
    assert RERANKERS.constant("oracle", "TYPE") == ""


def test_every_reranker_that_can_be_trained_says_what_it_learns():
    for name in RERANKERS:
        assert bool(RERANKERS.constant(name, "LEARNS")) == callable(getattr(RERANKERS[name], "learner", None)), name
