"""Puts a server together from what it was asked to serve, and runs it."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from attrs import evolve, field, frozen

from vqa_engine.adapter import GenerationPlan
from vqa_engine.errors import BackendError, ConfigurationError
from vqa_engine.memory.policy import MemoryPolicy
from vqa_engine.plugins.entry_points import ADAPTERS, OURS, find
from vqa_engine.plugins.resolution import resolve
from vqa_engine.plugins.spec import AdapterSpec
from vqa_engine.results import Note
from vqa_engine.runs.directory import RunDirectory
from vqa_engine.runs.manifest import Manifest
from vqa_engine.serving.record import Record, fingerprints, served_manifest
from vqa_engine.serving.sharing import whole
from vqa_engine.session.protocol import Session
from vqa_engine.worker import Timeouts, WorkerSession
from vqa_engine.worker.apart import needs_of
from vqa_engine.worker.looking import Need

if TYPE_CHECKING:
    from starlette.applications import Starlette

_KEY_VARIABLE = "VQA_ENGINE_API_KEY"

_KEEP_ALIVE = 75
"""Seconds that an idle connection stays open: longer than clients keep theirs, so that none
sends a request into a closing one."""

GRACE = 10
"""Seconds in which requests under way may still be answered once the server is told to end;
the question that a model is answering then is waited for, all others are dropped."""

log = logging.getLogger(__name__)


@frozen(kw_only=True)
class Settings:
    """How to serve.

    `names` are further host names that clients use. `key_variable` names the environment
    variable with the API key. `most_waiting` is the length of the line, `most_tokens` the most
    tokens of an answer. `instruction` leaves each adapter its own short-answer instruction.
    `journal` is the run directory that keeps every answer, None for none.
    """

    host: str = "127.0.0.1"
    port: int = 8931
    names: Sequence[str] = ()
    key_variable: str = _KEY_VARIABLE
    most_waiting: int = 512
    most_tokens: int = 512
    instruction: bool = False
    journal: Path | None = None
    policy: MemoryPolicy = field(factory=MemoryPolicy)
    timeouts: Timeouts = field(factory=Timeouts)


@frozen
class Running:
    """A server that listens at `url`; `stop` ends it from any thread."""

    url: str
    stop: Callable[[], None]


def serve(
    adapters: Sequence[AdapterSpec],
    settings: Settings,
    ready: Callable[[Running], None] = lambda _running: None,
) -> None:
    """Serve these adapters until a signal or `Running.stop`; `ready` is called once it listens.

    Raises:
        BackendError: starlette or uvicorn is not installed.
        ConfigurationError: the address needs a key or is taken, or two adapters share a label.
        AdapterError: an adapter is not installed, or does not fit.
        RunError: the journal's directory cannot be used.
    """
    _require()
    import uvicorn

    specs = [one.spec for one in resolve([_served(spec, settings) for spec in adapters])]
    with ExitStack() as ending:
        listening = ending.enter_context(_listening(settings))
        app = _application(specs, settings, ending)
        configuration = uvicorn.Config(
            app,
            access_log=False,
            lifespan="on",
            log_config=None,
            server_header=False,
            timeout_graceful_shutdown=GRACE,
            timeout_keep_alive=_KEEP_ALIVE,
            ws="none",
        )
        server = uvicorn.Server(configuration)
        stop = partial(setattr, server, "should_exit", True)
        ready(Running(_address(settings.host, listening), stop))
        server.run(sockets=[listening])


def _application(specs: Sequence[AdapterSpec], settings: Settings, ending: ExitStack) -> Starlette:
    from vqa_engine.serving.app import Endpoints, application
    from vqa_engine.serving.dispatcher import Dispatcher
    from vqa_engine.serving.guard import Guard
    from vqa_engine.serving.model import Model

    key = os.environ.get(settings.key_variable) or None
    guard = Guard(settings.host, settings.names, key, settings.key_variable)
    plan = GenerationPlan(max_tokens=settings.most_tokens)
    known = served_manifest(specs, plan)
    directory = _directory(settings, known, ending)
    logs = directory.logs if directory else None
    needs = _needs(specs, plan)
    models = [
        Model(spec.label, need.bytes, _starter(spec, settings, logs), need.images)
        for spec, need in zip(specs, needs, strict=True)
    ]
    limits = (need.limit for need in needs)
    budget = settings.policy.budget if len(specs) == 1 else whole(settings.policy, limits)
    dispatcher = Dispatcher(
        models,
        budget=budget,
        most_waiting=settings.most_waiting,
        plan=plan,
        record=Record(directory) if directory else None,
    )
    return application(
        Endpoints(
            dispatcher=dispatcher,
            guard=guard,
            fingerprints=fingerprints(known),
            most_tokens=settings.most_tokens,
        )
    )


def _directory(settings: Settings, known: Manifest, ending: ExitStack) -> RunDirectory | None:
    if settings.journal is None:
        return None
    return ending.enter_context(RunDirectory(settings.journal, known))


def _starter(
    spec: AdapterSpec, settings: Settings, logs: Path | None
) -> Callable[[int | None], Session]:
    """Makes the session of an adapter, which may hold so many bytes."""

    def heard(note: Note) -> None:
        logging.getLogger(note.logger).log(note.level, "%s: %s", spec.label, note.text)

    def start(budget: int | None) -> Session:
        policy = evolve(settings.policy, budget=budget)
        return WorkerSession(
            spec, log_directory=logs, policy=policy, timeouts=settings.timeouts, on_note=heard
        )

    return start


def _needs(specs: Sequence[AdapterSpec], plan: GenerationPlan) -> list[Need]:
    """What each adapter says of its model, asked side by side."""
    with ThreadPoolExecutor(len(specs)) as threads:
        return list(threads.map(lambda spec: needs_of(spec, plan), specs))


def _served(spec: AdapterSpec, settings: Settings) -> AdapterSpec:
    """The spec without the adapter's short-answer instruction: clients bring their own."""
    options = spec.model.options
    if settings.instruction or "instruction" in options or not _is_ours(spec):
        return spec
    return evolve(spec, model=evolve(spec.model, options={**options, "instruction": ""}))


def _is_ours(spec: AdapterSpec) -> bool:
    if spec.target is not None:
        return False
    names = {one.name for one in find(ADAPTERS) if one.distribution == OURS}
    return spec.name.replace("-", "_") in names


def _listening(settings: Settings) -> socket.socket:
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    try:
        return socket.create_server((settings.host, settings.port), family=family, backlog=2048)
    except OSError as error:
        raise ConfigurationError(
            f"The server cannot listen on {settings.host} port {settings.port}: {error.strerror}. "
            "Give another --port or --host."
        ) from error


def _address(host: str, listening: socket.socket) -> str:
    shown = f"[{host}]" if ":" in host else host
    return f"http://{shown}:{listening.getsockname()[1]}/v1"


def _require() -> None:
    try:
        import starlette
        import uvicorn  # noqa: F401  only to see that both are there
    except ImportError as error:
        raise BackendError(
            f"import {error.name}", str(error), "Install it: pip install 'vqa-engine[serve]'"
        ) from error
    del starlette
