"""A server that shows a site's folder to browsers on this machine only."""

from __future__ import annotations

import io
from http import HTTPStatus
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import urlsplit

from exabench.core.errors import BadInput

_HOSTS = {"127.0.0.1", "localhost"}
# Pages bring a Content-Security-Policy of their own, which cannot say who may frame them.
_HEADERS = {
    "Cache-Control": "no-cache",
    "Content-Security-Policy": "frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
_PATIENCE = 10  # seconds that a connection may say nothing


class SiteServer(ThreadingHTTPServer):
    """Serves the files of the folder `site` on 127.0.0.1: `serve_forever` until it is interrupted.

    A file outside of the folder is not found, also where a link leads there. A request for another host's name is
    refused, for a page elsewhere could give its own name this machine's address. Raises BadInput where the port cannot
    be opened; port 0 stands for a free one.
    """

    daemon_threads = True

    def __init__(self, site: Path, port: int) -> None:
        self.site = site.resolve()
        try:
            super().__init__(("127.0.0.1", port), _SiteHandler)
        except OSError as error:
            raise BadInput(f"port {port} cannot be opened ({error.strerror}); choose another with --port") from error

    @property
    def url(self) -> str:
        """The address of the first page."""
        return f"http://127.0.0.1:{self.server_port}/"

    def handle_error(self, request: object, client_address: object) -> None:
        """Nothing: browsers go away in the middle of a request."""


class _SiteHandler(SimpleHTTPRequestHandler):
    timeout = _PATIENCE
    server: SiteServer

    def __init__(self, request: Any, client_address: Any, server: SiteServer) -> None:
        super().__init__(request, client_address, server, directory=str(server.site))

    def version_string(self) -> str:
        """Not which Python this is."""
        return "exabench"

    def send_head(self) -> io.BytesIO | BinaryIO | None:
        """The file of a request, or an error page, and None."""
        if not self._is_for_this_machine():
            self.send_error(HTTPStatus.MISDIRECTED_REQUEST, "This server has no such host")
            return None
        if not self._is_inside():
            self.send_error(HTTPStatus.NOT_FOUND, "There is no such page")
            return None
        return super().send_head()

    def _is_for_this_machine(self) -> bool:
        try:
            return urlsplit(f"//{self.headers.get('Host', '')}").hostname in _HOSTS
        except ValueError:  # a bracket without its other half
            return False

    def _is_inside(self) -> bool:
        """Is what is asked for in the folder, wherever links lead? Of a folder its page, too."""
        path = Path(self.translate_path(self.path))
        try:
            places = [path.resolve(strict=True)]
            for page in ("index.html", "index.htm"):
                if (path / page).exists():
                    places.append((path / page).resolve(strict=True))
        except (OSError, RuntimeError, ValueError):  # nothing is there, links in a circle, or a NUL in the name
            return False
        return all(place.is_relative_to(self.server.site) for place in places)

    def list_directory(self, path: Any) -> None:
        """No list of files: a folder without a page is not found."""
        self.send_error(HTTPStatus.NOT_FOUND, "There is no such page")

    def end_headers(self) -> None:
        """With what tells browsers to take nothing for what it is not."""
        for name, value in _HEADERS.items():
            self.send_header(name, value)
        super().end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """No line for each request."""
