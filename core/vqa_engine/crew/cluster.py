"""Places in a Ray cluster: `ray://auto?gpus=1&count=4`, `ray://local?count=2`.

Ray starts processes and says when one is gone, and nothing else: its restarts and retries are
off, since they run a task again without a word (docs/many-places.md). What is asked again is
decided where the journal is.
"""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Mapping, Sequence
from typing import Any

from vqa_engine.crew.place import Address, Presence, Terms
from vqa_engine.crew.ray_session import RaySession
from vqa_engine.errors import ConfigurationError
from vqa_engine.session.protocol import Session

OURS = ("count", "cpus", "gpus", "wait")
"""Options of an address; any other is a resource of Ray's, such as `mlx=1`."""

_WAIT = 60.0
"""Seconds that a place waits for a node with what it needs, before it counts as lost."""

_KNOCK = 10.0
"""Seconds that the head of a cluster may take to accept a connection."""

QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",  # no telemetry
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",  # what Ray will do, without its warning of it
    "RAY_DEDUP_LOGS": "0",
}
"""Read by Ray when it starts; the caller's own values win."""


class RayPlaces:
    """Actors of a cluster, see `vqa_engine.crew.place.Places`.

    The target is `auto` (the cluster that RAY_ADDRESS or this machine's Ray names), `local`
    (one of its own on this machine, from `open` to `close`) or `HOST:PORT`. `gpus` and `cpus`
    are what each actor takes, `count` is how many there are, `wait` the seconds that one
    waits for a free node.
    """

    def __init__(self, address: Address) -> None:
        self._address = address
        self._wait = address.number("wait", _WAIT)
        self._count = address.count(1) if "count" in address.options else None
        self._resources = {
            name: address.number(name, 0) for name in address.options if name not in OURS
        }
        if not address.target:
            raise ConfigurationError(
                f"--place {address} names no cluster: write ray://auto, ray://local or "
                "ray://HOST:PORT."
            )
        self._ray: Any = None
        self._started = False

    def open(self) -> Sequence[RaySite]:
        self._ray = ray = _ray()
        self._started = not ray.is_initialized()
        if self._started:
            self._connect()
        actor = self._actor()
        count = self._count or self._fitting(actor)
        return [RaySite(f"ray-{number}", ray, actor, self._wait) for number in range(1, count + 1)]

    def close(self) -> None:
        if self._started:
            self._started = False
            self._ray.shutdown()

    def _connect(self) -> None:
        target = self._address.target
        options: dict[str, Any] = {"include_dashboard": False} if target == "local" else {}
        terminated = signal.getsignal(signal.SIGTERM)
        try:
            _knock(target)
            self._ray.init(
                address=target,
                log_to_driver=False,
                logging_level="ERROR",
                **options,
            )
        except (OSError, RuntimeError, ValueError) as error:
            reason = str(error).strip().partition("\n")[0].rstrip(".")
            raise ConfigurationError(
                f"The Ray cluster of --place {self._address} cannot be reached: {reason}. "
                "Start one with `ray start`, or write ray://local for one on this machine."
            ) from error
        finally:
            _restore(terminated)

    def _actor(self) -> Mapping[str, Any]:
        """What each actor needs and may do."""
        gpus = self._address.number("gpus", 1 if self._ray.cluster_resources().get("GPU") else 0)
        return {
            "num_gpus": gpus,
            "num_cpus": self._address.number("cpus", 0),
            "resources": self._resources,
            "max_restarts": 0,
            "max_task_retries": 0,
            "scheduling_strategy": "DEFAULT" if gpus or self._resources else "SPREAD",
        }

    def _fitting(self, actor: Mapping[str, Any]) -> int:
        """As many as there are GPUs for, or else one for each node."""
        if actor["num_gpus"]:
            return max(1, int(self._ray.cluster_resources().get("GPU", 0) / actor["num_gpus"]))
        return sum(bool(node["Alive"]) for node in self._ray.nodes())


class RaySite:
    """One actor at a time, wherever Ray finds what it needs."""

    def __init__(self, name: str, ray: Any, actor: Mapping[str, Any], wait: float) -> None:
        self._name, self._ray, self._actor, self._wait = name, ray, actor, wait
        self._session: RaySession | None = None

    @property
    def name(self) -> str:
        return self._name

    def session(self, terms: Terms) -> Session:
        self._session = RaySession(self._ray, self._name, self._actor, self._wait, terms)
        return self._session

    def presence(self) -> Presence:
        assert self._session is not None
        return self._session.presence


def _ray() -> Any:
    os.environ.update({name: value for name, value in QUIET.items() if name not in os.environ})
    try:
        import ray
    except ImportError as error:
        raise ConfigurationError(
            "Places in a cluster need Ray: pip install 'vqa-engine[ray]'."
        ) from error
    return ray


def _knock(target: str) -> None:
    """See that somebody is at HOST:PORT: Ray itself tries for minutes.

    Raises:
        OSError: nobody is.
    """
    host, _, port = target.rpartition(":")
    if host and port.isdigit():
        socket.create_connection((host, int(port)), timeout=_KNOCK).close()


def _restore(handler: Any) -> None:
    """Ray puts its own handler of SIGTERM in the place of ours."""
    try:
        signal.signal(signal.SIGTERM, handler)
    except ValueError:  # another thread than the main one, where Ray sets none either
        return
