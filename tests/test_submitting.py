"""A submission is filed whole or not at all."""

from __future__ import annotations

import functools
import json
import os
from pathlib import Path

import pytest
from endpoint import chat, reversed_list
from hub_client import point_at, write_release
from hub_double import HubDouble
from test_endpoint import lengths, server
from toys import contents, good_run, write_run, write_submission
from trained import model_folder

import exabench.hub.client
from exabench.bench.candidates import make_candidates
from exabench.bench.evaluation import run_board
from exabench.bench.ledger import Ledger
from exabench.bench.submissions import TRAINING_FILES, read_submission
from exabench.bench.submitting import send, submit, withdraw
from exabench.bench.verification import check
from exabench.board.pages import render
from exabench.board.ranking import Board
from exabench.cli import main
from exabench.core.errors import BadInput, OutsideFailed
from exabench.measure.runs import read_run, run_in_order, run_of, run_text, top
from exabench.tasks.catalogue import task
from exabench.tasks.collections import open_collection


@pytest.fixture
def sent(board, tmp_path):
    """A second good submission for the board: its TOML file and its run."""
    run = good_run(Ledger(board).candidates_run(Ledger(board).one_candidates("mini", "bm25-20")))
    return write_submission(tmp_path / "new", name="acme/better"), write_run(tmp_path / "new" / "run.trec", run)


def test_a_run_goes_to_the_list_that_it_names_or_the_only_one_that_it_fits(board, sent, tmp_path):
    candidates, run = make_candidates(task("mini"), "bm25", 40, name="bm25-40")
    Ledger(board).add_candidates(candidates, run)
    _, files = submit(sent[0], [f"mini@bm25-20={sent[1]}"], board)
    assert files[1].name == "mini.bm25-20.trec.gz"
    _, files = submit(sent[0], [f"mini={write_run(tmp_path / 'deep.trec', run)}"], board)
    assert files[1].name == "mini.bm25-40.trec.gz"
    with pytest.raises(BadInput, match="fits bm25-20 and bm25-40; choose one with --run mini@bm25-20=RUN"):
        submit(sent[0], [f"mini={sent[1]}"], board)


def test_a_run_that_fits_no_list_is_told_its_first_passage_outside_the_nearest(board, sent, tmp_path):
    ledger = Ledger(board)
    candidates, run = make_candidates(task("mini"), "bm25", 5, name="bm25-5")
    ledger.add_candidates(candidates, run)
    whole = ledger.candidates_run(ledger.one_candidates("mini", "bm25-20"))
    odd = {query_id: whole.ranking(query_id) for query_id in whole}
    first, second = list(odd)[2:4]
    odd[first].insert(7, "stranger")
    odd[second].append("another")
    file = write_run(tmp_path / "odd.trec", run_in_order("odd", odd))
    with pytest.raises(BadInput) as refused:
        submit(sent[0], [f"mini={file}"], board)
    told = (
        "odd.trec: fits no candidate list of mini on this board (bm25-20, bm25-5); of the nearest, bm25-20, 2 passages "
    )
    told += f"of the run are not among the candidates, the first for query '{first}'"
    assert told in str(refused.value) and str(refused.value).endswith("(id 'stranger')")


def foreign(run):
    return run_of("run", {q: {"stranger": 1.0} if i == 3 else run[q] for i, q in enumerate(run)})


def unknown_query(run):
    return run_in_order("run", {"nobody-asked": ["bats-01"]})


WRONG = {
    "a foreign document": (foreign, "mini={}", "ranks 1 passage outside the candidates bm25-20 of mini, the first for"),
    "a foreign document, list named": (foreign, "mini@bm25-20={}", "the first for query 'q08'; .*id 'stranger'"),
    "an unknown query": (unknown_query, "mini@bm25-20={}", "answers no query of the candidate lists of mini"),
    "an unknown task": (None, "minni={}", "unknown task 'minni'; did you mean mini"),
    "a mean of tasks": (None, "cqadupstack={}", "is the mean of 12 tasks"),
    "unknown candidates": (None, "mini@bm25-21={}", "unknown candidates for mini 'bm25-21'; did you mean bm25-20"),
    "no task": (None, "{}", "must read TASK=RUN or TASK@CANDIDATES=RUN"),
    "no file": (None, "mini={}.not", "cannot be read"),
}


@pytest.mark.parametrize("case", WRONG)
def test_nothing_is_filed_when_anything_is_wrong(board, sent, tmp_path, case):
    spoil, given, message = WRONG[case]
    file = sent[1]
    if spoil:
        file = write_run(tmp_path / "spoilt.trec", spoil(Ledger(board).candidates_run(Ledger(board).candidates()[0])))
    before = contents(board)
    with pytest.raises(BadInput, match=message):
        submit(sent[0], [f"mini@bm25-20={sent[1]}", given.format(file)], board)
    assert contents(board) == before


@pytest.mark.parametrize(
    ("changes", "given", "told"),
    [
        ({}, ["mini={}", "mini@bm25-20={}"], "two runs are given for mini over bm25-20"),
        ({}, [], "needs at least one --run"),
        ({"name": "Acme/Good"}, ["mini={}"], "Acme/Good differs from the existing acme--good only in case"),
        ({"name": "exabench/unchanged"}, ["mini={}"], "baselines are reserved for exabench"),
        ({"kind": "model", "reranker": "bi_encoder", "model": "m"}, ["mini={}"], "is run by exabench itself: leave"),
        ({"kind": "model", "reranker": "oracle", "model": "m"}, [], "reranker oracle needs no model: it is a baseline"),
        (
            {"kind": "model", "reranker": "monot55", "model": "m", "withdrawn": "x"},
            [],
            "(?s)unknown reranker 'monot55'; did you mean monot5.*withdrawn is set by",
        ),
    ],
)
def test_what_does_not_go_together_is_refused_and_nothing_is_filed(board, sent, tmp_path, changes, given, told):
    before = contents(board)
    with pytest.raises(BadInput, match=told):
        file = write_submission(tmp_path / "odd", **{"name": "acme/odd", **changes})
        submit(file, [run.format(sent[1]) for run in given], board)
    assert contents(board) == before


def test_samples_of_one_system_have_one_type_and_a_number_each(board, sent, tmp_path, capsys):
    def submitted(name, **told):
        submit(write_submission(tmp_path / "sample", name=name, **told), [f"mini={sent[1]}"], board)

    submitted("acme/gpt.1", system="acme/gpt", sample=1)
    submitted("acme/gpt.2", system="acme/gpt", sample=2)
    submitted("acme/gpt.2", system="acme/gpt", sample=3)  # whoever sends it again may number it anew
    before = contents(board)
    for name, told, message in (
        ("acme/gpt.4", {"system": "acme/gpt", "sample": 3}, "sample 3 of acme/gpt is acme/gpt.2; give this one"),
        ("acme/gpt.4", {"system": "acme/gpt", "sample": 4, "type": "fusion"}, "must have one type: this one is fusion"),
        ("acme/gpt", {}, "acme/gpt is the system of the sample acme/gpt.1; choose another name"),
        ("acme/good.1", {"system": "acme/good", "sample": 1}, "system acme/good is already a submission"),
    ):
        with pytest.raises(BadInput, match=message):
            submitted(name, **told)
    assert contents(board) == before and check(board) == []

    # The same of files that were edited by hand; what was withdrawn keeps no number from others.
    file = Ledger(board).submission_file("acme--gpt.2")
    file.write_text(file.read_text().replace("sample = 3", "sample = 1"))
    assert main(["board", "check", "--board", str(board)]) == 1
    assert capsys.readouterr().out == f"{file}: sample 1 of acme/gpt is acme/gpt.1; give this one another number\n"
    withdraw(board, "acme--gpt.1", "drawn twice")
    assert check(board) == []


def test_a_folder_that_is_no_board_is_refused(sent, tmp_path):
    with pytest.raises(BadInput, match="is not a leaderboard: board.toml is missing"):
        submit(sent[0], [f"mini={sent[1]}"], tmp_path / "empty")
    assert not (tmp_path / "empty").exists()


def test_a_submission_is_filed_with_its_run_and_submitting_again_replaces_that_alone(board, sent, tmp_path):
    before = contents(board)
    submission, files = submit(sent[0], [f"mini={sent[1]}"], board)
    names = set(contents(board))
    assert submission.name == "acme/better" and before.items() <= contents(board).items()
    assert {str(file.relative_to(board)) for file in files} == names - before.keys()
    shorter = top(Ledger(board).candidates_run(Ledger(board).candidates()[0]), 3)
    _, files = submit(sent[0], [f"mini={write_run(tmp_path / 'shorter.trec', shorter)}"], board)
    assert set(contents(board)) == names
    assert run_text(read_run(files[1]), "t") == run_text(shorter, "t")


@pytest.fixture
def trained(tmp_path, monkeypatch):
    """The folder of a trained model, where the tests work."""
    monkeypatch.chdir(tmp_path)
    release = write_release(tmp_path / "toy", {"listwise": ["sky", "sea"]})
    return model_folder(tmp_path / "work", release, "listwise")


def test_a_trained_model_is_filed_with_its_report_and_without_its_weights(board, trained):
    before = contents(board)
    submission, files = submit(trained / "submission.toml", [], board)
    added = {name: data for name, data in contents(board).items() if name not in before}
    reports = {f"models/acme--small/{name}": (trained / name).read_bytes() for name in TRAINING_FILES}
    assert added.keys() == {*reports, "submissions/acme--small.toml"}
    assert reports.items() <= added.items()
    assert {str(path.relative_to(board)) for path in files} == added.keys()
    assert (submission.model, submission.revision[:7]) == ("work/model", "sha256:")
    assert Ledger(board).submissions()["acme--small"] == submission
    assert Ledger(board).trainings()["acme--small"].values["steps"] == 8
    assert {Path(path) for _, path in Ledger(board).files()} >= {board / name for name in added}


def test_a_model_of_ones_own_needs_neither_link_nor_contact_and_one_for_a_board_of_others_both(board, trained):
    submission, _ = submit(trained / "submission.toml", [], board)
    assert submission.link == submission.contact == ""
    render(Board.read(board), board / "site")
    places = {}
    for slug in ("acme--good", "acme--small", "exabench--oracle"):
        page = (board / "site" / "submissions" / f"{slug}.html").read_text(encoding="utf-8")
        places[slug] = ["<dt>Link</dt>" in page, "<dt>Contact</dt>" in page]
    assert places == {
        "acme--good": [True, True],
        "acme--small": [False, False],
        "exabench--oracle": [False, False],
    }
    with pytest.raises(BadInput) as refused:
        send(trained / "submission.toml", [], board=board, to=trained.parent / "there")
    told = str(refused.value)
    assert "link must be an https:// address (it is missing)\n" in told
    assert "contact must be an e-mail address, an @handle or an https:// address (it is missing)\n" in told


def test_a_model_beside_its_file_elsewhere_is_named_by_its_whole_path(board, trained, tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    for place in (tmp_path / "here", trained):
        monkeypatch.chdir(place)
        submission, _ = submit(os.path.relpath(trained / "submission.toml"), [], board)
        assert submission.model == str(trained.resolve())


def test_a_model_that_comes_without_a_report_takes_the_old_one_away_with_the_drawing_of_version_0_1(board, trained):
    submit(trained / "submission.toml", [], board)
    folder = board / "models" / "acme--small"
    (folder / "curves.svg").write_text("<svg/>")
    assert Ledger(board).trainings().keys() == {"acme--small"} and check(board) == []
    (trained / "training.json").unlink()
    submit(trained / "submission.toml", [], board)
    assert not Ledger(board).trainings() and not folder.exists()


def edited(change):
    """A spoiler: other values in training.json."""

    def edited(folder) -> None:
        values = json.loads((folder / "training.json").read_text())
        change(values)
        (folder / "training.json").write_text(json.dumps(values))

    return edited


def put(file, data):
    """A spoiler: other bytes of a file."""
    return lambda folder: (folder / file).write_bytes(data)


NESTED = functools.reduce(lambda inner, _: {"a": inner}, range(40), 1)
BROKEN = {
    "a key is missing": (edited(lambda values: values.pop("steps")), "lacks the key 'steps'"),
    "a number is huge": (edited(lambda values: values.update(epochs=1e30)), "report epochs: expected `float` <= "),
    "a table is too deep": (edited(lambda values: values["data"][0].update(leaks=NESTED)), "deeper than 20 levels"),
    "another recipe": (put("recipe.toml", b"seed = 8\n"), "is not the recipe in training.json"),
    "no JSON": (put("training.json", b"{" * 5000), "cannot be read"),
    "no text": (put("README.md", b"\xff"), "is not UTF-8 text"),
    "too large": (put("README.md", b" " * (2**24 + 1)), "is larger than"),
    "no card": (lambda folder: (folder / "README.md").unlink(), "must be a plain file"),
    "a link": (
        lambda folder: (folder / "README.md").symlink_to((folder / "README.md").rename(folder / "card")),
        "must be a plain file",
    ),
    "a formula": (put("curves.csv", b"=cmd()\n"), "is not a table of the steps"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_report_that_exabench_did_not_write_is_refused_and_nothing_is_filed(board, trained, case):
    spoil, told = BROKEN[case]
    spoil(trained)
    before = contents(board)
    with pytest.raises(BadInput, match=told):
        submit(trained / "submission.toml", [], board)
    assert contents(board) == before


REPO = "acme/board"


@pytest.fixture
def hub(tmp_path, monkeypatch, board):
    """A Hub double with the board on it."""
    with HubDouble() as server:
        point_at(server.url, tmp_path / "home", monkeypatch)
        server.commit(f"datasets/{REPO}", contents(board))
        monkeypatch.setattr(exabench.hub.client.time, "sleep", lambda seconds: None)
        yield server


def requested(hub) -> dict[str, bytes]:
    """What the first pull request adds to the board."""
    repo = hub.repo(REPO)
    main, request = (repo.commits[repo.refs[ref]].files for ref in ("main", "refs/pr/1"))
    assert main.keys() <= request.keys() and all(request[name] == data for name, data in main.items())
    return {name: data for name, data in request.items() if name not in main}


def test_a_pull_request_holds_what_would_have_been_filed(hub, board, sent, capsys):
    dry = ["bench", "submit", str(sent[0]), "--run", f"mini={sent[1]}", "--dry-run"]
    for place, says in (("--repo", "valid; would be submitted: "), ("--board", "valid; would be filed\n")):
        assert main([*dry, place, REPO if place == "--repo" else str(board)]) == 0
        assert says in capsys.readouterr().err
    _, done = send(sent[0], [f"mini={sent[1]}"], repo=REPO, dry_run=True)
    assert done.changed and not hub.repo(REPO).requests
    _, done = send(sent[0], [f"mini={sent[1]}"], repo=REPO)
    assert done.changed and done.url.endswith("/datasets/acme/board/discussions/1")
    _, files = submit(sent[0], [f"mini={sent[1]}"], board)
    assert requested(hub) == {str(file.relative_to(board)): file.read_bytes() for file in files}
    assert hub.repo(REPO).requests[0]["title"] == "Submit acme/better (run)"
    assert main([*dry, "--repo", REPO]) == 0 and "already submitted: " in capsys.readouterr().err
    [body] = hub.said(REPO, 1)
    for told in ("slug: acme--better", "kind: run", "submission: `sha256:", "run mini over bm25-20: `sha256:"):
        assert told in body


def test_the_same_content_opens_nothing_new_and_other_content_does(hub, sent, tmp_path):
    first = send(sent[0], [f"mini={sent[1]}"], repo=REPO)[1]
    again = send(sent[0], [f"mini={sent[1]}"], repo=REPO)[1]
    assert (again.changed, again.url) == (False, first.url) and len(hub.repo(REPO).requests) == 1
    hub.merge(REPO, 1)
    assert send(sent[0], [f"mini={sent[1]}"], repo=REPO)[1].changed is False
    other = write_submission(tmp_path / "new", name="acme/better", description="better")
    assert send(other, [f"mini={sent[1]}"], repo=REPO)[1].changed and len(hub.repo(REPO).requests) == 2


@pytest.mark.parametrize("kind", ["lost reply", "overtaken"])
def test_a_lost_reply_is_looked_up_and_never_doubled(hub, sent, kind):
    seen = []

    def once(request: str) -> str:
        if "/commit/" in request and not seen:
            seen.append(request)
            return kind
        return ""

    hub.faults.next = once
    assert send(sent[0], [f"mini={sent[1]}"], repo=REPO)[1].changed
    assert seen and len(hub.repo(REPO).requests) == 1


def test_a_hub_that_fails_for_good_is_named(hub, sent):
    hub.faults.arm(rest=("/commit/", "503"))
    with pytest.raises(OutsideFailed, match="acme/board: the pull request did not appear after"):
        send(sent[0], [f"mini={sent[1]}"], repo=REPO)
    for repo, told in (("acme/nothing", "does not exist"), ("no repo", "must be a repository")):
        with pytest.raises(BadInput, match=told):
            send(sent[0], [f"mini={sent[1]}"], repo=repo)


def test_the_verdict_is_that_of_the_repositorys_own_head(hub, board, sent, tmp_path):
    with pytest.raises(BadInput, match="Acme/Good differs from the existing acme--good only in case"):
        send(write_submission(tmp_path / "twin", name="Acme/Good"), [f"mini={sent[1]}"], repo=REPO)
    with pytest.raises(BadInput, match="system acme/good is already a submission"):
        file = write_submission(tmp_path / "sample", name="acme/good.1", system="acme/good", sample=1)
        send(file, [f"mini={sent[1]}"], repo=REPO)
    withdraw(board, "acme--good", "a mistake")
    hub.commit(f"datasets/{REPO}", contents(board))
    with pytest.raises(BadInput, match="acme/good was withdrawn .a mistake."):
        send(write_submission(tmp_path / "again", name="acme/good"), [f"mini={sent[1]}"], repo=REPO)
    model = {"kind": "model", "reranker": "monot5", "model": "castorini/monot5"}
    with pytest.raises(BadInput, match="revision must be the model's commit"):
        send(write_submission(tmp_path / "m", name="acme/m", **model), [], repo=REPO)
    assert send(write_submission(tmp_path / "m", name="acme/m", **model, revision="a" * 40), [], repo=REPO)[1].changed
    assert not hub.repo(REPO).commits[hub.repo(REPO).refs["main"]].files.keys() & {"submissions/acme--m.toml"}


def test_a_folder_gets_the_same_files_once(board, sent, tmp_path):
    _, done = send(sent[0], [f"mini={sent[1]}"], board=board, to=tmp_path / "out")
    _, files = submit(sent[0], [f"mini={sent[1]}"], board)
    assert contents(tmp_path / "out") == {str(file.relative_to(board)): file.read_bytes() for file in files}
    assert done.changed and not send(sent[0], [f"mini={sent[1]}"], board=board, to=tmp_path / "out")[1].changed
    (tmp_path / "out" / "more").write_text("x")
    with pytest.raises(BadInput, match="out: is not empty"):
        send(sent[0], [f"mini={sent[1]}"], board=board, to=tmp_path / "out")
    with pytest.raises(BadInput, match="give one of --repo"):
        send(sent[0], [f"mini={sent[1]}"], board=board)
    with pytest.raises(BadInput, match="--branch was removed: write the files with --to FOLDER"):
        send(sent[0], [f"mini={sent[1]}"], board=board, branch="new-entry")


MODEL = {"kind": "model", "reranker": "bi_encoder", "model": "acme/m", "revision": "a" * 40}
API = {"kind": "api", "reranker": "endpoint", "model": "m", "endpoint": "https://api.example.org"}
CHAT = {**API, "reranker": "listwise"}
OPTIONS = {
    "a name": (MODEL, "max_lenght = 3", "reranker bi_encoder has no option 'max_lenght'; its options: .*max_length"),
    "a program's": (MODEL, 'progress = "x"', "has no option 'progress'"),
    "no teacher": ({**MODEL, "reranker": "listwise"}, "words = 3", "needs a language model: choose an engine"),
    "a teacher's": ({**MODEL, "reranker": "listwise"}, 'teacher = { part = "openai", x = 1 }', "teacher openai .*'x'"),
    "another backend": (
        {**MODEL, "reranker": "cross_encoder"},
        'backend = "openvino"',
        "a board scores with torch, not with openvino; remove options.backend",
    ),
    "an api's": (API, 'timeout = "long"', "reranker endpoint: timeout must be a number"),
    "a chat's": (CHAT, "teacher = { temprature = 1 }", "teacher openai has no option 'temprature'"),
    "a chat's own": (CHAT, "style = 3", 'reranker listwise: style must be "rankgpt" or "lrl"'),
}


@pytest.mark.parametrize("case", OPTIONS)
def test_options_that_a_reranker_does_not_take_are_refused_in_one_line_and_nothing_is_filed(board, tmp_path, case):
    values, options, told = OPTIONS[case]
    file = write_submission(tmp_path / "s", name="acme/odd", **values)
    file.write_text(file.read_text() + f"[options]\n{options}\n")
    before = contents(board)
    for dry_run in (True, False):
        with pytest.raises(BadInput, match=told) as caught:
            submit(file, [], board, dry_run=dry_run)
        assert "\n" not in str(caught.value)
    file.write_text('withdrawn = "x"\n' + file.read_text())  # it is told with all other problems
    with pytest.raises(BadInput, match=rf"(?s){told}.*withdrawn is set by"):
        submit(file, [], board)
    assert contents(board) == before


def api(folder: Path, url: str, reranker: str = "endpoint") -> Path:
    place = url.replace("127.0.0.1", "localhost")
    return write_submission(folder, name="acme/api", kind="api", reranker=reranker, model="m", endpoint=place)


def test_the_runs_of_an_api_are_made_by_its_sender_and_one_that_fails_files_nothing(board, tmp_path):
    before = contents(board)
    with server(401) as here, pytest.raises(BadInput, match="refuses: 401"):
        submit(api(tmp_path / "api", here.url), [], board)
    assert contents(board) == before
    with server(lengths) as here:
        file = api(tmp_path / "api", here.url)
        submit(file, [], board, dry_run=True)
        assert not here.asked
        submission, files = submit(file, [], board)
        assert len(here.asked) == 24 and {asked["model"] for _, asked in here.asked} == {"m"}
    texts = {passage.id: len(passage.flat()) for passage in open_collection(task("mini")).passages()}
    run = read_run(files[1])
    assert run["q03"] == {passage: float(texts[passage]) for passage in run.ranking("q03")}
    run_board(board, slugs=["acme--api"])
    assert next(Ledger(board).results("acme--api")).state == "re-computed"


def test_an_api_that_speaks_chat_is_called_by_a_teacher(board, tmp_path):
    with chat(reversed_list) as here:
        _, files = submit(api(tmp_path / "chat", here.url, "listwise"), [], board)
        assert len(here.asked) >= 24
    assert len(files) == 2


def test_a_model_that_the_teacher_names_is_named_once(tmp_path):
    teacher = '[options]\nteacher = { part = "openai", model = "acme/chat", base_url = "http://localhost:9/v1" }\n'
    file = write_submission(tmp_path / "chat", kind="model", reranker="listwise")
    file.write_text(file.read_text() + teacher)
    assert read_submission(file).model == "acme/chat"
    file = write_submission(tmp_path / "other", kind="model", reranker="listwise", model="acme/other")
    file.write_text(file.read_text() + teacher)
    with pytest.raises(BadInput, match="model and options.teacher.model must agree; remove one"):
        read_submission(file)


def test_what_is_withdrawn_stays_and_cannot_come_back(board, sent, tmp_path):
    withdraw(board, "acme--good", " trained on the test queries ")
    assert Ledger(board).submissions()["acme--good"].withdrawn == "trained on the test queries"
    with pytest.raises(BadInput, match="submit it under another name"):
        submit(write_submission(tmp_path / "again"), [f"mini={sent[1]}"], board)
    for slug, reason, told in (
        ("acme--bad", "x", "no submission 'acme--bad' to withdraw; choose from: acme--good"),
        ("exabench--oracle", "x", "to withdraw"),
        ("acme--good", " ", "--reason must say why"),
        ("acme--good", "two\nlines", "--reason must say why"),
    ):
        with pytest.raises(BadInput, match=told):
            withdraw(board, slug, reason)


def test_all_problems_are_told_at_once(board, sent, tmp_path):
    bad = write_submission(tmp_path / "bad", name="../x", licence="")
    with pytest.raises(BadInput) as caught:
        submit(bad, ["minni=a", f"mini={sent[1]}x", "nonsense"], board)
    for told in ("name must", "licence must", "unknown task 'minni'", "cannot be read", "must read TASK=RUN"):
        assert told in str(caught.value)
