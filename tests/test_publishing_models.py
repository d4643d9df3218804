"""Publishing a model: one commit and one tag whatever the Hub does, what people wrote kept, no pickle sent."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from hub_client import point_at, write_release
from hub_double import HubDouble
from models import classifier_folder
from test_model_folder import written
from toys import contents

from exabench.bench.submissions import read_submission
from exabench.core.errors import BadInput
from exabench.core.files import file_digest, json_text
from exabench.data.releases import read as read_release
from exabench.hub import client as hub, commits
from exabench.hub.commits import Published
from exabench.training.publishing import publish_model

REPO = "owner/small"


@pytest.fixture
def double(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubDouble]:
    with HubDouble() as server:
        point_at(server.url, tmp_path / "home", monkeypatch)
        monkeypatch.setattr(commits, "PAUSE", 0.0)
        yield server


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder."""
    folder = tmp_path_factory.mktemp("models")
    release = write_release(folder / "release", {"first": ["sky", "sea"]})
    return written(folder / "one", classifier_folder(folder / "a"), release, folder / "curves.csv")


@pytest.fixture(scope="module")
def two(one: Path) -> Path:
    """What another training left: other weights, in two files."""
    weights = classifier_folder(one.parent / "b", seed=1)
    shutil.copy(weights / "model.safetensors", weights / "extra.safetensors")
    release = read_release(one.parent / "release")
    return written(one.parent / "two", weights, release, one.parent / "curves.csv", seed=8)


def head(double: HubDouble) -> dict[str, bytes]:
    files = dict(double.repo(f"models/{REPO}").at("main").files)
    files.pop(".gitattributes", None)
    return files


def titles(double: HubDouble) -> list[str]:
    repo = double.repo(f"models/{REPO}")
    return [commit.title for commit in repo.history(repo.at("main"))][::-1]


def writes(requests: list[str]) -> list[str]:
    changing = ("repos/create", "/commit/", "/tag/")
    return [request for request in requests if any(part in request for part in changing)]


def revision(folder: Path) -> str:
    return read_submission(folder / "submission.toml").revision


def test_a_model_is_one_commit_and_one_tag(double, one):
    done = publish_model(one, REPO)
    repo = double.repo(f"models/{REPO}")
    assert done == Published(REPO, "v1", repo.refs["main"], f"{double.url}/{REPO}/tree/v1", True)
    assert titles(double) == ["initial", f"{REPO} v1: model at {revision(one)}"]
    assert repo.tags == {"v1": repo.refs["main"]} and len(writes(double.requests)) == 3  # create, commit, tag
    assert set(head(double)) == set(contents(one)) and not any("datasets" in request for request in double.requests)


def test_what_is_published_bears_the_name_of_its_place_and_can_be_run_from_there(double, one, tmp_path):
    publish_model(one, REPO)
    files = head(double)
    (tmp_path / "submission.toml").write_bytes(files["submission.toml"])
    submission = read_submission(tmp_path / "submission.toml")
    assert (submission.name, submission.model, submission.revision) == (REPO, REPO, revision(one))
    assert b'from_pretrained("owner/small")' in files["README.md"] and b"local/small" not in files["README.md"]
    changed = {name for name, data in contents(one).items() if files[name] != data}
    assert changed == {"README.md", "manifest.json", "submission.toml"}
    listed = json.loads(files["manifest.json"])["files"]
    for name in files.keys() - {"README.md", "manifest.json"}:
        (tmp_path / "file").write_bytes(files[name])
        assert listed[name] == file_digest(tmp_path / "file")
    read = hub.model_folder(submission.model, submission.revision, tmp_path / "lock.json")
    assert read.revision == double.repo(f"models/{REPO}").refs["main"]
    assert (read.path / "model.safetensors").read_bytes() == (one / "model.safetensors").read_bytes()


def test_what_is_there_already_makes_no_commit_but_gets_a_tag_that_was_lost(double, one):
    first = publish_model(one, REPO)
    double.requests.clear()
    assert publish_model(one, REPO) == dataclasses.replace(first, changed=False)
    assert writes(double.requests) == []
    double.repo(f"models/{REPO}").tags.clear()
    assert publish_model(one, REPO) == dataclasses.replace(first, changed=False)
    assert double.repo(f"models/{REPO}").tags == {"v1": first.commit} and len(titles(double)) == 2


def test_another_training_takes_the_place_of_the_one_before_it_and_what_people_wrote_stays(double, one, two):
    publish_model(two, REPO)
    files = dict(double.repo(f"models/{REPO}").at("main").files)
    files["README.md"] = files["README.md"].replace(b"language: en", b"thanks: all") + b"\n## By hand\n\nMine.\n"
    double.commit(f"models/{REPO}", {**files, "notes.txt": b"mine"})
    assert publish_model(two, REPO).changed is False  # a card that people wrote into is still the card
    done = publish_model(one, REPO)
    assert (done.version, done.changed) == ("v2", True)
    with pytest.raises(BadInput, match=f"model {REPO}@.* is not at revision sha256"):
        hub.model_folder(REPO, revision(two))  # a submission of what was there before
    assert head(double)["notes.txt"] == b"mine" and "extra.safetensors" not in head(double)
    page = head(double)["README.md"].decode()
    assert "Mine." in page and "thanks: all" in page and revision(one) not in page
    repo = double.repo(f"models/{REPO}")
    assert "extra.safetensors" in repo.at("v1").files and repo.tags["v2"] == repo.refs["main"]


def test_a_tag_may_be_named_and_never_moves(double, one, two):
    assert publish_model(one, REPO, tag="paper").version == "paper"
    assert publish_model(one, REPO, tag="paper").changed is False
    with pytest.raises(BadInput, match="tag paper is at .* which is not this model; tags never move"):
        publish_model(two, REPO, tag="paper")
    assert len(titles(double)) == 2
    assert publish_model(two, REPO).version == "v1" and publish_model(two, REPO, tag="final").changed is False
    tags = double.repo(f"models/{REPO}").tags
    assert sorted(tags) == ["final", "paper", "v1"] and tags["final"] == tags["v1"] != tags["paper"]
    with pytest.raises(BadInput, match="must be of ASCII letters"):
        publish_model(one, REPO, tag="a b")


def test_a_dry_run_says_what_would_be_done_and_does_nothing(double, one, two, tmp_path):
    assert publish_model(one, REPO, dry_run=True) == Published(REPO, "v1", "", f"{double.url}/{REPO}/tree/v1", True)
    publish_model(one, REPO)
    double.requests.clear()
    assert publish_model(two, REPO, dry_run=True).version == "v2"
    assert publish_model(one, REPO, dry_run=True).changed is False
    assert publish_model(one, tmp_path / "new", dry_run=True).changed and not (tmp_path / "new").exists()
    assert writes(double.requests) == []


def test_a_pull_request_gets_its_tag_when_it_is_merged(double, one, two):
    publish_model(one, REPO)
    asked = publish_model(two, REPO, pull_request=True)
    assert (asked.version, asked.url) == ("", f"{double.url}/{REPO}/discussions/1")
    merged = double.merge(f"models/{REPO}", 1)
    assert publish_model(two, REPO) == Published(REPO, "v2", merged, f"{double.url}/{REPO}/tree/v2", changed=False)


def test_a_folder_holds_what_the_training_left(one, two, tmp_path):
    place = tmp_path / "place"
    done = publish_model(two, place)
    assert done == Published(str(place), "", file_digest(place / "manifest.json"), str(place), True)
    assert contents(place) == contents(two)
    (place / "notes.txt").write_text("mine")
    done = publish_model(one, place)
    assert done.changed and publish_model(one, place) == dataclasses.replace(done, changed=False)
    found = contents(place)
    assert found.pop("notes.txt") == b"mine" and found == contents(one)
    with pytest.raises(BadInput, match="is a folder, which has no tags"):
        publish_model(one, place, tag="v1")
    for wrong in (one, one / "deeper", one.parent):
        with pytest.raises(BadInput, match="publish to another folder"):
            publish_model(one, wrong)


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("optimizer.pt", b"any", r"contains a pickle \(optimizer.pt\)"),
        ("state.dat", b"\x80\x04K\x01.", r"contains a pickle \(state.dat\)"),
        ("model.safetensors", b"other", "model.safetensors: does not match manifest.json"),
        ("notes.txt", b"mine", "notes.txt is not listed in manifest.json"),
        ("curves.csv", None, "curves.csv is missing, but listed in manifest.json"),
        ("training.json", None, "is not a model folder: manifest.json or training.json is missing"),
        ("manifest.json", b"{}", "manifest.json: is not a model manifest"),
        (
            "manifest.json",
            b'{"kind": "model", "format": 1, "files": {"../x": "sha256:"}}',
            "is not a model manifest",
        ),
    ],
)
def test_a_folder_that_is_not_what_the_training_left_is_refused_before_anything_is_asked(
    double, one, tmp_path, name, data, said
):
    folder = Path(shutil.copytree(one, tmp_path / "folder"))
    (folder / name).unlink(missing_ok=True)
    if data is not None:
        (folder / name).write_bytes(data)
    with pytest.raises(BadInput, match=said):
        publish_model(folder, REPO)
    assert double.requests == []


def test_a_submission_of_other_weights_is_refused_and_a_card_that_people_wrote_into_goes_with_it(double, one, tmp_path):
    folder = Path(shutil.copytree(one, tmp_path / "folder"))
    (folder / "README.md").write_text((folder / "README.md").read_text() + "\n## Thanks\n\nTo all.\n")
    publish_model(folder, REPO)
    assert b"To all." in head(double)["README.md"]
    file = folder / "submission.toml"
    file.write_text(file.read_text().replace(revision(one), "sha256:" + "0" * 64))
    listed = json.loads((folder / "manifest.json").read_text())
    listed["files"]["submission.toml"] = file_digest(file)
    (folder / "manifest.json").write_text(json_text(listed))
    double.requests.clear()
    with pytest.raises(BadInput, match="submission.toml: names another revision than the folder's"):
        publish_model(folder, REPO)
    assert double.requests == []


def test_a_place_that_holds_something_else_is_refused_and_one_made_by_hand_keeps_its_card(double, one):
    for data, said in (
        (b'{"format": 1, "tables": {}}', "owner/small@.*: manifest.json: is not a model manifest"),
        (b"\xff", "publish elsewhere"),
    ):
        double.commit(f"models/{REPO}", {"manifest.json": data})
        with pytest.raises(BadInput, match=said):
            publish_model(one, REPO)
    double.commit(f"models/{REPO}", {"README.md": b"---\nlanguage: pt\n---\n# Mine\n"})
    publish_model(one, REPO)
    page = head(double)["README.md"].decode()
    assert "language: pt" in page and "# Mine" in page and "## Results" in page
    assert publish_model(one, REPO).changed is False
