"""A hub on this machine: the calls of the real one that downloads make."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha1, sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import unquote

from attrs import field, mutable

COMMIT = "0123456789abcdef0123456789abcdef01234567"

_CALL = re.compile(r"(?:/api)?/(?:models/)?((?:datasets/)?[\w.-]+/[\w.-]+)(?:/(.*))?")


@mutable
class FakeHub:
    """Repositories with one branch each; `calls` are the paths that were asked for.

    `folder` is `owner/tiny`, `others` are further models by id, and data sets by
    `datasets/ID`. With `refusal` (HTTP status and the hub's error code) every call is refused.
    `sent` counts the bytes of files that went out.
    """

    folder: Path
    refusal: tuple[int, str] | None = None
    others: dict[str, Path] = field(factory=dict)
    url: str = ""
    calls: list[str] = field(factory=list)
    sent: int = 0

    def repository(self, name: str) -> Path | None:
        """Its folder."""
        return {"owner/tiny": self.folder, **self.others}.get(name)


@contextmanager
def serving(hub: FakeHub) -> Iterator[FakeHub]:
    """Serve the hub on a free port while the block runs."""

    class Handler(_Handler):
        served = hub

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    hub.url = f"http://127.0.0.1:{server.server_port}"
    thread = Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    served: FakeHub
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._answer(body=True)

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def log_message(self, *_: object) -> None:
        """Stay silent."""

    def _answer(self, *, body: bool) -> None:
        path = unquote(self.path.partition("?")[0])
        self.served.calls.append(path)
        name, rest = match.groups("") if (match := _CALL.fullmatch(path)) else ("", "")
        folder = self.served.repository(name)
        if self.served.refusal is not None:
            status, code = self.served.refusal
            self._send(status, b"{}", {"X-Error-Code": code}, body=body)
        elif folder is None:
            self._send(404, b"{}", {"X-Error-Code": "RepoNotFound"}, body=body)
        elif rest.startswith(f"resolve/{COMMIT}/"):
            self._file(folder / rest.removeprefix(f"resolve/{COMMIT}/"), body=body)
        elif rest.startswith("tree/"):
            self._send(200, json.dumps(_tree(folder)).encode(), {}, body=body)
        elif rest == "revision/gone":
            self._send(404, b"{}", {"X-Error-Code": "RevisionNotFound"}, body=body)
        elif not path.startswith("/api/"):
            self._send(404, b"{}", {"X-Error-Code": "EntryNotFound"}, body=body)
        else:
            files = [{"rfilename": one["path"], "size": one["size"]} for one in _tree(folder)]
            info = {"id": name.removeprefix("datasets/"), "sha": COMMIT, "siblings": files}
            self._send(200, json.dumps(info).encode(), {}, body=body)

    def _file(self, file: Path, *, body: bool) -> None:
        if not file.is_file():
            self._send(404, b"{}", {"X-Error-Code": "EntryNotFound"}, body=body)
            return
        whole = file.read_bytes()
        content = whole[self._range()]
        self.served.sent += len(content) if body else 0
        digest = sha256 if file.suffix == ".safetensors" else sha1
        headers = {"ETag": f'"{digest(whole).hexdigest()}"', "X-Repo-Commit": COMMIT}
        self._send(200 if content == whole else 206, content, headers, body=body)

    def _range(self) -> slice:
        """The bytes of a file that are asked for; all of them by default."""
        first, _, last = self.headers.get("Range", "").removeprefix("bytes=").partition("-")
        return slice(int(first or 0), int(last) + 1 if last else None)

    def _send(self, status: int, content: bytes, headers: dict[str, str], *, body: bool) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if body:
            self.wfile.write(content)


def _tree(folder: Path) -> list[dict[str, object]]:
    return [
        {
            "type": "file",
            "path": file.relative_to(folder).as_posix(),
            "size": file.stat().st_size,
            "oid": sha1(file.read_bytes()).hexdigest(),
        }
        for file in sorted(folder.rglob("*"))
        if file.is_file()
    ]
