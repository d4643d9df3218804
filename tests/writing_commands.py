"""Every command that writes, over inputs as small as can be, for a campaign of faults (test_no_lost_work)."""

from __future__ import annotations

import copy
import importlib
import json
import os
import pkgutil
import re
import shutil
import sqlite3
import sys
import tempfile
import threading
import traceback
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from endpoint import Endpoint, completion, reversed_list
from hub_client import CANARY, write_release
from hub_double import HubDouble, Repo
from toys import TIME, Given, contents, good_run, write_beir, write_run, write_submission

import exabench
from exabench.bench.ledger import Ledger
from exabench.cli import main
from exabench.core.errors import MissingExtra
from exabench.core.files import canonical_json, gzip_bytes
from exabench.core.nouns import Passage, Query
from exabench.data.releases import read
from exabench.measure.runs import run_text

ANIMALS = Given(
    [Query("q1", "how bats hear"), Query("q2", "why the sky is blue")],
    [
        Passage("d1", "Bats hear echoes of their own calls.", "Bats"),
        Passage("d2", "Blue light is scattered most, so the sky is blue."),
        Passage("d3", "Whales hear far under water."),
    ],
    {"q1": {"d1": 2, "d3": 1}, "q2": {"d2": 1}},
)


@dataclass(frozen=True)
class Command:
    """A command line and where it begins: `start` is a folder of `Inputs.starts`, copied to the working folder.

    In its line GIVEN is the folder of inputs that it only reads, PAID a teacher that is paid for each prompt.
    """

    name: str
    line: str
    start: str = "empty"
    loads_model: bool = False
    needs_cache: bool = False  # for vectors

    def words(self, inputs: Inputs) -> list[str]:
        """The words of its command line."""
        line = self.line
        for name, value in (("PAID", PAID), ("GIVEN", inputs.given), ("SERVER", inputs.server.url)):
            line = line.replace(name, str(value))
        return line.split(" ")


PAID = 'teacher={part="openai",base_url="SERVER",model="m",revision="1",concurrency=2}'
BUILT = "--to out --replies replies.db --set shard=2 --set validation=0"
DATA = "--data GIVEN/data"
OVER = f"--board board {DATA}"
NEW = "--board board --data GIVEN/new"
MODEL = f"GIVEN/classifier --task animals {DATA}"
DENSE = "--retriever dense --set model=GIVEN/encoder"
SENT = f"GIVEN/sent/submission.toml --run animals=GIVEN/sent/run.trec {OVER}"
SHORT = (
    """--set trained=[] --set datasets=[] --set models={} --set first_stages={bm25-20={retriever="bm25",depth=20}}"""
)
COMMANDS = [
    Command("data build, explanations, paid", f"data build mini-explanations {BUILT} --limit 6 --set PAID"),
    Command("data build, lists, paid", f"data build mini-listwise {BUILT} --limit 3 --set PAID"),
    Command("data build, contrastive", f"data build mini-contrastive {BUILT} --limit 4"),
    Command("data build, scored", f"data build mini-scored {BUILT} --limit 4"),
    Command("data build, two workers", f"data build mini-explanations {BUILT} --limit 6 --set PAID --workers 2"),
    Command("data replies import", "data replies import GIVEN/replies.parquet --replies replies.db"),
    Command("data publish, new", "data publish GIVEN/release --to place"),
    Command("data publish, next", "data publish GIVEN/next --to place", "published"),
    Command("data publish, Hub", "data publish GIVEN/next --repo acme/toy", "published"),
    Command("data withdraw", "data withdraw GIVEN/next one one-0 --reason asked --to without"),
    Command("data export, exaranker", "data export GIVEN/next one --format exaranker --to out/one.tsv"),
    Command("data export, beir", "data export GIVEN/human human --format beir --to out/beir"),
    Command("data export, parquet", "data export GIVEN/groups groups --format sentence-transformers --to one.parquet"),
    Command("board init", "board init --task mini --board board --title Ours"),
    Command("bench candidates", f"bench candidates animals --depth 3 {OVER}"),
    Command("bench candidates, dense", f"bench candidates animals --depth 3 {OVER} {DENSE}", "board", True, True),
    Command("bench judgements", f"bench judgements animals --accept --reason new {NEW}", "board"),
    Command("bench submit", f"bench submit {SENT}", "board"),
    Command("bench submit, again", f"bench submit {SENT}", "submitted"),
    Command("bench submit, folder", f"bench submit {SENT} --to sent", "board"),
    Command("bench submit, Hub", f"bench submit {SENT} --repo acme/board", "board"),
    Command("bench run", f"bench run {OVER}", "submitted"),
    Command("bench run, model", f"bench run acme/model --trusted {OVER}", "with a model", True),
    Command("bench run, again", f"bench run {NEW} --reason new", "judged again"),
    Command("bench run --pending", f"bench run --pending {OVER}", "waiting"),
    Command("bench run --pending, Hub", f"bench run --pending {OVER} --repo acme/board", "board"),
    Command("bench withdraw", "bench withdraw acme/good --reason wrong --board board", "measured"),
    Command("bench import-mteb", "bench import-mteb GIVEN/mteb --board board", "board"),
    Command("bench convert", "bench convert GIVEN/pickled --to safe"),
    Command("rerank", f"rerank {MODEL} --run GIVEN/sent/run.trec -o out", "empty", True),
    Command("evaluate --save-run", f"evaluate {MODEL} --depth 3 --save-run out", "empty", True),
    Command("evaluate --to", f"evaluate {MODEL} --depth 3 --to board", "empty", True),
    Command("board build", "board build --board board", "measured"),
    Command("board build, again", "board build --board board", "built before"),
    Command("board publish", f"board publish {OVER} --to place", "measured"),
    Command("board publish, Hub", f"board publish {OVER} --repo acme/space", "measured"),
    Command("board publish-lists", "board publish-lists --board board --to place", "measured"),
    Command("board publish-lists, Hub", "board publish-lists --board board --repo acme/others", "measured"),
    Command("board push-results", f"board push-results {OVER} --lists acme/lists", "of the Hub"),
    Command("train run", "train run GIVEN/toy.toml --to run --device cpu", loads_model=True),
    Command("study run", "study run GIVEN/study.toml --to study --device cpu", loads_model=True),
    Command("study report", "study report GIVEN/study.toml --to study --board board", "studied"),
    Command("train publish", "train publish GIVEN/trained --to place"),
    Command("train publish, Hub", "train publish GIVEN/trained --repo acme/small"),
    Command("demo", f"demo --to demo {SHORT}"),
]  # fmt: skip


def import_all(*, with_models: bool) -> None:
    """Import exabench once, so that no child does; torch and what needs it only if asked."""
    heavy = ("torch", "transformers", "sentence_transformers", "datasets")
    blocked = {name: None for name in heavy if name not in sys.modules and not with_models}
    sys.modules.update(blocked)  # type: ignore[arg-type]  # None: an import fails
    for module in pkgutil.walk_packages(exabench.__path__, "exabench.", onerror=lambda name: None):
        if module.name != "exabench.__main__":
            with suppress(ImportError, MissingExtra):
                importlib.import_module(module.name)
    for name in blocked:
        del sys.modules[name]


class Inputs:
    """What the commands read, made once in `given`, and the folders that they start from."""

    def __init__(self, place: Path) -> None:
        self.given = place / "given"
        self.starts = place / "starts"
        self.scene = place / "scene"
        self.said = place / "said"
        self.paid: Counter[str] = Counter()  # by the turns of a prompt
        self.server = Endpoint(self._answer)
        self.hub = HubDouble()
        self._at_first: dict[str, Repo] = {}
        self.given.mkdir(parents=True)
        for server in (self.hub, self.server):
            server.handle_error = lambda *_: None  # whoever asked was killed
            threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()

    def close(self) -> None:
        """Stop both servers."""
        for server in (self.hub, self.server):
            server.shutdown()
            server.server_close()

    def make(self) -> None:
        """Fill both; this process has the Hub of `hub` for the only one by then."""
        # What needs torch in a child, for a process without it forks in a sixth of the time.
        self._in_child(self._make_models)
        self._make_data()
        self._make_boards()
        self._fill_hub()
        self._in_child(self._make_model_boards)

    def _in_child(self, act: Callable[[], object]) -> None:
        child = os.fork()
        if child == 0:
            code = 1
            try:
                act()
                code = 0
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0

    # -- what there is -------------------------------------------------------------------------------------------------

    def _make_models(self) -> None:
        """Models, also with pickled weights, and releases to learn from."""
        import fits
        import torch
        from models import classifier_folder, encoder_folder
        from safetensors.torch import load_file
        from trained import model_folder

        given = self.given
        encoder_folder(given / "encoder")
        classifier = classifier_folder(given / "classifier")
        pickled = Path(shutil.copytree(classifier, given / "pickled"))
        torch.save(load_file(pickled / "model.safetensors"), pickled / "pytorch_model.bin")
        (pickled / "model.safetensors").unlink()

        fits.write_release(given / "lists", {"lists": ("listwise", {"train": fits.listwise(4)})})
        fits.write_release(given / "groups", {"groups": ("contrastive", {"train": fits.contrastive(4)})})
        human = fits.contrastive(4, negatives=0)
        for number, row in enumerate(human):
            row["positive_id"] = f"good{number}"
        fits.write_release(given / "human", {"human": ("contrastive", {"train": human})})
        data = [{"release": str(given / "lists"), "table": "lists"}]
        fits.recipe(given / "toy.toml", data, model=str(classifier), steps={"steps": 2})
        page = 'title = "Toy"\ntrain = "toy.toml"\nseeds = [1]\nbaseline = "trained"\nuntrained = "untrained"\n'
        (given / "study.toml").write_text(page + 'task = [{ task = "mini", depth = 3 }]\n')
        (given / "trained").mkdir()
        model_folder(given / "trained", read(given / "lists"), "lists")

    def _make_data(self) -> None:
        """Releases, their replies, collections, results of MTEB."""
        given = self.given
        write_release(given / "release", {"one": ["a", "b"]})
        write_release(given / "next", {"one": ["a", "b", "c"]})
        built = ["--to", str(given / "built"), "--replies", str(given / "built.db")]
        _done("data", "build", "mini-explanations", "--limit", "8", "--set", "validation=0", *built)
        shutil.copyfile(given / "built" / "release" / "replies" / "explanations.parquet", given / "replies.parquet")
        write_beir(given / "data" / "animals", ANIMALS)
        (given / "data" / "animals" / "task.toml").write_text('title = "Animals"\nlicence = "CC0-1.0"\n')
        shutil.copytree(given / "data", given / "new")
        corrected = "query-id\tcorpus-id\tscore\nq1\td1\t1\nq1\td3\t1\nq2\td2\t1\n"
        (given / "new" / "animals" / "qrels" / "test.tsv").write_text(corrected)
        folder = given / "mteb" / "acme__encoder" / ("a" * 40)
        folder.mkdir(parents=True)
        scores = {"ndcg_at_10": 0.7123, "main_score": 0.7123, "hf_subset": "default", "languages": ["eng-Latn"]}
        about = {"dataset_revision": "0228b52", "task_name": "SciFact", "mteb_version": "2.1.4"}
        (folder / "SciFact.json").write_text(json.dumps({**about, "scores": {"test": [scores]}}))
        (folder / "model_meta.json").write_text(json.dumps({"name": "acme/encoder", "revision": "a" * 40}))

    def _make_boards(self) -> None:
        """Folders to start from: boards over three passages, each a step further than the one before."""
        given = self.given
        (self.starts / "empty").mkdir(parents=True)
        shutil.copytree(given / "release", self.starts / "published" / "place")
        board = self.starts / "board" / "board"
        data = ["--data", str(given / "data")]
        _done("bench", "candidates", "animals", "--depth", "3", "--board", board, *data)
        candidates = Ledger(board).candidates_run(Ledger(board).one_candidates("animals", "bm25-3"))
        run = good_run(candidates)
        self.packed = gzip_bytes(run_text(run, "x"))

        sent = write_run(given / "sent" / "run.trec", run)
        submitted = self._after("board", "submitted")
        _done(
            "bench", "submit", write_submission(given / "sent"), "--run", f"animals={sent}", "--board", submitted, *data
        )
        measured = self._after("submitted", "measured")
        _done("bench", "run", "--board", measured, *data)
        judged = self._after("measured", "judged again")
        new = ["--data", given / "new"]
        _done("bench", "judgements", "animals", "--accept", "--reason", "new", "--board", judged, *new)
        built = self._after("measured", "built before")
        _done("board", "build", "--board", built)
        _done("bench", "withdraw", "acme/good", "--reason", "wrong", "--board", built)

        waiting = self._after("board", "waiting")
        for name, packed in (("acme/better", self.packed), ("bad/nothing", b"\x1f\x8bx")):
            folder = waiting / "pending" / name.replace("/", "--")
            write_submission(folder, name=name)
            (folder / "runs").mkdir()
            (folder / "runs" / "animals.bm25-3.trec.gz").write_bytes(packed)

    def _after(self, before: str, after: str) -> Path:
        return Path(shutil.copytree(self.starts / before, self.starts / after)) / "board"

    def _fill_hub(self) -> None:
        """A dataset, a model, and the board with two requests: a good one and one to refuse."""
        self.hub.commit("datasets/acme/toy", contents(self.given / "release"))
        self.commit = self.hub.commit("models/acme/reranker", contents(self.given / "classifier"))
        self.hub.commit("datasets/acme/board", contents(self.starts / "board" / "board"))
        repo = self.hub.repo("acme/board")
        head = repo.at("main")
        assert head
        for number, (slug, run) in enumerate((("acme--better", self.packed), ("acme--bad", b"\x1f\x8bx")), 1):
            text = write_submission(self.given / slug, name=slug.replace("--", "/")).read_bytes()
            files = {f"submissions/{slug}.toml": text, f"runs/{slug}/animals.bm25-3.trec.gz": run}
            title = f"Submit {slug.replace('--', '/')} (run)"
            repo.add({**head.files, **files}, title, f"refs/pr/{number}", head.sha)
            about = {"title": title, "author": {"name": "acme"}, "createdAt": "2024-01-01T00:00:00.000Z"}
            repo.requests.append({"num": number, "isPullRequest": True, **about, "status": "open", "events": []})

    def _make_model_boards(self) -> None:
        """A board with a model to run, and one whose measured model and lists are on the Hub."""
        model = {"kind": "model", "reranker": "cross_encoder"}
        data = ["--data", self.given / "data"]
        board = self._after("board", "with a model")
        file = write_submission(self.given / "model", name="acme/model", model=str(self.given / "classifier"), **model)
        _done("bench", "submit", file, "--board", board, *data)

        studied = self._after("board", "studied").parent / "study"
        _done("study", "run", self.given / "study.toml", "--to", studied, "--device", "cpu")

        board = self._after("board", "of the Hub")
        settings = board / "board.toml"
        settings.write_text(settings.read_text() + '\nurl = "https://boards.example.org/ours"\n')
        model |= {"model": "acme/reranker", "revision": self.commit}
        file = write_submission(self.given / "hub model", name="acme/reranker", **model)
        _done("bench", "submit", file, "--board", board, *data)
        _done("bench", "run", "acme/reranker", "--trusted", "--board", board, *data)
        _done("board", "publish-lists", "--board", board, "--repo", "acme/lists")

    # -- one run after another -----------------------------------------------------------------------------------------

    def reset(self, command: Command, *, keep: bool = False, keep_cache: bool = False) -> None:
        """The Hub and the teacher as at first, and a fresh scene, but for its cache with `keep_cache`.

        With `keep` the scene is left empty, for a disk to be mounted there.
        """
        self.paid.clear()
        if not self._at_first:
            self._at_first = copy.deepcopy(self.hub.repos)
        self.hub.repos = copy.deepcopy(self._at_first)
        self.hub.requests.clear()
        self.hub.headers.clear()
        self.scene.mkdir(exist_ok=True)
        for folder in self.scene.iterdir():
            if not (keep_cache and folder.name == "cache"):
                shutil.rmtree(folder)
        if not keep:
            self.fill(command)

    def fill(self, command: Command) -> None:
        """The scene's folders: the working folder as the command finds it, and empty ones."""
        for name in ("cache", "home", "tmp"):
            (self.scene / name).mkdir(exist_ok=True)
        shutil.copytree(self.starts / command.start, self.scene / "work")

    def act(self, command: Command) -> Any:
        """What a child does: the command, in the scene."""
        words = command.words(self)

        def act() -> int:
            os.environ |= {"EXABENCH_CACHE": str(self.scene / "cache"), "SOURCE_DATE_EPOCH": TIME}
            os.environ |= {"HOME": str(self.scene / "home"), "TMPDIR": str(self.scene / "tmp"), "HF_TOKEN": CANARY}
            os.environ.pop("EXABENCH_DATA", None)
            os.chdir(self.scene / "work")
            tempfile.tempdir = None  # this process may have looked for one before
            return main(words)

        return act

    def outcome(self) -> dict[str, Any]:
        """All that counts of what a command leaves: the working folder, of a reply store its rows, and the Hub."""
        found: dict[str, Any] = {}
        passed_over = re.compile(r"replies\.db|.*\.lock$")  # a dead lock keeps no one out
        for path, data in contents(self.scene / "work").items():
            if not passed_over.match(path):
                found[path] = _without_times(path, data)
        store = self.scene / "work" / "replies.db"
        if store.is_file():
            with closing(sqlite3.connect(store)) as base:
                found["replies.db"] = sorted(base.execute("SELECT key, text FROM replies"))
        folders = [str(path.relative_to(self.scene / "work")) for path in self.scene.glob("work/**/") if path.is_dir()]
        found["folders"] = sorted(path for path in folders if not passed_over.match(path))
        found |= hub_state(self.hub.repos)
        return found

    def stored_prompts(self) -> set[str]:
        """The turns of each prompt whose reply is in the store of the working folder."""
        store = self.scene / "work" / "replies.db"
        if not store.is_file():
            return set()
        with closing(sqlite3.connect(store)) as base:
            try:
                return {turns for (turns,) in base.execute("SELECT turns FROM replies")}
            except sqlite3.OperationalError:  # it was not made to its end
                return set()

    def _answer(self, server: Endpoint, handler: Any, body: Any) -> None:
        """A paid answer, a function of the prompt."""
        turns = [(turn["role"], turn["content"]) for turn in body["messages"]]
        self.paid[canonical_json(turns)] += 1
        text = turns[-1][1]
        answer = f"The passage says what was asked about {' '.join(text.split()[-6:])}"
        if "[2]" in text:
            answer = reversed_list(text)
        handler.send(200, completion(body, lambda text: answer))


def _done(*words: object) -> None:
    """Run a command that must end well."""
    assert main([str(word) for word in words]) == 0


def _without_times(path: str, data: bytes) -> Any:
    """The content of a file; of a JSON file without how long something took."""
    if not path.endswith(".json"):
        return data
    value = json.loads(data)
    for table in (value, value.get("cost") or {} if isinstance(value, dict) else {}):
        if isinstance(table, dict) and table.pop("timing", None):
            value.pop("digest", None)  # of all else that the file holds
    return value


def hub_state(repos: Mapping[str, Repo]) -> dict[str, Any]:
    """What is on the Hub: files by path, titles of commits, tags, requests and what is said on them."""
    found: dict[str, Any] = {}
    for name, repo in repos.items():
        head = repo.at("main")
        for path, data in (head.files if head else {}).items():
            found[f"hub {name}/{path}"] = data
        found[f"hub {name} commits"] = [commit.title for commit in repo.history(head)]
        found[f"hub {name} tags"] = sorted(repo.tags)
        found[f"hub {name} requests"] = [
            (one["title"], one["status"], [event.get("data") for event in one["events"]]) for one in repo.requests
        ]
    return found
