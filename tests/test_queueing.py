"""The queue: each submission is taken once, filed whole or refused with its class, and answered once, come what may."""

from __future__ import annotations

import contextlib
import gzip
import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from faults import full_disk_at_each_call, killed_at_each_call
from hub_client import environment, point_at
from hub_double import HubDouble
from models import classifier_folder
from toys import contents, good_run, write_run, write_submission

import exabench.bench.queue as queueing
from exabench.bench.ledger import Ledger
from exabench.bench.queue import Answer, FolderQueue, PullRequestQueue, public_line, refusal, work_off
from exabench.bench.verification import check, verify
from exabench.cli import exabench as commands
from exabench.core.errors import BadInput, MissingExtra, OutsideFailed
from exabench.core.files import read_json
from exabench.core.records import read
from exabench.hub.client import model_folder
from exabench.measure.runs import run_text
from exabench.models.screening import SubmissionRefused

REPO = "acme/board"
ROOT = Path(__file__).parents[1]


def good_gzip(board: Path, name: str = "x") -> bytes:
    """A good run for the board, packed."""
    candidates = Ledger(board).candidates_run(Ledger(board).one_candidates("mini", "bm25-20"))
    return gzip.compress(run_text(good_run(candidates), name))


def waiting(board: Path, name: str, **changes: Any) -> Path:
    """A run that waits in the board's own queue."""
    folder = board / "pending" / name.replace("/", "--")
    write_submission(folder, name=name, **changes)
    (folder / "runs").mkdir()
    (folder / "runs" / "mini.bm25-20.trec.gz").write_bytes(good_gzip(board))
    return folder


def take(board: Path, repo: str = "") -> dict[str, Answer]:
    queue = PullRequestQueue(board, repo, pause=0.0) if repo else FolderQueue(board)
    return {answer.slug: answer for answer in work_off(queue)}


RUN = "runs/mini.bm25-20.trec.gz"


def other(**changes: Any) -> Any:
    """A spoiler: the submission says something else, and comes without runs where it is not a run."""

    def other(folder: Path, name: str) -> None:
        write_submission(folder, **{"name": name, **changes})
        if changes.get("kind") in ("api", "model"):
            shutil.rmtree(folder / "runs")

    return other


def put(file: str, data: bytes) -> Any:
    """A spoiler: other bytes of a file."""
    return lambda folder, name: (folder / file).write_bytes(data)


BAD = {
    "no-submission": lambda folder, name: (folder / "submission.toml").unlink(),
    "no-toml": put("submission.toml", b"name ="),
    "another-name": other(name="acme/other"),
    "a-baseline": other(kind="baseline"),
    "withdrawn": other(withdrawn="x"),
    "no-run": lambda folder, name: shutil.rmtree(folder / "runs"),
    "no-gzip": put(RUN, b"\x1f\x8bx"),
    "nan": put(RUN, gzip.compress(b"q03 Q0 bats-01 1 nan x\n")),
    "unknown-ids": put(RUN, gzip.compress(b"q03 Q0 stranger 1 1 x\n")),
    "a-link": lambda folder, name: (folder / "runs" / "more.trec.gz").symlink_to("/etc/passwd"),
    "an-api-without-runs": other(kind="api", reranker="endpoint", model="m", endpoint="https://example.org"),
    "a-model-not-pinned": other(kind="model", reranker="monot5", model="castorini/monot5"),
}


def test_bad_ones_are_refused_with_their_class_and_the_good_one_among_them_is_scored(board):
    for name, spoil in BAD.items():
        spoil(waiting(board, f"bad/{name}"), f"bad/{name}")
    waiting(board, "acme/better")
    [one] = [one for one in FolderQueue(board).waiting() if one.slug == "acme--better"]
    assert (one.number, one.kind, one.owner) == (0, "run", "acme")
    before = set(contents(board))
    answers = take(board)
    good = answers.pop("acme--better")
    assert (good.reason, len(good.scores), good.scores[0]["state"]) == ("", 1, "re-computed")
    assert not (board / "pending" / "acme--better").exists() and not (board.parent / ".board.taken").exists()
    assert answers.keys() == {f"bad--{name}" for name in BAD}
    for slug, answer in answers.items():
        assert answer.reason == ("unsafe-files" if slug == "bad--a-link" else "invalid-submission"), answer
        assert str(board) not in answer.message and answer.message.isprintable()
        told = read_json(board / "pending" / slug / "answer.json")
        assert (told["class"], told["message"]) == (answer.reason, answer.message)
    added = set(contents(board)) - before
    assert not any("bad--" in name and not name.startswith("pending/") for name in added)
    assert not FolderQueue(board).waiting()  # they are not taken again
    (board / "pending" / "bad--nan" / "answer.json").unlink()
    assert [one.slug for one in FolderQueue(board).waiting()] == ["bad--nan"]


@pytest.mark.parametrize("numbers", [(4, 16, 28, *range(35, 41)), pytest.param(None, marks=pytest.mark.slow)])
def test_a_queue_that_is_killed_goes_on_to_the_same_board(board, numbers):
    waiting(board, "acme/better")
    before = Path(shutil.copytree(board, board.parent / "before"))
    whole = Path(shutil.copytree(board, board.parent / "whole" / "board"))
    take(whole)
    assert check(whole) == [] and all(cell.holds for cell in verify(whole))
    for _ in killed_at_each_call(lambda: take(board), numbers=numbers):
        take(board)
        assert contents(board) == contents(whole) and not (board.parent / ".board.taken").exists()
        shutil.rmtree(board)
        shutil.copytree(before, board)


def test_what_a_killed_queue_left_of_submissions_that_wait_no_longer_goes_with_the_next(board):
    taken = board.parent / ".board.taken"
    for name in ("pending/acme--better-0123456789ab/sent", "acme--board/7-0123456789ab/board"):
        (taken / name).mkdir(parents=True)
    take(board)
    assert os.listdir(taken) == ["acme--board"]  # what another queue of this board began


def invoked(*words: object) -> Any:
    """A `bench` command in this process."""
    return CliRunner().invoke(commands, ["bench", *map(str, words)])


def failing(error: Exception) -> Any:
    def evaluate(*_: Any, **__: Any) -> str:
        raise error

    return evaluate


def test_a_full_disk_ends_the_queue_and_what_was_taken_goes_on_waiting(board):
    waiting(board, "acme/better")
    disks = full_disk_at_each_call(lambda: take(board), calls=("fsync", "replace"))
    assert len([name for _ in disks for name in FolderQueue(board).waiting()]) > 5
    assert not FolderQueue(board).waiting() and "acme--better" in Ledger(board).submissions() and check(board) == []


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (BadInput("x"), "invalid-submission"),
        (MissingExtra("x"), "missing-package"),
        (OutsideFailed("x"), "unreachable"),
        (MemoryError(), "out-of-memory"),
        (ZeroDivisionError("/home/me/secret"), "crashed"),
        (SubmissionRefused("unsafe-files", "x", file="config.json"), "unsafe-files"),
        (BadInput(str(SubmissionRefused("time-limit", "x"))), "time-limit"),
    ],
)
def test_every_error_has_a_class_and_tells_no_path(error, reason):
    found = refusal("a--b", error)
    assert found.reason == reason and "/home" not in found.message
    assert read(Answer, json.loads(json.dumps(found.as_json()))) == found


def test_a_public_line_holds_no_path_and_no_markup():
    line = "/home/me/board/.board.taken/7-ab/sent/runs/mini.trec.gz:3: `x` <b>\nis ../../bad at https://example.org/a/b"
    assert public_line(line) == "mini.trec.gz:3: 'x' 'b' is bad at https://example.org/a/b"
    assert len(public_line("x" * 9999)) <= 400


@pytest.fixture
def hub(tmp_path, monkeypatch, board):
    """A Hub double with the board on it."""
    with HubDouble() as server:
        point_at(server.url, tmp_path / "home", monkeypatch)
        server.commit(f"datasets/{REPO}", contents(board))
        yield server


def proposed(
    hub: HubDouble, files: dict[str, bytes | None], title: str = "Submit acme/better (run)", author: str = ""
) -> None:
    """A pull request made by hand, by the owner that its title names: files put in, or taken out (None)."""
    author = author or title.removeprefix("Submit ").partition("/")[0]
    repo = hub.repo(REPO)
    head = repo.commits[repo.refs["main"]]
    tree = {**head.files, **files}
    number = len(repo.requests) + 1
    repo.add({name: data for name, data in tree.items() if data is not None}, title, f"refs/pr/{number}", head.sha)
    about = {"title": title, "author": {"name": author}, "createdAt": "2024-01-01T00:00:00.000Z", "status": "open"}
    repo.requests.append({"num": number, "isPullRequest": True, **about, "events": []})


def good(board: Path, slug: str = "acme--better") -> dict[str, bytes | None]:
    folder = board.parent / "good"
    text = write_submission(folder, name=slug.replace("--", "/")).read_bytes()
    return {f"submissions/{slug}.toml": text, f"runs/{slug}/mini.bm25-20.trec.gz": good_gzip(board, slug)}


HOSTILE: dict[str, dict[str, bytes | None]] = {
    "a-result": {"results/SLUG/mini.bm25-20.json": b"{}"},
    "the-settings": {"board.toml": b"title = 1"},
    "anothers-run": {"runs/acme--good/mini.bm25-20.trec.gz": None},
    "a-script": {"runs/SLUG/run.py": b"1"},
    "a-weight": {"models/SLUG/model.safetensors": b"1"},
    "nothing": {"submissions/SLUG.toml": None, "runs/SLUG/mini.bm25-20.trec.gz": None},
    "no-submission": {"submissions/SLUG.toml": None},
    "no-gzip": {"runs/SLUG/mini.bm25-20.trec.gz": b"\x1f\x8bx"},
    "a-bomb": {"runs/SLUG/mini.bm25-20.trec.gz": gzip.compress(b"\0" * (200 << 20), 1)},
    "many-lines": {"runs/SLUG/mini.bm25-20.trec.gz": gzip.compress(b"q Q0 d 1 1 x\n" * 1_000_000, 1)},
    "dotted": {"submissions/SLUG.toml": b".".join([b"a"] * 30_000) + b" = 1"},
    "quoted": {"submissions/SLUG.toml": b"'a' . \"b\" . " * 5_000 + b"c = 1"},
    "a-header": {"submissions/SLUG.toml": b"[" + b".".join([b"a"] * 30_000) + b"]"},
    "many-keys": {"submissions/SLUG.toml": b"".join(b"k%d = 1\n" % n for n in range(6_000))},
    "megabytes": {"submissions/SLUG.toml": b"x = 1 #" + b"x" * (3 << 20)},
    **{f"path-{i}": {f"submissions/{slug}.toml": b"x", f"runs/{slug}/mini.bm25-20.trec.gz": b"x"}
       for i, slug in enumerate(["..", "acme", "acme--a--b", "acme--.git", "--x", "con--x" * 40])},
}  # fmt: skip


def test_hostile_pull_requests_are_refused_and_the_good_one_behind_them_is_scored(hub, board, tmp_path):
    for name, changes in HOSTILE.items():
        slug = f"bad--{name}"
        files = {path.replace("SLUG", slug): data for path, data in changes.items()}
        proposed(hub, files if name.startswith("path") else {**good(board, slug), **files}, f"Submit bad/{name} (run)")
    report = {"models/acme--best/training.json": b"{}"}  # of a run no report is read, and half a one is no harm
    proposed(hub, {**good(board, "acme--best"), **report}, "Submit acme/best (run)")
    before = set(contents(board))
    began = time.monotonic()
    answers = take(board, REPO)
    assert time.monotonic() - began < 5 * len(HOSTILE), "no request keeps the queue for long"
    assert answers.pop("acme--best").reason == "" and answers.keys() == {f"bad--{name}" for name in HOSTILE}
    for number, (slug, answer) in enumerate(answers.items(), 1):
        bomb = slug in ("bad--a-bomb", "bad--many-lines")
        assert answer.reason == ("too-large" if bomb else "invalid-submission") and len(answer.message) <= 400, answer
        [said] = hub.said(REPO, number)
        assert answer.reason in said and str(tmp_path) not in said
    assert not any("bad--" in name for name in set(contents(board)) - before)
    assert {one["status"] for one in hub.repo(REPO).requests} == {"closed"}


def test_all_of_them_take_little_memory_and_seconds(hub, board, tmp_path):
    """The command in a process of its own: the honest request is scored behind all hostile ones."""
    for name, changes in HOSTILE.items():
        slug = f"bad--{name}"
        files = {path.replace("SLUG", slug): data for path, data in changes.items()}
        proposed(hub, files if name.startswith("path") else {**good(board, slug), **files}, f"Submit bad/{name} (run)")
    proposed(hub, good(board, "acme--best"), "Submit acme/best (run)")
    command = [sys.executable, "-m", "exabench", "bench", "run", "--pending", "--repo", REPO, "--board", str(board)]
    peak = 0
    began = time.monotonic()
    with subprocess.Popen(
        command, env=environment(hub.url, tmp_path / "home"), cwd=ROOT, stdout=-1, text=True
    ) as taking:
        while taking.poll() is None:
            status = Path(f"/proc/{taking.pid}/status")
            with contextlib.suppress(OSError):  # it may have ended
                found = re.search(r"VmHWM:\s+(\d+) kB", status.read_text())
                peak = max(peak, int(found[1]) if found else 0)
            time.sleep(0.01)
        assert taking.stdout is not None
        assert "acme--best: scored" in taking.stdout.read()
    assert time.monotonic() - began < 5 * len(HOSTILE) and 0 < peak < 300_000


IN_NO_TIME = """
import sys
import exabench.bench.queue as queueing
from exabench.cli import main
queueing._LONGEST_CHECK = 0.001
sys.exit(main(sys.argv[1:]))
"""


def test_a_request_that_takes_too_long_to_check_is_answered_and_the_next_is_taken(hub, board, tmp_path):
    proposed(hub, good(board))
    proposed(hub, good(board, "acme--next"), "Submit acme/next (run)")
    # In a process of its own: an alarm in one that has Java and Ray in it ended that process once.
    command = [sys.executable, "-c", IN_NO_TIME, "bench", "run", "--pending", "--repo", REPO, "--board", str(board)]
    given = environment(hub.url, tmp_path / "home")
    taken = subprocess.run(command, env=given, cwd=ROOT, capture_output=True, text=True, check=False)
    for slug in ("acme--better", "acme--next"):
        refused = f"{slug}: refused: time-limit: fetching or checking it took longer than 0.001 s"
        assert refused in taken.stdout + taken.stderr
    proposed(hub, good(board, "acme--last"), "Submit acme/last (run)")
    assert take(board, REPO)["acme--last"].reason == ""


def test_nobody_changes_the_entry_of_another_and_its_owner_may(hub, board):
    proposed(hub, good(board, "acme--good"), "Submit acme/good (run)", "mallory")
    evil = write_submission(board.parent / "evil", name="acme/good", description="TAKEN OVER by mallory").read_bytes()
    proposed(hub, {**good(board, "mallory--x"), "submissions/mallory--x.toml": evil}, "Submit mallory/x (run)")
    before = contents(board)
    answers = take(board, REPO)
    assert "is not its owner" in answers["acme--good"].message and contents(board) == before
    assert answers["mallory--x"].reason == "invalid-submission"
    assert "mallory--x.toml holds acme/good" in answers["mallory--x"].message
    hub.repo(REPO).requests[0] |= {"status": "open", "author": {"name": "Acme"}, "events": []}
    assert take(board, REPO)["acme--good"].reason == ""


def test_a_name_belongs_to_its_account_to_its_organisation_s_members_and_to_the_model_s_owner(hub, board, tmp_path):
    hub.organisations["lab"] = ["Anna", "mallory"]
    proposed(hub, good(board, "acme--first"), "Submit acme/first (run)", "mallory")
    proposed(hub, good(board, "lab--run"), "Submit lab/run (run)", "mallory")
    proposed(hub, good(board, "lab--other"), "Submit lab/other (run)", "mal")
    proposed(hub, good(board, "mallory--own"), "Submit mallory/own (run)")
    said = good(board, "mallory--told")
    said["submissions/mallory--told.toml"] += b'sender = "acme"\n'
    proposed(hub, said, "Submit mallory/told (run)")
    # A model under its repository's name may be sent by anybody; that it cannot be loaded here is another matter.
    model = {"kind": "model", "reranker": "monot5", "model": "acme/t5", "revision": "0" * 40}
    for number, (name, author) in enumerate([("acme/t5", "mallory"), ("acme/other", "mallory")]):
        told = {**model, "model": "acme/t5" if number == 0 else "mallory/t5"}
        text = write_submission(tmp_path / str(number), name=name, **told).read_bytes()
        proposed(hub, {f"submissions/{name.replace('/', '--')}.toml": text}, f"Submit {name} (model)", author)
    answers = take(board, REPO)
    for slug in ("acme--first", "lab--other", "acme--other"):
        assert "is neither your Hub account mal" in answers[slug].message, answers[slug]
    assert "sender is written by the queue" in answers["mallory--told"].message
    assert "neither your" not in answers["acme--t5"].message
    assert (answers["lab--run"].reason, answers["mallory--own"].reason) == ("", "")
    filed = {one.slug: one.sender for one in Ledger(board).submissions().values()}
    assert (filed["lab--run"], filed["mallory--own"]) == ("mallory", "mallory")
    listed = invoked_board(board)
    assert "acme/good" in listed and not {"lab/run", "mallory/own"} & set(listed)


def invoked_board(board: Path) -> list[str]:
    """The entries of which `board check` says that their senders were never checked."""
    done = CliRunner().invoke(commands, ["board", "check", "--board", str(board), "--json"])
    return json.loads(done.stdout)["unchecked_senders"]


def test_a_name_of_another_is_refused_before_anything_is_sent(hub, board, tmp_path):
    first = Ledger(board).candidates_run(Ledger(board).one_candidates("mini", "bm25-20"))
    file, run = write_submission(tmp_path / "new", name="acme/better"), write_run(tmp_path / "r", good_run(first))
    hub.organisations.clear()
    with pytest.raises(BadInput, match="neither your Hub account tester.*choose the name tester/"):
        command("submit", file, "--run", f"mini={run}", "--repo", REPO)
    assert hub.repo(REPO).requests == []
    hub.organisations["acme"] = ["tester"]
    assert command("submit", file, "--run", f"mini={run}", "--repo", REPO, "--json")["changed"]


def test_what_was_fetched_before_its_name_was_filed_is_held_against_its_owner_all_the_same(hub, board, monkeypatch):
    proposed(hub, good(board, "acme--better"))
    with monkeypatch.context() as patch:
        patch.setattr(queueing, "run_board", failing(OutsideFailed("no network")))
        assert take(board, REPO)["acme--better"].waits
    waiting(board, "acme/better")
    assert take(board)["acme--better"].reason == ""
    before = contents(board)
    hub.repo(REPO).requests[0]["author"] = {"name": "mallory"}
    assert "is not its owner" in take(board, REPO)["acme--better"].message
    assert contents(board) == before


def test_a_model_of_a_pull_request_is_a_hub_id_at_a_commit(hub, board, tmp_path):
    model = {"kind": "model", "reranker": "monot5", "model": "/etc", "revision": "sha256:" + "0" * 64}
    text = write_submission(tmp_path / "m", name="acme/model", **model).read_bytes()
    proposed(hub, {"submissions/acme--model.toml": text}, "Submit acme/model (model)")
    message = take(board, REPO)["acme--model"].message
    assert "model must be a Hub id" in message and "revision must be the model's commit" in message


def test_an_answer_is_posted_once_whatever_the_reply_was(hub, board):
    proposed(hub, good(board))
    places = ["discussions/1/comment", "discussions/1/status"]

    def once(request: str) -> str:
        if any(place in request for place in places):
            places[:] = [place for place in places if place not in request]
            return "lost reply"
        return ""

    hub.overtake()  # it is held against the board that it was made on
    hub.faults.next = once
    assert take(board, REPO)["acme--better"].reason == ""
    assert not places and len(hub.said(REPO, 1)) == 1
    assert hub.repo(REPO).requests[0]["status"] == "closed"


def test_a_hub_that_is_down_for_answers_is_answered_the_next_time_without_another_evaluation(hub, board, monkeypatch):
    proposed(hub, good(board))
    hub.faults.arm(rest=("comment", "503"))
    assert [answer.reason for answer in take(board, REPO).values()] == ["unreachable"]
    assert (board / "results" / "acme--better").is_dir() and hub.repo(REPO).requests[0]["status"] == "open"
    hub.faults.arm()
    monkeypatch.setattr(queueing, "run_board", failing(AssertionError()))
    [answer] = take(board, REPO).values()
    assert answer.reason == "" and len(hub.said(REPO, 1)) == 1 and not PullRequestQueue(board, REPO).waiting()


def test_a_mark_that_somebody_else_wrote_is_no_answer(hub, board):
    proposed(hub, good(board))
    repo = hub.repo(REPO)
    mark = f"<!-- exabench answer {repo.refs['refs/pr/1']} -->"
    event = {"id": "0", "type": "comment", "createdAt": "2024-01-01T00:00:00.000Z", "author": {"name": "mallory"}}
    data = {"edited": False, "hidden": False, "latest": {"raw": mark}}
    repo.requests[0]["events"].append({**event, "data": data})
    assert set(take(board, REPO)) == {"acme--better"}
    assert len(hub.said(REPO, 1)) == 2


def model_waiting(board: Path, folder: Path, name: str) -> None:
    changes = {"kind": "model", "reranker": "cross_encoder", "model": str(folder), "precision": "float32"}
    revision = model_folder(str(folder)).revision
    write_submission(board / "pending" / name.replace("/", "--"), name=name, revision=revision, **changes)


def test_without_a_sandbox_a_model_keeps_its_place_and_a_run_is_scored(board, tmp_path, monkeypatch):
    model_waiting(board, classifier_folder(tmp_path / "bert"), "acme/bert")
    model_waiting(board, classifier_folder(tmp_path / "bart"), "acme/bart")
    waiting(board, "acme/better")
    before = contents(board / "pending" / "acme--bert")
    with monkeypatch.context() as patch:
        patch.setenv("PATH", str(tmp_path / "nothing"))
        done = invoked("run", "--pending", "--board", board)
        again = invoked("run", "--pending", "--board", board, "--json")
    assert isinstance(done.exception, MissingExtra) and done.exception.exit_code == 2
    line = "acme--bart, acme--bert: left waiting: no-sandbox: bwrap is missing: install bubblewrap"
    assert str(done.exception).startswith(line) and "\n" not in str(done.exception)
    assert done.stdout == "acme--better: scored, 1 result\n" and "refused" not in done.stderr
    assert json.loads(again.stdout) == {"answers": [], "waiting": ["acme--bart", "acme--bert"]}
    assert [one.slug for one in FolderQueue(board).waiting()] == ["acme--bart", "acme--bert"]
    assert contents(board / "pending" / "acme--bert") == before
    assert "acme--bert" not in Ledger(board).submissions() and check(board) == []


def test_what_this_machine_lacks_or_cannot_reach_ends_the_command_with_its_code(board, monkeypatch):
    waiting(board, "acme/better")
    command = ["run", "--pending", "--board", str(board)]
    for error, code in ((MissingExtra("pip install 'exabench[ray]'"), 2), (OutsideFailed("no net"), 3)):
        with monkeypatch.context() as patch:
            patch.setattr(queueing, "run_board", failing(error))
            done = invoked(*command)
        assert type(done.exception) is type(error) and done.exception.exit_code == code
        assert str(done.exception).startswith("acme--better: left waiting: ") and done.stdout == ""
        assert (code == 3) == ("put off: no net" in done.stderr)
    assert invoked(*command).stdout == "acme--better: scored, 1 result\n"


def test_without_a_sandbox_a_pull_request_stays_open_and_unanswered(hub, board, monkeypatch):
    proposed(hub, good(board))
    with monkeypatch.context() as patch:
        said = BadInput(str(SubmissionRefused("no-sandbox", "bwrap is missing")))  # as a worker elsewhere says it
        patch.setattr(queueing, "run_board", failing(said))
        answer = take(board, REPO)["acme--better"]
    assert (answer.reason, answer.waits) == ("no-sandbox", True)
    assert hub.said(REPO, 1) == [] and hub.repo(REPO).requests[0]["status"] == "open"
    assert take(board, REPO)["acme--better"].reason == "" and len(hub.said(REPO, 1)) == 1


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("bwrap") is None, reason="needs bubblewrap")
def test_a_strangers_model_runs_in_the_sandbox_and_a_pickle_beside_it_is_refused(board, tmp_path):
    folder = classifier_folder(tmp_path / "bert")
    model_waiting(board, folder, "acme/bert")
    bad = Path(shutil.copytree(folder, tmp_path / "bad"))
    model_waiting(board, bad, "acme/bad")
    (bad / "pytorch_model.bin").write_bytes(b"\x80\x04.")
    answers = take(board)
    assert (answers["acme--bert"].reason, answers["acme--bert"].scores[0]["state"]) == ("", "reproduced")
    made = read_json(board / "results" / "acme--bert" / "mini.bm25-20.json")["command"]
    assert made == "exabench bench run acme--bert --task mini --candidates bm25-20"  # in the sandbox again
    assert answers["acme--bad"].reason == "unsafe-files"
    assert all(cell.holds for cell in verify(board)) and check(board) == []


def command(*words: object) -> Any:
    """A `bench` command's exit, and what it printed as JSON or text."""
    done = invoked(*words)
    if done.exception and not isinstance(done.exception, SystemExit):
        raise done.exception
    return json.loads(done.stdout) if "--json" in words else done.stdout


def test_the_commands_carry_a_submission_from_its_file_to_its_one_answer(hub, board, tmp_path):
    first = Ledger(board).candidates_run(Ledger(board).one_candidates("mini", "bm25-20"))
    file, run = write_submission(tmp_path / "new", name="acme/better"), write_run(tmp_path / "r", good_run(first))
    made = command("submit", file, "--run", f"mini={run}", "--repo", REPO, "--json")
    assert (made["slug"], made["changed"]) == ("acme--better", True)
    [one] = command("pending", "--repo", REPO, "--board", board, "--json")["pending"]
    assert (one["number"], one["slug"], one["kind"], one["owner"]) == (1, "acme--better", "run", "tester")
    [answer] = command("run", "--pending", "--repo", REPO, "--board", board, "--json")["answers"]
    assert (answer["slug"], answer["class"], len(answer["scores"])) == ("acme--better", "", 1)
    comments = hub.said(REPO, 1)
    assert len(comments) == 2 and f"{answer['scores'][0]['value']:.4f}" in comments[1]
    assert hub.repo(REPO).requests[0]["status"] == "closed" and check(board) == []
    assert take(board, REPO) == {} and hub.said(REPO, 1) == comments
    with pytest.raises(BadInput, match="remove the other options"):
        command("run", "--pending", "--trusted", "--board", board)


def test_without_a_sandbox_the_command_names_the_way_for_ones_own_models(board, tmp_path, monkeypatch):
    folder = classifier_folder(tmp_path / "bert")
    file = write_submission(tmp_path / "m", name="acme/m", kind="model", reranker="cross_encoder", model=str(folder))
    assert "submissions/acme--m.toml" in command("submit", file, "--board", board)
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    done = invoked("run", "acme--m", "--board", board)
    assert isinstance(done.exception, BadInput) and "no-sandbox: " in str(done.exception)
    assert "or, for models that you trust, run them without the sandbox: --trusted" in done.stderr
    assert not (board / "results" / "acme--m").exists()
    [name] = command("run", "acme--m", "--board", board, "--trusted", "--json")["results"]
    made = read_json(Path(name))
    assert made["state"] == "reproduced"
    assert made["command"] == "exabench bench run acme--m --task mini --candidates bm25-20 --trusted"
    again = command(*made["command"].split()[2:], "--board", board, "--json")  # it runs here as it stands
    assert again["results"] == [name]
    assert read_json(Path(name)) == made
    assert all(cell.holds for cell in verify(board, "acme--m"))
