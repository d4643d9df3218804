"""`board serve` shows a board's pages to this machine's browser, and nothing else to anyone."""

from __future__ import annotations

import http.client
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from exabench.board.serving import SiteServer
from exabench.cli import main

HEADERS = ("Content-Security-Policy", "X-Content-Type-Options", "X-Frame-Options", "Referrer-Policy")


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A site beside a secret, with links of every kind that lead to it."""
    site = tmp_path / "site"
    (site / "tasks").mkdir(parents=True)
    (site / "empty").mkdir()
    (site / "led").mkdir()
    (site / "index.html").write_text("<p>first")
    (site / "tasks" / "mini.html").write_text("<p>mini")
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "index.html").write_text("hidden")
    (site / "file.txt").symlink_to(tmp_path / "secret" / "index.html")
    (site / "led" / "index.html").symlink_to(tmp_path / "secret" / "index.html")
    (site / "folder").symlink_to(tmp_path / "secret")
    (site / "circle").symlink_to(site / "circle")
    (site / "here.html").symlink_to(site / "index.html")
    return site


@pytest.fixture
def port(site: Path) -> Iterator[int]:
    with SiteServer(site, 0) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


def get(port: int, path: str, host: str = "", method: str = "GET") -> tuple[int, str, http.client.HTTPMessage]:
    client = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    headers = {"Host": host} if host else {}
    client.request(method, path, headers=headers)
    answer = client.getresponse()
    return answer.status, answer.read().decode(), answer.headers


def test_pages_come_with_headers_that_browsers_heed(port: int) -> None:
    for path in ("/", "/index.html", "/tasks/mini.html", "/here.html?x=1"):
        status, body, headers = get(port, path)
        assert status == 200 and body.startswith("<p>") and all(headers[name] for name in HEADERS), path
        assert "Python" not in headers["Server"]


@pytest.mark.parametrize(
    "path",
    [
        *("/file.txt", "/led/", "/folder/", "/folder/index.html", "/circle", "/empty/", "/nothing"),
        *("/../secret/index.html", "/%2e%2e/secret/index.html", "/tasks/..%2f..%2fsecret/index.html", "//etc/passwd"),
        *("/.%00/x", "/tasks/%00", "/\\..\\secret", "/%ff%fe", "/" + "a" * 5000),
    ],
)
def test_nothing_outside_of_the_site_and_no_list_of_files_is_served(
    path: str, port: int, capfd: pytest.CaptureFixture[str]
) -> None:
    status, body, headers = get(port, path)
    assert status == 404 and "hidden" not in body and headers["X-Content-Type-Options"] == "nosniff"
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example", "[", "[::2]", "10.0.0.1"]
)
def test_a_page_that_gives_its_own_name_this_machines_address_reads_nothing(host: str, port: int) -> None:
    assert get(port, "/index.html", host)[0] == 421
    assert get(port, "/index.html", host, "HEAD")[0] == 421


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "localhost:9000"])
def test_a_port_may_be_forwarded(host: str, port: int) -> None:
    assert get(port, "/index.html", host)[0] == 200


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "TRACE"])
def test_nothing_can_be_changed(method: str, port: int) -> None:
    assert get(port, "/index.html", method=method)[0] == 501


def test_a_silent_connection_ends_and_keeps_nobody_waiting(
    port: int, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("exabench.board.serving._SiteHandler.timeout", 0.5)
    silent = [socket.create_connection(("127.0.0.1", port), timeout=30) for _ in range(20)]
    started = time.monotonic()
    assert get(port, "/")[0] == 200 and time.monotonic() - started < 5
    assert all(one.recv(1) == b"" for one in silent), "closed by the server"
    for one in silent:
        one.close()
    # A browser that goes away in the middle of a request leaves no traceback.
    gone = socket.create_connection(("127.0.0.1", port), timeout=30)
    gone.sendall(b"GET / HTTP/1.1\r\nHost: loc")
    gone.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    gone.close()
    assert get(port, "/")[0] == 200 and capfd.readouterr() == ("", "")


def test_a_port_in_use_is_one_line(site: Path, tmp_path: Path, port: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["board", "init", "--board", str(tmp_path / "board")]) == 0
    capsys.readouterr()
    assert main(["board", "serve", "--board", str(tmp_path / "board"), "--port", str(port)]) == 2
    assert re.fullmatch(
        rf"exabench: port {port} cannot be opened \(.+\); choose another with --port\n", capsys.readouterr().err
    )


def test_the_command_serves_until_it_is_interrupted(tmp_path: Path) -> None:
    board = tmp_path / "board"
    assert main(["board", "init", "--board", str(board)]) == 0
    command = [sys.executable, "-m", "exabench", "board", "serve", "--board", str(board), "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as serving:
        assert serving.stdout is not None
        url = re.fullmatch(r"http://127\.0\.0\.1:(\d+)/\n", serving.stdout.readline())
        assert url is not None
        assert "My leaderboard" in get(int(url[1]), "/")[1]
        serving.send_signal(signal.SIGINT)
        _, notes = serving.communicate(timeout=60)
        assert serving.returncode == 0 and notes.endswith("stopped\n")
