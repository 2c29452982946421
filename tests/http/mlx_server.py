"""mlx-vlm's own server with the embedded checkpoint, as a process on loopback."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from vqa_engine_adapters.builtin import CHECKPOINT


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Server:
    """The server on one port; it can be killed and started again, as by a supervisor.

    Starting does not wait: its clients do, until it listens.
    """

    def __init__(self, port: int | None = None) -> None:
        self.port = port or free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Its base URL."""
        return f"http://127.0.0.1:{self.port}/v1"

    @property
    def pid(self) -> int | None:
        """Its process, None while there is none."""
        return None if self._process is None else self._process.pid

    def start(self) -> None:
        """Start it, without a prefix cache of its own: that is no part of what is compared."""
        environment = {**os.environ, "HF_HUB_OFFLINE": "1", "APC_ENABLED": "0"}
        command = [sys.executable, "-m", "mlx_vlm.server", "--model", str(CHECKPOINT)]
        command += ["--host", "127.0.0.1", "--port", str(self.port), "--log-level", "ERROR"]
        quiet = subprocess.DEVNULL
        self._process = subprocess.Popen(command, env=environment, stdout=quiet, stderr=quiet)

    def kill(self) -> None:
        """End it at once."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()


@contextmanager
def running(port: int | None = None) -> Iterator[Server]:
    """A server starting up; killed at the end."""
    server = Server(port)
    server.start()
    try:
        yield server
    finally:
        server.kill()
