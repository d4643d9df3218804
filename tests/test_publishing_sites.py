"""Publishing a site: one commit of what differs, none where nothing does, whatever the Hub answers."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from hub_client import CANARY, point_at
from hub_double import HubDouble
from toys import contents
from workflows import check_commands, commands, steps

from exabench.bench.ledger import Ledger
from exabench.board.publishing import publish_site
from exabench.cli import main
from exabench.core.errors import BadInput
from exabench.hub.cards.space import SpaceFacts, space_card
from exabench.hub.commits import Published

FACTS = SpaceFacts(
    "The board: mini",
    "A board with a description that is so long that no Space of the Hub could show it whole.",
    "CC-BY-4.0",
    ("acme/good",),
    ("mteb/scifact",),
)
# huggingface/hub-docs, docs/hub/spaces-config-reference.md
COLOURS = set("red yellow green blue indigo purple pink gray".split())
SPACE = "spaces/owner/board"
REPO = SPACE.removeprefix("spaces/")


@pytest.fixture
def double(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubDouble]:
    """A Hub with an empty Space, as the Hub makes one."""
    with HubDouble() as server:
        point_at(server.url, tmp_path / "home", monkeypatch)
        server.commit(SPACE, {".gitattributes": b"", "README.md": b"---\ntitle: Board\nsdk: static\n---\n"}, "initial")
        yield server


@pytest.fixture
def site(tmp_path: Path) -> Path:
    folder = tmp_path / "site"
    for path, text in {"index.html": "<p>1", "tasks/mini.html": "<p>2", "data/board.json": "{}", ".x": "no"}.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
    return folder


def publish(folder: Path, to: str | Path = REPO, **options: Any) -> Published:
    return publish_site(folder, to, FACTS, **options)


def head(double: HubDouble) -> dict[str, bytes]:
    return dict(double.repo(SPACE).at("main").files)


def front(files: dict[str, bytes]) -> dict[str, Any]:
    return yaml.safe_load(files["README.md"].decode().split("---\n")[1])


def titles(double: HubDouble) -> list[str]:
    repo = double.repo(SPACE)
    return [commit.title for commit in repo.history(repo.at("main"))][::-1]


def test_a_site_is_one_commit_that_the_hub_can_show_and_the_same_again_is_none(double: HubDouble, site: Path) -> None:
    assert publish(site, dry_run=True).changed and titles(double) == ["initial"]
    done = publish(site)
    assert done.changed and done.commit == double.repo(SPACE).refs["main"] and not double.repo(SPACE).tags
    assert titles(double) == ["initial", "The board: mini: 4 files changed, 0 gone"]
    files = head(double)
    assert files.keys() - {".gitattributes", "README.md", "manifest.json"} == contents(site).keys() - {".x"}
    card = front(files)
    assert (card["title"], card["sdk"], card["app_file"]) == ("The board: mini", "static", "index.html")
    assert card["tags"][0] == "leaderboard" and card["models"] == ["acme/good"] and card["datasets"] == ["mteb/scifact"]
    assert card["license"] == "cc-by-4.0" and card["emoji"] and card["colorFrom"] in COLOURS > {card["colorTo"]}
    assert card["short_description"] == "A board with a description that is so long that no Space …"
    assert CANARY not in str(files)
    assert not publish(site, dry_run=True).changed
    double.requests.clear()
    again = publish(site)
    assert (again.changed, again.commit, len(titles(double))) == (False, done.commit, 2)
    assert not [request for request in double.requests if "/commit/" in request]


def test_what_differs_is_sent_and_what_went_goes_and_what_people_put_there_stays(double: HubDouble, site: Path) -> None:
    publish(site)
    card = head(double)["README.md"].replace(b"pinned: false", b"pinned: true  # mine") + b"\nBy hand.\n"
    double.commit(SPACE, {**head(double), "README.md": card, "CNAME": b"mine"})
    (site / "tasks/mini.html").unlink()
    (site / "index.html").write_text("<p>3")
    (site / "new.html").write_text("<p>4")
    publish(site)
    files = head(double)
    assert titles(double)[-1] == "The board: mini: 2 files changed, 1 gone"
    assert "tasks/mini.html" not in files and (files["index.html"], files["new.html"]) == (b"<p>3", b"<p>4")
    assert (files["README.md"], files["CNAME"]) == (card, b"mine")


def test_the_card_follows_the_board_and_keeps_what_people_chose(double: HubDouble, site: Path) -> None:
    publish(site)
    card = head(double)["README.md"].replace(b"colorFrom: blue", b"colorFrom: red")
    double.commit(SPACE, {**head(double), "README.md": card})
    publish_site(site, REPO, replace(FACTS, models=("acme/better", "acme/good"), title="Another"))
    card = front(head(double))
    assert (card["title"], card["models"]) == ("Another", ["acme/better", "acme/good"])
    assert card["colorFrom"] == "red"


def test_a_pull_request_leaves_the_pages_alone_and_is_opened_once(double: HubDouble, site: Path) -> None:
    before = head(double)
    first = publish(site, pull_request=True)
    assert publish(site, pull_request=True).url == first.url and len(double.repo(SPACE).requests) == 1
    assert head(double) == before
    double.merge(SPACE, 1)
    assert head(double)["index.html"] == b"<p>1" and not publish(site).changed


def test_a_space_that_is_not_there_is_made(double: HubDouble, site: Path) -> None:
    publish(site, "owner/new-board")
    assert double.repo("spaces/owner/new-board").at("main").files["index.html"] == b"<p>1"


def test_a_folder_is_a_place_too(site: Path, tmp_path: Path) -> None:
    there = tmp_path / "www"
    assert publish(site, there).changed and not publish(site, there).changed
    (site / "tasks/mini.html").unlink()
    publish(site, there)
    assert contents(there).keys() == {"README.md", "manifest.json", "index.html", "data/board.json"}


def test_what_is_no_site_is_refused(double: HubDouble, site: Path, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="index.html is missing"):
        publish(tmp_path / "home")
    with pytest.raises(BadInput, match="or inside or above it"):
        publish(site, site / "inner")
    (site / "link.html").symlink_to("index.html")
    with pytest.raises(BadInput, match="is a link"):
        publish(site)
    double.commit(SPACE, {"manifest.json": b'{"kind": "model"}'})
    (site / "link.html").unlink()
    with pytest.raises(BadInput, match="is not a site manifest"):
        publish(site)


def test_a_board_is_built_checked_and_published(double: HubDouble, board: Path, tmp_path: Path) -> None:
    command = ["board", "publish", "--board", str(board)]
    assert main([*command, "--repo", REPO]) == 0
    assert b"submissions/acme--good.html" in head(double)["index.html"]
    assert front(head(double))["title"] == "A small board" and "models" not in front(head(double))
    assert main([*command, "--repo", REPO]) == 0 and len(titles(double)) == 2
    assert main([*command, "--to", str(tmp_path / "www")]) == 0
    assert (tmp_path / "www/index.html").read_bytes() == head(double)["index.html"]


def test_a_board_that_does_not_hold_is_published_only_by_who_insists(
    double: HubDouble, board: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (board / "stranger.txt").write_text("x")
    command = ["board", "publish", "--board", str(board), "--repo", REPO]
    assert main(command) == 1 and titles(double) == ["initial"]
    assert "stranger.txt: does not belong to a leaderboard (1 in all" in capsys.readouterr().err
    assert main([*command, "--no-check"]) == 0 and len(titles(double)) == 2
    (board / "stranger.txt").unlink()
    result = next(Ledger(board).results("acme--good"))
    better = {**result.measurement.metrics, result.measurement.headline: 0.99}
    Ledger(board).add_result(replace(result, measurement=replace(result.measurement, metrics=better)))
    assert main(command) == 1 and len(titles(double)) == 2
    assert "acme--good mini bm25-20 nDCG@10 FAIL: off by" in capsys.readouterr().err


def test_choices_that_do_not_go_together_are_refused_and_no_board_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for places in ([], ["--repo", REPO, "--to", "x"]):
        assert main(["board", "publish", *places]) == 2
    assert "give --repo owner/name or --to FOLDER" in capsys.readouterr().err
    for choices, message in (
        (["--repo", REPO], "belongs to --pending"),
        (["--pending", "--task", "mini"], "remove the"),
    ):
        assert main(["bench", "run", *choices]) == 2
        assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def workflow(tmp_path: Path) -> str:
    """The workflow of a new board."""
    assert main(["board", "init", "--board", str(tmp_path / "new"), "--space", REPO]) == 0
    return (tmp_path / "new/rebuild.yml").read_text(encoding="utf-8")


def test_the_workflow_runs_when_the_board_changes_and_its_token_is_a_secret(workflow: str) -> None:
    values = yaml.safe_load(workflow)
    assert values[True].keys() == {"push", "pull_request"}  # YAML 1.1 reads the key `on` as a truth value
    assert values["permissions"] == {"contents": "read"}
    assert re.findall(r"^ +HF_TOKEN: (.+)", workflow, re.MULTILINE) == ["${{ secrets.HF_TOKEN }}"]
    [publishing] = [step for step in steps(workflow) if "HF_TOKEN" in str(step)]
    assert "refs/heads/main" in publishing["if"] and "push" in publishing["if"]


def test_the_workflow_checks_verifies_builds_and_publishes_by_commands_that_exabench_has(workflow: str) -> None:
    wanted = ["board check", "bench verify", "board build", "board build", "board publish"]
    assert [" ".join(command[:2]) for command in commands(workflow)] == wanted
    assert sum("--check" in command for command in commands(workflow)) == 1
    check_commands(workflow)


def test_a_long_description_in_a_script_without_spaces_is_cut_to_what_the_hub_takes() -> None:
    card = space_card(SpaceFacts("board", "\u5fc3\u810f\u5982\u4f55\u6cf5\u8840\u3002" * 30), "index.html")
    short = front({"README.md": card.encode()})["short_description"]
    assert 50 <= len(short) <= 60 and short.startswith("\u5fc3\u810f\u5982\u4f55") and short.endswith(" \u2026")
