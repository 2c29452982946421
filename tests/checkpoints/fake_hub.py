"""A hub on this machine: the calls of the real one that downloads make."""

from __future__ import annotations

import importlib
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha1, sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import unquote

import pytest
from attrs import field, mutable

COMMIT = "0123456789abcdef0123456789abcdef01234567"

_CALL = re.compile(r"(?:/api)?/(?:models/)?((?:datasets/)?[\w.-]+/[\w.-]+)(?:/(.*))?")


@mutable
class FakeHub:
    """Repositories with one branch each, in folders: models by id, data sets by `datasets/ID`.

    `calls` are the paths that were asked for, `sent` counts the bytes of files that went out,
    `offsets` are those that downloads began at. With `refusal` (HTTP status and the hub's error
    code) every call is refused; after `cut` bytes of a file the connection ends, once.
    """

    repositories: dict[str, Path]
    url: str = ""
    calls: list[str] = field(factory=list)
    sent: int = 0
    offsets: list[int] = field(factory=list)
    refusal: tuple[int, str] | None = None
    cut: int | None = None


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


def use(url: str, cache: Path, patch: pytest.MonkeyPatch) -> None:
    """Let clients ask a hub and keep downloads in a folder, here and in processes started."""
    constants = importlib.import_module("huggingface_hub.constants")
    patch.setattr(constants, "ENDPOINT", url)
    files = url + "/{repo_id}/resolve/{revision}/{filename}"
    patch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", files)
    patch.setattr(constants, "HF_HUB_CACHE", str(cache))
    patch.setattr(constants, "HF_HUB_DISABLE_TELEMETRY", True)
    patch.setattr(importlib.import_module("huggingface_hub.hf_api").api, "endpoint", url)
    patch.setenv("HF_ENDPOINT", url)
    patch.setenv("HF_HUB_CACHE", str(cache))


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
        folder, commit = self.served.repositories.get(name), _commit(path)
        if self.served.refusal is not None:
            status, code = self.served.refusal
            self._send(status, b"{}", {"X-Error-Code": code}, body=body)
        elif folder is None:
            self._send(404, b"{}", {"X-Error-Code": "RepoNotFound"}, body=body)
        elif rest.startswith(f"resolve/{commit}/"):
            self._file(folder / rest.removeprefix(f"resolve/{commit}/"), body=body)
        elif rest.startswith("tree/"):
            self._send(200, json.dumps(_tree(folder)).encode(), {}, body=body)
        elif rest == "revision/gone":
            self._send(404, b"{}", {"X-Error-Code": "RevisionNotFound"}, body=body)
        elif not path.startswith("/api/"):
            self._send(404, b"{}", {"X-Error-Code": "EntryNotFound"}, body=body)
        else:
            files = [{"rfilename": one["path"], "size": one["size"]} for one in _tree(folder)]
            info = {"id": name.removeprefix("datasets/"), "sha": commit, "siblings": files}
            self._send(200, json.dumps(info).encode(), {}, body=body)

    def _file(self, file: Path, *, body: bool) -> None:
        if not file.is_file():
            self._send(404, b"{}", {"X-Error-Code": "EntryNotFound"}, body=body)
            return
        whole = file.read_bytes()
        asked = self._range()
        content = whole[asked]
        digest = sha256 if file.suffix == ".safetensors" else sha1
        headers = {
            "ETag": f'"{digest(whole).hexdigest()}"',
            "X-Repo-Commit": _commit(self.path),
            "Content-Range": f"bytes {asked.start}-{asked.start + len(content) - 1}/{len(whole)}",
        }
        status = 200 if content == whole else 206
        if body:
            self.served.sent += len(content)
            self.served.offsets.append(asked.start)
            cut, self.served.cut = self.served.cut, None
            self.close_connection |= cut is not None
            headers["Content-Length"], content = str(len(content)), content[:cut]
        self._send(status, content, headers, body=body)

    def _range(self) -> slice:
        """The bytes of a file that are asked for; all of them by default."""
        first, _, last = self.headers.get("Range", "").removeprefix("bytes=").partition("-")
        return slice(int(first or 0), int(last) + 1 if last else None)

    def _send(self, status: int, content: bytes, headers: dict[str, str], *, body: bool) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(content)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if body:
            self.wfile.write(content)


def _commit(path: str) -> str:
    """The commit that a request names, else the newest."""
    named = re.search(r"/([0-9a-f]{40})(?:/|$)", path)
    return named[1] if named else COMMIT


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
