"""The report of runs on 127.0.0.1, with every picture, and new rows while a run goes on.

It only reads: every route is GET, the journal is opened to read, and a picture is sent only
if the run names it and it lies in a folder that the reader allowed. The Host header is
checked, so that no web page reaches it under a name of its own (DNS rebinding).

Needs the extra `serve` (starlette and uvicorn).
"""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Self
from urllib.parse import quote

from attrs import frozen

from vqa_engine.errors import ConfigurationError, ImageError, VqaEngineError
from vqa_engine.reporting import chosen, title
from vqa_engine.reporting.collecting import Collector
from vqa_engine.reporting.corpus import Corpus
from vqa_engine.reporting.page import Content, data, document, policy
from vqa_engine.reporting.pictures import VIEWED_EDGE, Gallery
from vqa_engine.runs import journal, manifest
from vqa_engine.runs.opening import opened
from vqa_engine.scoring import MetricLike

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response

HOST = "127.0.0.1"
"""The only address that the viewer listens on."""

NAMES = (HOST, "localhost")
"""What a browser may call it."""

INTERVAL = 2.0
"""Seconds between two looks at the journals."""

SHARE = 0.1
"""Of the time, at most so much is spent on the page of a run that is going on."""

QUICK = 1
"""How well the rows are compressed: they go no further than this machine."""

_NO_PICTURE = "It is in none of the folders that may be shown; add its folder with --images."

log = logging.getLogger(__name__)


@frozen
class _Snapshot:
    """The page at one moment. `version` is another one after every change."""

    version: str
    page: str
    rows: bytes
    pictures: frozenset[str]


Sign = tuple[int, int, int]
"""Inode, size and time of a file."""


class Viewer:
    """Keeps the page of some runs up to date, in a thread, between `start` and `close`.

    With `salvage`, what cannot be read of a damaged run is left out, with a warning.

    Raises:
        RunError: one of the directories holds no run.
        JournalError: a journal cannot be read.
        ConfigurationError: the runs do not fit together.
    """

    def __init__(
        self,
        runs: Sequence[Path],
        metrics: Iterable[MetricLike],
        folders: Sequence[Path],
        *,
        salvage: bool = False,
    ) -> None:
        self._runs, self._metrics, self._salvage = tuple(runs), tuple(metrics), salvage
        self._gallery = Gallery(folders=(*folders, *runs))
        self._collector: Collector | None = None
        self._journals: tuple[int, ...] = ()
        self._number = 0
        self._seen: tuple[Sign, ...] = self._signs()
        self._read(self._seen)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="viewer", daemon=True)

    @property
    def snapshot(self) -> _Snapshot:
        """The page as it was last read."""
        return self._snapshot

    def start(self) -> None:
        """Begin to follow the runs."""
        self._thread.start()

    def close(self) -> None:
        """Stop following; twice is safe."""
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def picture(self, key: str) -> bytes:
        """A picture of the runs as WebP.

        Raises:
            ImageError: no run names it, it is outside the folders, or it cannot be read.
        """
        if key not in self._snapshot.pictures:
            raise ImageError("no question of these runs has it", image=key)
        return self._gallery.small(key, VIEWED_EDGE)

    def unseen_folder(self) -> Path | None:
        """The folder of the first picture, if that cannot be shown."""
        first = min(self._snapshot.pictures, default=None)
        if first is None:
            return None
        try:
            self._gallery.open(first)
        except ImageError:
            return Path(first).absolute().parent
        return None

    def _follow(self) -> None:
        wait = INTERVAL
        while not self._ended.wait(wait):
            signs = self._signs()
            if signs == self._seen:
                continue
            began = monotonic()
            try:
                self._read(signs)
            except VqaEngineError as error:
                log.warning("The rows cannot be read now: %s", error)
            wait = max(INTERVAL, (monotonic() - began) / SHARE)

    def _read(self, signs: tuple[Sign, ...]) -> None:
        """Take in the rows that came since, or all where a journal is another file than before."""
        journals = tuple(_sign(run / journal.FILE)[0] for run in self._runs)
        if journals != self._journals:
            self._collector, self._journals = None, journals
        with opened(self._runs, salvage=self._salvage) as runs:
            collector = self._collector or Collector(chosen(runs, self._metrics), self._gallery.key)
            corpus = collector.read(runs)
            # which metrics fit is known with the first row
            self._collector = collector if len(corpus) else None
            self._snapshot, self._seen = self._made(corpus), signs

    def _made(self, corpus: Corpus) -> _Snapshot:
        keys = frozenset(key for key in corpus.pictures.values if key is not None)
        self._number += 1
        content = Content(
            corpus=corpus,
            title=title(corpus),
            addresses={key: f"picture?key={quote(key, safe='')}" for key in keys},
            no_picture=_NO_PICTURE,
        )
        version = str(self._number)
        page = document(content, live=version)
        return _Snapshot(version, page, data(content, level=QUICK), keys)

    def _signs(self) -> tuple[Sign, ...]:
        """What shows that something was written."""
        names = (journal.FILE, f"{journal.FILE}-wal", manifest.FILE)
        return tuple(_sign(run / name) for run in self._runs for name in names)


def application(viewer: Viewer) -> Starlette:
    """The viewer's routes.

    Raises:
        ConfigurationError: the extra `serve` is not installed.
    """
    try:
        from starlette.applications import Starlette
        from starlette.middleware import Middleware
        from starlette.middleware.trustedhost import TrustedHostMiddleware
        from starlette.responses import Response
        from starlette.routing import Route
    except ImportError as error:
        raise _missing() from error

    headers = {
        "Cache-Control": "no-store",
        "Content-Security-Policy": f"{policy(True)}; frame-ancestors 'none'",
        "Cross-Origin-Resource-Policy": "same-origin",
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
    }

    def page(_: Request) -> Response:
        return Response(viewer.snapshot.page, 200, headers, "text/html")

    def rows(_: Request) -> Response:
        return Response(viewer.snapshot.rows, 200, headers, "application/octet-stream")

    def version(_: Request) -> Response:
        return Response(viewer.snapshot.version, 200, headers, "text/plain")

    def picture(request: Request) -> Response:
        try:
            found = viewer.picture(request.query_params.get("key", ""))
        except ImageError as error:
            return Response(str(error), 404, headers, "text/plain")
        return Response(found, 200, {**headers, "Cache-Control": "max-age=3600"}, "image/webp")

    routes = {"/": page, "/data": rows, "/version": version, "/picture": picture}
    return Starlette(
        routes=[Route(path, endpoint, methods=["GET"]) for path, endpoint in routes.items()],
        middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=list(NAMES))],
    )


class Server:
    """The viewer behind a socket of its own; `run` returns when it is interrupted.

    Raises:
        ConfigurationError: the port is taken, or the extra `serve` is not installed.
    """

    def __init__(self, viewer: Viewer, port: int = 0) -> None:
        try:
            import uvicorn
        except ImportError as error:
            raise _missing() from error
        with ExitStack() as undo:
            self._socket = undo.enter_context(socket.socket())
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                self._socket.bind((HOST, port))
                self._socket.listen()  # who asks before `run` waits
            except OSError as error:
                what = f"Port {port} cannot be used: {error.strerror}. Give another --port."
                raise ConfigurationError(what) from error
            config = uvicorn.Config(application(viewer), log_level="warning", lifespan="off")
            self._server = uvicorn.Server(config)
            undo.pop_all()

    @property
    def address(self) -> str:
        """Where a browser finds it."""
        return f"http://{HOST}:{self._socket.getsockname()[1]}/"

    def run(self) -> None:
        """Serve until interrupted or `stop`."""
        try:
            self._server.run(sockets=[self._socket])
        finally:
            self.close()

    def close(self) -> None:
        """Give the port back; twice is safe."""
        self._socket.close()

    def stop(self) -> None:
        """End `run`, from another thread."""
        self._server.should_exit = True


def _missing() -> ConfigurationError:
    return ConfigurationError(
        "The viewer needs starlette and uvicorn: pip install 'vqa-engine[serve]'. "
        "`vqa-engine report` writes the page to a file without them."
    )


def _sign(file: Path) -> Sign:
    try:
        found = file.stat()
    except OSError:
        return 0, 0, 0
    return found.st_ino, found.st_size, found.st_mtime_ns
