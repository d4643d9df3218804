"""A set or a model made of texts for non-commercial use is for non-commercial use, whatever its recipe says."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from models import classifier_folder

import exabench
from exabench.cli import main
from exabench.core.errors import BadInput


@pytest.fixture
def collection(tmp_path: Path) -> Path:
    """A small collection for academic use, as its task.toml says."""
    folder = tmp_path / "academic"
    (folder / "qrels").mkdir(parents=True)
    (folder / "task.toml").write_text('name = "academic"\ntitle = "An academic set"\nlicence = "academic use"\n')
    with (folder / "corpus.jsonl").open("w") as corpus:
        for number in range(12):
            text = f"Passage number {number} is about bees and what they do in month {number}."
            corpus.write(json.dumps({"_id": f"p{number}", "text": text}) + "\n")
    with (folder / "queries.jsonl").open("w") as queries:
        for number in range(4):
            queries.write(json.dumps({"_id": f"q{number}", "text": f"what do bees do in month {number}"}) + "\n")
    lines = [f"q{number}\tp{number}\t1\n" for number in range(4)]
    (folder / "qrels" / "train.tsv").write_text("query-id\tcorpus-id\tscore\n" + "".join(lines))
    return folder


def recipe(folder: Path, collection: Path, licence: str) -> str:
    file = folder / f"{licence}.toml"
    file.write_text(
        f'builder = "mined"\ndataset = "d"\ntable = "t"\nlicence = "{licence}"\n[options]\ntask = "{collection}"\n'
        'retrievers = { bm25 = { part = "bm25" } }\nnegatives = 3\n'
    )
    return str(file)


@pytest.mark.parametrize("licence", ["mit", "apache-2.0", "cc-by-4.0", "cc0-1.0"])
def test_a_licence_that_allows_commercial_use_is_refused_before_anything_is_written(
    tmp_path: Path, collection: Path, licence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["data", "build", recipe(tmp_path, collection, licence), "--to", str(tmp_path / "work")]) == 2
    message = capsys.readouterr().err.splitlines()[-1]
    assert f"declares the licence {licence}" in message and "An academic set is for non-commercial use" in message
    assert not (tmp_path / "work" / "release").exists()


@pytest.mark.parametrize("licence", ["other", "cc-by-nc-4.0", "academic use"])
def test_one_that_does_not_is_taken(tmp_path: Path, collection: Path, licence: str) -> None:
    release = exabench.build(recipe(tmp_path, collection, licence), tmp_path / "work")
    assert release.tables["t"].licence == licence


def test_every_set_of_ms_marco_is_non_commercial(tmp_path: Path) -> None:
    triples = tmp_path / "triples.tsv"
    triples.write_text("what is a bee\tan insect\ta stone\n" * 200)
    page = (
        'builder = "exaranker"\ndataset = "d"\ntable = "t"\nlicence = "mit"\n'
        'teacher = { part = "replay", file = "mini/replies-explain.jsonl" }\n'
        f'[options]\npairs = {{ part = "triples", file = "{triples}", count = 4 }}\n'
    )
    (tmp_path / "recipe.toml").write_text(page)
    with pytest.raises(BadInput, match=r"MS MARCO triples .* is for non-commercial use"):
        exabench.build(tmp_path / "recipe.toml", tmp_path / "work")


def test_a_model_that_learns_from_it_inherits_it(tmp_path: Path, collection: Path) -> None:
    exabench.build(recipe(tmp_path, collection, "cc-by-nc-4.0"), tmp_path / "work")
    model = classifier_folder(tmp_path / "model")
    page = (
        'title = "toy"\nreranker = "cross_encoder"\n'
        f'model = "{model}"\nlicence = "LICENCE"\nloss = {{ part = "lce" }}\n'
        f'data = [{{ release = "{tmp_path / "work"}", table = "t" }}]\n'
        "options = { max_length = 32 }\nsteps = { steps = 1, groups = 2 }\ndev = { every = 0 }\n"
    )
    (tmp_path / "train.toml").write_text(page.replace("LICENCE", "apache-2.0"))
    with pytest.raises(BadInput, match=r"declares the licence apache-2\.0, and table t is for non-commercial use"):
        exabench.train(tmp_path / "train.toml", tmp_path / "trained")
    (tmp_path / "train.toml").write_text(page.replace("LICENCE", "cc-by-nc-4.0"))
    assert exabench.train(tmp_path / "train.toml", tmp_path / "fine").folder.is_dir()
