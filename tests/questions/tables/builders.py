"""Builders for tables of questions and for a hub that serves data sets on this machine."""

from __future__ import annotations

import importlib
import json
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from hashlib import sha1
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from attrs import field, mutable
from PIL import Image

from tests.question_builders import encoded

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def picture(number: int = 0, size: tuple[int, int] = (8, 6)) -> bytes:
    """A PNG whose colour depends on the number."""
    return encoded(Image.new("RGB", size, (number % 256, number // 256 % 256, 7)))


def packed(number: int, path: str | None = None) -> dict[str, Any]:
    """An image as hub parquet files hold it."""
    return {"bytes": picture(number), "path": path}


def parquet_file(path: Path, rows: Sequence[dict[str, Any]], group: int = 3) -> Path:
    """A parquet file of these rows, in row groups of this size."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(list(rows)), path, row_group_size=group)
    return path


@mutable
class DatasetHub:
    """Data sets in folders, by id; `calls` are the paths that were asked for.

    After `cut` bytes of a file the connection ends, once; `offsets` are the bytes that
    downloads began at.
    """

    datasets: dict[str, Path]
    url: str = ""
    calls: list[str] = field(factory=list)
    cut: int | None = None
    offsets: list[int] = field(factory=list)


@contextmanager
def serving(hub: DatasetHub) -> Iterator[DatasetHub]:
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
    served: DatasetHub
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
        for name, folder in self.served.datasets.items():
            if path.startswith(f"/api/datasets/{name}/tree/"):
                self._send(200, json.dumps(_tree(folder)).encode(), body=body)
                return
            if path.startswith(f"/api/datasets/{name}"):
                siblings = [
                    {"rfilename": one["path"], "size": one["size"]} for one in _tree(folder)
                ]
                info = {"id": name, "sha": _commit(path), "siblings": siblings}
                self._send(200, json.dumps(info).encode(), body=body)
                return
            prefix = f"/datasets/{name}/resolve/{_commit(path)}/"
            if path.startswith(prefix):
                self._file(folder / path.removeprefix(prefix), body=body)
                return
        self._send(404, b"{}", {"X-Error-Code": "RepoNotFound"}, body=body)

    def _file(self, file: Path, *, body: bool) -> None:
        whole = file.read_bytes()
        first = int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").split("-")[0])
        if body:
            self.served.offsets.append(first)
        headers = {"ETag": f'"{sha1(whole).hexdigest()}"', "X-Repo-Commit": _commit(self.path)}
        if first:
            headers["Content-Range"] = f"bytes {first}-{len(whole) - 1}/{len(whole)}"
        content = whole[first:]
        if body and self.served.cut is not None and first == 0:
            cut, self.served.cut = self.served.cut, None
            self.send_response(200)
            for name, value in {**headers, "Content-Length": str(len(content))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content[:cut])
            self.close_connection = True
            return
        self._send(206 if first else 200, content, headers, body=body)

    def _send(
        self, status: int, content: bytes, headers: dict[str, str] | None = None, *, body: bool
    ) -> None:
        self.send_response(status)
        for name, value in {**(headers or {}), "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        if body:
            self.wfile.write(content)


def use(hub: DatasetHub, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the client ask this hub, and keep its downloads in this folder."""
    constants = importlib.import_module("huggingface_hub.constants")
    template = hub.url + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "ENDPOINT", hub.url)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    api = importlib.import_module("huggingface_hub.hf_api")
    monkeypatch.setattr(api.api, "endpoint", hub.url)


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
