"""A server that answers by script, and remembers what it was asked."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from attrs import define, field, frozen

KEY = "sk-never-to-be-seen-1234567890"
MODELS = {"data": [{"id": "tiny"}]}


@frozen
class Reply:
    """One answer to a chat request; `text` replaces the whole body, `delay` is seconds."""

    status: int = 200
    content: str = "yes"
    text: str | None = None
    delay: float = 0.0
    headers: tuple[tuple[str, str], ...] = ()
    logprobs: Any = None

    def body(self) -> bytes:
        """What goes over the wire."""
        if self.text is not None:
            return self.text.encode()
        choice = {
            "message": {"content": self.content},
            "finish_reason": "stop",
            "logprobs": self.logprobs,
        }
        usage = {"prompt_tokens": 7, "completion_tokens": 2}
        return json.dumps({"choices": [choice], "usage": usage}).encode()


@define
class Script:
    """Replies to chat requests in turn, the last one for ever; `key` is what it wants.

    `asked` are the bodies that came, `headers` theirs, `most` the most at one time.
    """

    replies: Sequence[Reply] = (Reply(),)
    key: str | None = None
    models: Any = field(factory=lambda: MODELS)
    asked: list[dict[str, Any]] = field(factory=list)
    headers: list[dict[str, str]] = field(factory=list)
    most: int = 0
    now: int = 0
    lock: threading.Lock = field(factory=threading.Lock)

    def next(self, body: dict[str, Any], headers: dict[str, str]) -> Reply:
        """Note a request, and give the reply whose turn it is."""
        with self.lock:
            reply = self.replies[min(len(self.asked), len(self.replies) - 1)]
            self.asked.append(body)
            self.headers.append(headers)
            self.now += 1
            self.most = max(self.most, self.now)
        time.sleep(reply.delay)
        with self.lock:
            self.now -= 1
        return reply


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # one write for head and body: two wait 40 ms for each other's acknowledgement
    script: Script

    def do_GET(self) -> None:
        if self._allowed():
            self._send(200, json.dumps(self.script.models).encode())

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        if self._allowed():
            reply = self.script.next(body, {k.lower(): v for k, v in self.headers.items()})
            self._send(reply.status, reply.body(), reply.headers)

    def log_message(self, format: str, *args: Any) -> None:
        """Keep the tests' output clean."""

    def _allowed(self) -> bool:
        given = self.headers.get("authorization", "")
        if self.script.key is None or given == f"Bearer {self.script.key}":
            return True
        self._send(401, f'{{"error": "wrong key: {given}"}}'.encode())
        return False

    def _send(self, status: int, body: bytes, headers: tuple[tuple[str, str], ...] = ()) -> None:
        try:
            self.send_response(status)
            for name, value in (*headers, ("content-length", str(len(body)))):
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True  # the client did not wait for it


class _Server(ThreadingHTTPServer):
    """A server whose end is the end of its connections, as when a process dies."""

    daemon_threads = True

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._open: list[socket.socket] = []

    def get_request(self) -> Any:
        connection, address = super().get_request()
        self._open.append(connection)
        return connection, address

    def server_close(self) -> None:
        super().server_close()
        for connection in self._open:
            with suppress(OSError):  # it has ended already
                connection.shutdown(socket.SHUT_RDWR)


@contextmanager
def serving(script: Script, port: int = 0) -> Iterator[str]:
    """The script on loopback; yields the base URL."""
    handler = type("Handler", (_Handler,), {"script": script})
    server = _Server(("127.0.0.1", port), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/v1"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
