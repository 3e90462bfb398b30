"""Answers over HTTP which release is mounted and the sha256 of its files; runs in the sandbox's serving pods, alone.

GET /        {"release": …, "files": {path: sha256}}
GET /healthz 200 once the files are hashed (a real server: once the model is loaded), 503 before
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

_MODEL = Path("/model")
_PORT = 8080


class _Loaded:
    files: dict[str, str] | None = None


def _load(release: str) -> None:
    """Reads the whole model, as a real server does; without a release it never becomes ready."""
    if release:
        _Loaded.files = {
            str(file.relative_to(_MODEL)): _sha256(file) for file in sorted(_MODEL.rglob("*")) if file.is_file()
        }


def _sha256(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        if self.path == "/healthz":
            self._answer(503 if _Loaded.files is None else 200, {})
        else:
            self._answer(200, {"release": os.environ.get("MODEL_RELEASE", ""), "files": _Loaded.files or {}})

    def _answer(self, status: int, body: dict[str, object]) -> None:
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class names it so
        """A line for every probe would bury what matters."""


def main() -> None:
    """Serves until it is ended."""
    if (_MODEL / "CRASH").exists():
        sys.exit("this release holds a file CRASH: it stands for a model that its server cannot load")
    threading.Thread(target=_load, args=(os.environ.get("MODEL_RELEASE", ""),), daemon=True).start()
    ThreadingHTTPServer(("", _PORT), _Handler).serve_forever()


if __name__ == "__main__":
    main()
