"""The control group of a jail: runs where this process may make one (cgroup v2 with the controller of memory)."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from hostile_programs import HIDERS, PRELUDE

from exabench.bench.sandbox import JailedProcess, JailLimits, make_group, remove_group
from exabench.models.screening import SubmissionRefused

LIMITS = JailLimits(memory=64 << 20, files=1 << 30, seconds=120.0)
SOCKETS = """
pairs = []
for number in range(300):
    pairs.append(socket.socketpair())
    for one in pairs[-1]:
        one.setblocking(False)
        try:
            while True: one.send(b"x" * 4096)
        except BlockingIOError: pass
time.sleep(600)
"""
HONEST = "say(open('/proc/self/cgroup').read().split())\nheard()"


@pytest.fixture(autouse=True)
def group() -> None:
    found = make_group(LIMITS.memory, LIMITS.threads)
    if found is None:
        pytest.skip("no cgroup v2 with the controllers of memory and pids may be written here")
    remove_group(found)
    assert not found.exists()


def written(folder: Path, source: str) -> tuple[list[str], Path]:
    (folder / "evil.py").write_text(PRELUDE + source)
    return [sys.executable, "-I", "-S", "/model/evil.py"], folder


def groups() -> list[Path]:
    return list(Path("/sys/fs/cgroup").rglob("exabench-*"))


def test_a_program_runs_in_a_group_of_its_own_with_its_limits_and_the_group_goes_with_it(tmp_path: Path) -> None:
    jailed = JailedProcess(*written(tmp_path, HONEST), LIMITS)
    try:
        assert jailed.exchange(lambda: 60.0) == b'["0::/"]', "the jail sees its own group only"
        [found] = groups()
        assert len((found / "cgroup.procs").read_text().split()) == 3  # bubblewrap's two, and the program
        limits = {name: (found / name).read_text().strip() for name in ("memory.max", "memory.oom.group", "pids.max")}
        assert limits == {
            "memory.max": str(LIMITS.memory),
            "memory.oom.group": "1",
            "pids.max": str(LIMITS.threads + 2),
        }
    finally:
        jailed.close()
    assert not groups()


@pytest.mark.parametrize("source", [SOCKETS, HIDERS["page tables"]], ids=["buffers of sockets", "page tables"])
def test_memory_that_only_the_kernel_sees_ends_a_program(source: str, tmp_path: Path) -> None:
    jailed = JailedProcess(*written(tmp_path, source), LIMITS)
    jailed.send(b'{"memory": %d}\n' % LIMITS.memory)
    with pytest.raises(SubmissionRefused) as caught:
        jailed.exchange(lambda: 60.0)
        jailed.exchange(lambda: 60.0)
    assert caught.value.reason == "out-of-memory", caught.value
    assert not groups()
