"""Hostile programs in the real jail: nothing is run, read or reached outside of it, and each ends in its class."""

from __future__ import annotations

import errno
import json
import os
import re
import resource
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import pytest
from hostile_programs import HIDERS, PRELUDE, PROBES, SQUANDERERS, TALKERS, Program

import exabench.mini
from exabench.bench.sandbox import Conversation, JailedProcess, JailLimits, check_jail
from exabench.core.nouns import Passage, Query
from exabench.models.screening import SubmissionRefused

JOB = (Query("q", "why is the sky blue"), [Passage(f"d{i}", "because", "light") for i in range(3)])
PROGRAMS = {**TALKERS, **SQUANDERERS}
LIMITS = JailLimits(memory=2 << 30, files=32 << 20, load=60.0, query=60.0, seconds=120.0)


def written(folder: Path, source: str) -> tuple[list[str], Path]:
    """A program as a model folder, and the command that runs it there."""
    folder.mkdir(exist_ok=True)
    with open(folder / "evil.py", "w") as file:
        file.write(PRELUDE + source)
    return [sys.executable, "-I", "-S", "/model/evil.py", f"evil-{folder}"], folder


def probed(name: str, folder: Path, told: object = None, limits: JailLimits = LIMITS) -> dict:
    jailed = JailedProcess(*written(folder, PROBES[name]), limits)
    jailed.send(json.dumps(told).encode() + b"\n")
    try:
        return json.loads(jailed.exchange(lambda: 60.0))
    finally:
        jailed.close()


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_hostile_program_ends_in_its_class_in_bounded_time_and_memory(name, tmp_path):
    program: Program = PROGRAMS[name]
    before, started = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.monotonic()
    with pytest.raises(SubmissionRefused) as caught:
        talk = Conversation(*written(tmp_path, program.source), replace(LIMITS, **program.limits), {})
        if program.many:
            list(talk.score_many([JOB, JOB]))
        else:
            talk.score(*JOB)
    assert caught.value.reason == program.reason, caught.value
    assert time.monotonic() - started < 40
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # KiB, here, whatever it wrote
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 500
    assert not _left(tmp_path), "its processes are gone"


def test_an_honest_program_scores_before_and_after_and_late_answers_are_never_read(tmp_path):
    answer = "{'scores': [0.5, float(job['place']), len(job['passages'][0][0])], 'usage': USAGE}"
    honest = "ready()\nheard()\nwhile (job := heard()) != 'end': say(%s)\nsay({'pairs_per_second': 3.5})\ntime.sleep(9)"
    talk = Conversation(*written(tmp_path / "a", honest % answer), LIMITS, {})
    found = list(talk.score_many([JOB] * 300))
    assert [scores for scores, _ in found] == [[0.5, float(i), 7.0] for i in range(300)]
    assert found[0][1].prompts == 1 and talk.pairs_per_second == 3.5
    talk.close()
    late = "ready()\nheard()\ntime.sleep(1.5)\nwhile True: say({'scores': [1.0] * 3})"
    talk = Conversation(*written(tmp_path / "b", late), replace(LIMITS, query=1.0), {})
    for _ in range(3):
        with pytest.raises(SubmissionRefused) as caught:
            talk.score(*JOB)
        assert caught.value.reason == "time-limit"
        time.sleep(0.3)


def test_whoever_leaves_in_the_middle_ends_the_jail(tmp_path):
    talk = Conversation(
        *written(tmp_path, "ready()\nheard()\nwhile heard(): say({'scores': [1.0] * 3, 'usage': None})"), LIMITS, {}
    )
    for _ in talk.score_many([JOB] * 3):
        assert _left(tmp_path)
        break
    assert not _left(tmp_path)
    with pytest.raises(SubmissionRefused):
        talk.score(*JOB)


def test_no_judgement_and_no_file_of_the_user_is_seen(tmp_path):
    canary = tmp_path / "qrels.tsv"
    canary.write_text(secrets.token_hex(16))
    judgements = [path for path in Path(exabench.mini.__path__[0]).rglob("*") if path.is_file()]
    root, home = Path(__file__).parents[2], Path.home()
    private = [*(root / "leaderboard").rglob("*"), *(root / "tests").glob("*"), *home.glob(".*"), *root.glob("*")]
    data = Path(os.environ["EXABENCH_DATA"]) if os.environ.get("EXABENCH_DATA") else None
    private += [path for path in data.rglob("*qrels*")] if data else []
    private = [path for path in private if path.is_file()]
    asked = [str(path) for path in [canary, *judgements, *private, Path("/etc/passwd"), Path("/etc/shadow")]]
    _, shown = written(tmp_path / "model", "")
    files = [canary, *judgements, *private, shown / "evil.py"]
    found = probed("files", shown, [asked, [[path.stat().st_dev, path.stat().st_ino] for path in files]])
    assert len(judgements) > 3 and found.pop("seen") > 1_000
    assert found == {"found": ["/model/evil.py"], "opened": []}


def test_nothing_is_written_but_a_bounded_tmp(tmp_path):
    model = tmp_path / "model"
    written(model, "")
    (model / "model.safetensors").write_bytes(b"weights")
    package = str(Path(exabench.mini.__path__[0]).parent / "__init__.py")
    told = ["/model/model.safetensors", "/model/evil.py", package, sys.executable, "/usr/bin/env", "/dev/null"]
    found = probed("writing", model, told)
    within = [place for place in found["places"] if not place.startswith("/tmp/")]  # where this checkout lies in /tmp
    assert set(within) == {"/tmp", "/dev/shm"}
    assert not any(Path(place).is_relative_to(sys.prefix) for place in found["places"])
    assert set(found["changed"]) <= {"/dev/null"} and (model / "model.safetensors").read_bytes() == b"weights"
    assert not os.path.exists("/tmp/canary")
    assert os.stat("/dev/null").st_mode & 0o777 == 0o666
    assert probed("filling", tmp_path / "filling")["written"] <= 2 * LIMITS.files


def test_no_network_is_reached(tmp_path):
    path, name = tmp_path / "s", secrets.token_hex(8)
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.socket(socket.AF_UNIX) as one,
        socket.socket(socket.AF_UNIX) as other,
    ):
        one.bind(str(path))
        other.bind("\0" + name)
        one.listen()
        other.listen()
        found = probed("network", tmp_path / "model", [server.getsockname()[1], str(path), name])
        server.settimeout(0.2)
        with pytest.raises(TimeoutError):
            server.accept()
    assert found == {"reached": [], "families": [socket.AF_UNIX]}


def test_no_process_no_variable_and_no_right_of_the_users_is_seen(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", secret := secrets.token_hex(16))
    with open(tmp_path / "open", "w") as file:
        os.set_inheritable(file.fileno(), True)
        found = probed("processes", tmp_path / "model")
    assert len(found["pids"]) <= 3 and max(found["pids"]) < 10
    assert secret not in found["environ"] and "PWD=" + os.getcwd() not in found["environ"]
    assert (found["writable"], found["secrets"], found["roots"]) == ([], [], [])
    assert (found["host"], found["uid"], found["open"]) == ("jail", 65534, ["0", "1", "2", "3"])
    assert found["rights"] == ["0" * 16] * 3 + ["1", "2"]


@pytest.mark.skipif(os.uname().machine != "x86_64", reason="the probe knows the numbers of x86-64")
def test_calls_that_have_led_out_of_jails_fail(tmp_path):
    assert probed("calls", tmp_path / "model") == {}


def limits_of(users: str) -> JailLimits:
    """Those of a jail that root begins without its rights, or with them; to others that is one."""
    return replace(LIMITS, as_root=users == "as root")


@pytest.mark.parametrize("users", ["unprivileged", "as root"])
@pytest.mark.parametrize("name", HIDERS)
def test_memory_that_no_process_shows_and_threads_are_stopped_within_a_second_of_their_limit(name, users, tmp_path):
    limits = replace(limits_of(users), memory=128 << 20)
    jailed = JailedProcess(*written(tmp_path, HIDERS[name]), limits)
    jailed.send(json.dumps({"memory": limits.memory, "threads": limits.threads}).encode() + b"\n")
    reached = None
    with pytest.raises(SubmissionRefused) as caught:
        jailed.exchange(lambda: 60.0)
        reached = time.monotonic()
        jailed.exchange(lambda: 60.0)
    assert reached is None or time.monotonic() - reached < 1.0
    assert caught.value.reason == ("crashed" if name == "threads" else "out-of-memory"), caught.value
    assert not _left(tmp_path)


def test_the_kernel_itself_bounds_the_threads_of_a_program_that_is_not_roots(tmp_path):
    assert probed("threads", tmp_path)["begun"] <= LIMITS.threads


def test_a_program_runs_as_an_ordinary_user_of_this_machine_whoever_begins_it(tmp_path):
    jailed = JailedProcess(*written(tmp_path, "say('here')\ntime.sleep(600)"), LIMITS)
    try:
        jailed.exchange(lambda: 60.0)
        [program] = _processes(tmp_path)
        status = Path(f"/proc/{program}/status").read_text()
    finally:
        jailed.close()
    user, group = os.getuid() or 65534, os.getgid() or 65534
    assert re.search("Uid:(.*)", status)[1].split() == [str(user)] * 4
    assert re.search("Gid:(.*)", status)[1].split() == [str(group)] * 4
    assert re.search("Groups:(.*)", status)[1].strip() in ("", "65534") or os.getuid()


def test_a_model_that_only_its_owner_may_read_is_read_in_the_jail_and_stays_as_it_is(tmp_path):
    program, folder = written(tmp_path / "model", "say('read')")
    (folder / "more").mkdir(0o700)
    (folder / "more" / "weights").touch(0o600)
    for path in (folder, folder / "evil.py"):
        path.chmod(path.stat().st_mode & 0o700)
    before = {path: (path.stat().st_mode, path.stat().st_uid) for path in folder.rglob("*")}
    ended = subprocess.Popen(["true"])
    ended.wait()
    killed = Path(tempfile.mkdtemp(prefix=f"exabench-copy-{ended.pid}-"))
    jailed = JailedProcess(program, folder, LIMITS)
    try:
        assert jailed.exchange(lambda: 60.0) == b"read"
    finally:
        jailed.close()
    assert {path: (path.stat().st_mode, path.stat().st_uid) for path in folder.rglob("*")} == before
    assert not list(Path(tempfile.gettempdir()).glob("exabench-copy-*/model/evil.py"))
    assert killed.exists() == (os.getuid() != 0), "what a killed process left goes with the next copy"
    shutil.rmtree(killed, ignore_errors=True)


@pytest.mark.skipif(os.getuid() != 0, reason="only root runs a jail as another user")
def test_where_root_cannot_drop_its_rights_nothing_runs_unless_it_is_asked_for(tmp_path, monkeypatch):
    (tmp_path / "bwrap").symlink_to(shutil.which("bwrap"))
    monkeypatch.setenv("PATH", str(tmp_path))  # without unshare
    with pytest.raises(SubmissionRefused, match="as an ordinary user, or give --as-root") as caught:
        check_jail(LIMITS)
    assert caught.value.reason == "no-sandbox"
    check_jail(limits_of("as root"))


def test_no_command_line_in_the_jail_tells_where_things_lie_on_this_machine(tmp_path):
    program, folder = written(tmp_path / "model", PROBES["commands"])
    jailed = JailedProcess([os.path.basename(sys.executable), *program[1:-1]], folder, LIMITS)
    try:
        found = json.loads(jailed.exchange(lambda: 60.0))
    finally:
        jailed.close()
    assert "/model/evil.py" in found["lines"] and "bwrap" in found["lines"]
    for private in (str(tmp_path), sys.prefix, sys.base_prefix, str(Path(exabench.mini.__path__[0]).parent)):
        assert private not in found["lines"]
    assert str(tmp_path) not in found["environ"]
    if os.getuid() == 0:  # else bubblewrap's own process has the user of the program
        assert found["read"] == []


@pytest.mark.skipif(bool(list(Path("/dev").glob("nvidia[0-9]*"))), reason="this machine has a GPU")
def test_gpus_that_are_not_there_are_not_shown():
    with pytest.raises(SubmissionRefused, match="no GPU to show.*run without --gpu"):
        check_jail(replace(LIMITS, gpu=True))


@pytest.mark.parametrize("users", ["unprivileged", "as root"])
def test_a_jailed_root_changes_no_attribute_of_a_device_of_the_machine(users, tmp_path):
    before = os.stat("/dev/full").st_mode
    try:
        answers = probed("attributes", tmp_path / "model", limits=limits_of(users))
        assert os.stat("/dev/full").st_mode == before
    finally:
        if os.stat("/dev/full").st_mode != before:
            os.chmod("/dev/full", before & 0o7777)
    refused = [-1, errno.EPERM]
    assert answers == dict.fromkeys(
        ("chmod", "setxattrat", "removexattrat", "open_tree_attr", "file_setattr"), refused
    ) | {
        "470": [-1, errno.ENOSYS],
        "999": [-1, errno.ENOSYS],
    }


def test_a_machine_without_bubblewrap_says_what_to_do(monkeypatch):
    check_jail()
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(SubmissionRefused, match="apt-get install bubblewrap") as caught:
        check_jail()
    assert caught.value.reason == "no-sandbox"


def _left(folder: Path) -> list[int]:
    """Processes of a program's, wherever they are in the tree, that are still there after a moment."""
    for _ in range(40):
        if not (left := _processes(folder)):
            return []
        time.sleep(0.05)
    return left


def _processes(folder: Path) -> list[int]:
    """The processes of a program's."""
    mark = f"evil-{folder}".encode()
    found = [int(name) for name in os.listdir("/proc") if name.isdigit()]
    return [process for process in found if mark in _command(process) and b"bwrap" not in _command(process)]


def _command(pid: int) -> bytes:
    try:
        return Path("/proc", str(pid), "cmdline").read_bytes()
    except OSError:
        return b""
