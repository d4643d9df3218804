"""No secret is published, and none comes out of any command: planted ones are looked for in all that is written."""

from __future__ import annotations

import contextlib
import gzip
import io
import json
import logging
import re
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from endpoint import Endpoint, Handler, completion, serving
from hub_client import CANARY, point_at, write_release
from hub_double import HubDouble
from models import classifier_folder
from test_golden import TRAINING
from toys import contents, finished_board, toml, write_submission
from trained import model_folder

from exabench.cli import exabench as command_line, main
from exabench.core.errors import BadInput
from exabench.core.recipe import read_recipe
from exabench.hub import commits
from exabench.hub.secrets import check_secrets

# Put together here: whoever searches the repository for keys finds none.
PEM = "-----BEGIN " + "RSA PRIVATE KEY-----\n"
FORMS = {
    "hub": "hf_" + "aB3d" * 9,
    "openai": "sk-proj-" + "aB3d_" * 9,
    "anthropic": "sk-ant-api03-" + "aB3d-" * 9,
    "groq": "gsk_" + "aB3d" * 13,
    "google": "AIza" + "aB3d5" * 7,
    "amazon": "AKIA" + "AB3D" * 4,
    "github": "ghp_" + "aB3d" * 9,
    "github-fine": "github_pat_" + "aB3d_" * 16,
    "gitlab": "glpat-" + "aB3d" * 5,
    "slack": "xoxb-" + "123-aB3d" * 5,
    "pypi": "pypi-AgE" + "aB3d" * 20,
    "private": PEM + "aB3d" * 16 + "\nAb3=\n-----END",
    "private, encrypted": PEM + "Proc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,0123ABCD\n\n" + "aB3d" * 16,
    "private, in JSON": PEM.replace("\n", "\\n") + "aB3d" * 16,
}
NONE = (
    "a risk-averse and task-oriented-learning-approach-without-any-number-in-it",
    "hf_hub_download and hf_transfer",
    "AKIA, the Amazon's mark; AKIAB3D",
    "sk-learn, sk-SK, disk-usage-of-the-second-machine-in-2026-and-later-years",
    "-----BEGIN PUBLIC KEY-----",
    f"The payload follows a line that reads {PEM.strip()}. Examples: to view a key, openssl rsa -noout -text",
    f"{PEM}MIIE...\n-----END RSA PRIVATE KEY-----",
    "base64: " + "QUtJQUFC" * 20,
)


@pytest.fixture
def double(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[HubDouble]:
    monkeypatch.setattr(commits, "PAUSE", 0.0)
    with HubDouble() as server:
        point_at(server.url, tmp_path / "home", monkeypatch)
        yield server


def release_with(text: str, folder: Path) -> Path:
    write_release(folder, {"first": ["sky", text]})
    return folder


@pytest.mark.parametrize("form", FORMS)
def test_a_text_like_a_key_is_not_published_and_no_repository_is_made(
    form: str, double: HubDouble, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    secret = FORMS[form]
    folder = release_with(f"my key is {secret}, keep it", tmp_path / "release")
    publish = ["data", "publish", str(folder), "--repo", "owner/toy"]
    for command in ([*publish, "--dry-run"], publish):
        assert main(command) == 2
        said = capsys.readouterr().err
        assert re.search(r"exabench: .*first.*\.parquet: column \w+ looks like a .*; remove it, then publish; or", said)
        assert secret not in said and "datasets/owner/toy" not in double.repos
    assert main(["data", "publish", str(folder), "--to", str(tmp_path / "there")]) == 2
    assert not (tmp_path / "there").exists()
    # The line says how to publish it as it is.
    [option] = re.findall(r"--not-secret=\S+", capsys.readouterr().err)
    assert main([*publish, option[: len("--not-secret=") + 4]]) == 2, "as short as this it would allow them all"
    assert main([*publish, option]) == 0


def test_words_that_only_begin_like_keys_are_published(double: HubDouble, tmp_path: Path) -> None:
    folder = tmp_path / "release"
    write_release(folder, {"first": [*NONE]})
    assert main(["data", "publish", str(folder), "--repo", "owner/toy"]) == 0


@pytest.mark.parametrize("name", ["OPENAI_API_KEY", "AWS_SECRET_ACCESS_KEY", "DB_PASSWORD", "MY_TOKEN", "HF_TOKEN"])
def test_the_value_of_an_own_key_is_not_published_whatever_its_form(
    name: str, double: HubDouble, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = release_with("the word is plainly-said", tmp_path / "release")
    monkeypatch.setenv(name, "plainly-said")
    assert main(["data", "publish", str(folder), "--to", str(tmp_path / "there")]) == 2
    said = capsys.readouterr().err
    assert re.search(r"column \w+ holds the (value of|token)", said) and "plainly" not in said
    monkeypatch.setenv(name, "said")  # as short as EMPTY, which servers without keys are given
    monkeypatch.setenv("HF_TOKEN", CANARY)
    assert main(["data", "publish", str(folder), "--to", str(tmp_path / "there")]) == 0


def packed(text: str) -> bytes:
    return gzip.compress(text.encode())


def table(values: Any) -> bytes:
    stream = io.BytesIO()
    pq.write_table(pa.table({"n": [1] * len(values), "c": values}), stream)
    return stream.getvalue()


CONTAINERS: dict[str, Callable[[str], bytes]] = {
    "notes.md": lambda text: f"first\nsecond {text}".encode(),
    "run.trec.gz": packed,
    "run.zst": lambda text: bytes(pa.compress(text.encode(), codec="zstd", asbytes=True)),
    "long.bin": lambda text: b"\0" * ((1 << 24) - 20) + text.encode() + b"\0" * 100,  # over the end of a piece
    "nested.parquet": lambda text: table([[{"a": "x", "b": [text]}], []]),
    "words.parquet": lambda text: table(pa.array(["x", text]).dictionary_encode()),
    "map.parquet": lambda text: table(pa.array([[("k", text)]], pa.map_(pa.string(), pa.string()))),
    "bytes.parquet": lambda text: table([b"\xff" + text.encode()]),
    "model.safetensors": lambda text: (len(text)).to_bytes(8, "little") + text.encode() + b"\xff\x00" * 1000,
}


@pytest.mark.parametrize("name", CONTAINERS)
@pytest.mark.parametrize("text", [f" {FORMS['github']} ", f"x{CANARY}y"])
def test_a_secret_is_found_in_every_kind_of_file(
    name: str, text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", CANARY)
    file = tmp_path / name
    file.write_bytes(CONTAINERS[name](text))
    for content in (file, file.read_bytes()):
        with pytest.raises(BadInput, match=f"{name}: (line|column)"):
            check_secrets({"index.html": b"<p>", name: content})


def board_with(text: str, folder: Path) -> Path:
    finished_board(folder)
    with (folder / "board.toml").open("a", encoding="utf-8") as file:
        file.write(f'description = "Ours {text}"\n')
    return folder


@pytest.mark.parametrize(
    ("door", "place"),
    [
        *(("train", "--repo"), ("board", "--repo"), ("lists", "--repo"), ("submit", "--repo")),
        *(("train", "--to"), ("board", "--to"), ("lists", "--to")),
    ],
)
def test_every_door_to_the_hub_looks_at_every_file(
    door: str, place: str, double: HubDouble, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    secret = FORMS["github"]
    to = "owner/there" if place == "--repo" else str(tmp_path / "there")
    if door == "train":
        release = write_release(tmp_path / "release", {"first": ["sky", "sea"]})
        command = [
            "train",
            "publish",
            str(model_folder(tmp_path / "w", release, "first", note=f"With {secret}.").parent),
        ]
    elif door == "submit":
        finished_board(tmp_path / "board")
        double.commit("datasets/owner/there", contents(tmp_path / "board"))
        file = write_submission(tmp_path / "new", name="tester/new", description=f"With {secret}.")
        run = next((tmp_path / "board" / "runs").rglob("*.trec.gz"))
        command = ["bench", "submit", str(file), "--run", f"mini={run}", "--board", str(tmp_path / "board")]
    else:
        verb = "publish" if door == "board" else "publish-lists"
        command = ["board", verb, "--board", str(board_with(secret, tmp_path / "board"))]
    before = len(double.repos)
    capsys.readouterr()
    assert main([*command, place, to]) == 2
    said = capsys.readouterr().err
    assert "looks like a token of GitHub" in said and secret not in said, said
    assert len(double.repos) == before and not (tmp_path / "there").exists()


KEY = "planted-7d0f-key"
PLANTED = {
    "HF_TOKEN": CANARY,
    "MY_API_KEY": KEY,
    "OPENAI_API_KEY": "planted-openai-2",
    "AWS_SECRET_ACCESS_KEY": "planted-aws-3",
}
DEMO = """
title = "A board"
tasks = ["mini"]
datasets = ["mini-listwise"]
first_stages.bm25-20 = { retriever = "bm25", depth = 20 }
"""
STUDY = """
title = "Toy"
train = "toy.toml"
seeds = [1]
baseline = "trained"
untrained = "untrained"
task = [{ task = "mini", depth = 3 }]
"""
NOT_RUN = {"help", "board serve", "bench convert"}
"""Help reads nothing; what the server shows are a board's pages; tests/sandbox runs the conversion in its jail."""


def written_in(folder: Path) -> Iterator[tuple[Path, bytes]]:
    """Every file below a folder, and what is packed in it."""
    for file in folder.rglob("*"):
        if file.is_file() and not file.is_symlink():
            data = file.read_bytes()
            yield file, data
            if file.suffix == ".gz":
                yield file, gzip.decompress(data)
            elif file.suffix == ".parquet":
                yield file, json.dumps(pq.read_table(file).to_pylist(), default=str, ensure_ascii=False).encode()


class CommandLines(threading.Thread):
    """The command lines of all processes of this machine, looked at again and again."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.seen: set[bytes] = set()
        self._ended = threading.Event()

    def run(self) -> None:
        while not self._ended.wait(0.02):
            for file in Path("/proc").glob("[0-9]*/cmdline"):
                with contextlib.suppress(OSError):
                    self.seen.add(file.read_bytes())

    def end(self) -> set[bytes]:
        self._ended.set()
        self.join()
        return self.seen


def echoing(server: Endpoint, handler: Handler, body: Any) -> None:
    """A server that repeats the key that it was sent: in an error first, then in its answers."""
    key = handler.headers.get("authorization", "")
    if server.tries[str(body)] == 1:
        handler.send(429, {"error": {"message": f"slow down, {key}"}}, retry_after="0")
    elif "query" in body and "documents" in body:
        documents = range(len(body["documents"]))
        handler.send(200, {"results": [{"index": i, "relevance_score": 1 / (i + 1)} for i in documents], "you": key})
    else:
        handler.send(
            200, completion(body, lambda text: f"{key} says what was asked, about {' '.join(text.split()[-6:])}")
        )


def leaves(group: click.Group, path: tuple[str, ...] = ()) -> Iterator[str]:
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from leaves(command, (*path, name))
        else:
            yield " ".join((*path, name))


def test_no_command_lets_a_secret_of_the_environment_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """Every command, most of them on a whole small board; servers repeat the keys that they are sent."""
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("EXABENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    lines = CommandLines()
    lines.start()
    ran = set()

    def run(*words: str, status: int = 0) -> None:
        ran.add(max((name for name in leaves(command_line) if f"{' '.join(words)} ".startswith(f"{name} ")), key=len))
        assert main([*words]) == status, (words, capfd.readouterr().err[-2000:])

    with HubDouble() as hub, serving(echoing) as server:
        point_at(hub.url, tmp_path / "home", monkeypatch)
        for name, value in PLANTED.items():
            monkeypatch.setenv(name, value)
        keyed = {"base_url": server.url, "api_key_env": "MY_API_KEY"}
        page = read_recipe("data", "mini-explanations").values
        recipe = {key: value for key, value in page.items() if key != "teacher"}
        teacher = {"part": "openai", "model": "m", **keyed}
        Path("given.toml").write_text(f"{toml(recipe)}\n[teacher]\n{toml(teacher)}")
        server_of = {"model": "m", "endpoint": server.url, "api_key_env": "MY_API_KEY"}
        run("data", "list")
        run("data", "show", "given.toml", status=2)
        build = ("data", "build", "given.toml", "--limit", "3", "--to", "work", "--replies", "replies")
        run(*build, status=2)
        run(*build, "--key-env", "MY_API_KEY")
        release = "work/release"
        run("data", "record", status=2)
        run("data", "cost", release, "--input-price", "1", "--output-price", "2")
        run("data", "audit", release)
        run("data", "card", release)
        run("data", "verify", release)
        run("data", "diff", release, release)
        run(
            "data",
            "export",
            release,
            "explanations",
            "--format",
            "exaranker",
            "--split",
            "validation",
            "--to",
            "out.tsv",
        )
        run("data", "replies", "import", f"{release}/replies/explanations.parquet")
        [row, *_] = [
            one["id"] for one in pq.read_table(next(Path(release).rglob("explanations*/*.parquet"))).to_pylist()
        ]
        run("data", "withdraw", release, "explanations", row, "--reason", "Its author asked.", "--to", "without")
        run("data", "publish", release, "--repo", "tester/set")

        Path("demo.toml").write_text(DEMO)
        run("demo", "--recipe", "demo.toml", "--to", "board")
        board = ("--board", "board")
        found = next(Path("board/candidates").rglob("*.trec.gz"))
        evaluated = [f"--set={name}={value}" for name, value in server_of.items()]
        run("evaluate", "endpoint", "--task", "mini", *evaluated, "--to", "evaluated", "--key-env", "MY_API_KEY")
        run("rerank", "endpoint", "--run", str(found), "--task", "mini", *evaluated, "-o", "reranked.trec")
        local = server.url.replace("127.0.0.1", "localhost")
        api = {"name": "tester/api", "kind": "api", "reranker": "endpoint", "model": "m", "endpoint": local}
        api["options"] = {"api_key_env": "MY_API_KEY"}
        sent = write_submission(tmp_path / "sent", **api)
        run("bench", "submit", str(sent), "--key-env", "MY_API_KEY", *board)
        run("bench", "run", "tester/api", "--key-env", "MY_API_KEY", *board)
        run("bench", "tasks")
        run("bench", "candidates", "mini", "--depth", "5", "--name", "few-5", *board)
        run("bench", "score", "reranked.trec", "--task", "mini", "--per-query")
        run("bench", "compare", "tester/api", "exabench/random", *board)
        run("bench", "verify", *board)
        run("bench", "judgements", "mini", *board)
        run("bench", "pending", *board)
        run("bench", "withdraw", "tester/api", "--reason", "It was a try.", *board)
        run("bench", "import-mteb", "nothing-here", "--system", "a/b", *board, status=2)
        with Path("board/board.toml").open("a") as settings:
            settings.write('url = "https://boards.example.org/ours"\n')
        run("board", "init", "--board", "new")
        run("board", "check", *board)
        run("board", "build", *board)
        run("board", "publish", *board, "--repo", "tester/pages")
        run("board", "publish-lists", *board, "--repo", "tester/lists")
        run("board", "push-results", *board, "--lists", "tester/lists", "--dry-run")

        classifier_folder(tmp_path / "start")
        Path("toy.toml").write_text(TRAINING)
        run("train", "list")
        run("train", "run", "toy.toml", "--to", "fitted", "--device", "cpu", "--owner", "tester")
        run("train", "publish", "fitted", "--repo", "tester/model")
        Path("study.toml").write_text(STUDY)
        run("study", "list")
        run("study", "run", "study.toml", "--to", "studied", "--device", "cpu")
        run("study", "report", "study.toml", "--to", "studied", *board)
        asked = ("--endpoint", server.url, "--set", "server.api_key_env=MY_API_KEY")
        run("parity", "start", *asked, "--task", "mini", status=1)
        run("bench", "speed", "start", "--backend", "torch", "--passages", "5", "--repeat", "1")
        run("parts")
        run("doctor", "--offline")
    assert any(f"Bearer {KEY}" in headers.values() for headers in server.headers)
    out = capfd.readouterr()
    seen = {"output": (out.out + out.err).encode(), "log": caplog.text.encode(), "processes": b"".join(lines.end())}
    for place, data in [*seen.items(), *written_in(tmp_path)]:
        for name, value in PLANTED.items():
            assert value.encode() not in data, f"{name} in {place}"
    assert set(leaves(command_line)) - ran == NOT_RUN
