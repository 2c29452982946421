"""A session whose model is in an actor of a Ray cluster."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from time import monotonic
from typing import Any

import msgspec
from attrs import evolve, frozen

from vqa_engine.adapter import GenerationPlan, ImageSource, Question
from vqa_engine.crew.place import Presence, Terms
from vqa_engine.crew.seat import Brought, Seat, arrived, brought
from vqa_engine.errors import ConfigurationError, ImageError, PlaceLost, VqaEngineError, WorkerError
from vqa_engine.images import encoded
from vqa_engine.interpreter import version
from vqa_engine.results import Failure, Loaded, Note, Released, Reply
from vqa_engine.session.notes import wanted
from vqa_engine.session.protocol import Settled
from vqa_engine.worker.messages import Load, Refused, encode_to_child
from vqa_engine.worker.outbox import Outbox
from vqa_engine.worker.place import NOT_PLAIN
from vqa_engine.worker.process import Cancelled
from vqa_engine.worker.replies import Nonsense, loaded, message, read, reply_in
from vqa_engine.worker.reraise import raised_again

TICK = 0.5
"""Seconds between two looks at whether the caller still waits."""


@frozen
class _Call:
    """Questions on their way, and the reference to what comes of them."""

    reference: Any
    questions: Sequence[Question]


class RaySession:
    """See `vqa_engine.session.protocol.Session`.

    What is offered is sent at once, each question once; replies are waited for in the order
    of sending, so that the actor has the next questions when it is through with the last.
    """

    def __init__(
        self, ray: Any, site: str, actor: Mapping[str, Any], wait: float, terms: Terms
    ) -> None:
        self._ray, self._site, self._options = ray, site, actor
        self._wait_for_node, self._terms = wait, terms
        self._actor: Any = None
        self._outbox = Outbox()
        self._pictures = Pictures(self._sees)
        self._calls: deque[_Call] = deque()
        self._sent: dict[int, Question] = {}
        self._window = 1
        self._loaded = False
        self._error: VqaEngineError | None = None
        self.presence = Presence(name=site)

    def load(self) -> Loaded:
        times, python = self._terms.timeouts, str(self._terms.spec.python or "")
        actor = self._ray.remote(Seat).options(**self._options)
        self._actor = actor.remote(self._order(), python, (times.load, times.answer, times.stop))
        late = f"no node was free for it within {self._wait_for_node:g} s"
        self._get(self._actor.here.remote(), self._wait_for_node, late)
        with self._making_sense():
            return self._arrived(self._get(self._actor.load.remote()))

    def _arrived(self, data: bytes) -> Loaded:
        said = read(arrived, data)
        self._report(said.notes)
        if said.version != version():
            raise ConfigurationError(
                f"The place {self._site} has vqa-engine {said.version or 'of no known version'}, "
                f"and this one is {version()}. Install the same version there."
            )
        if said.refused:
            raise self._raised(said.refused)
        ready = loaded(message(said.ready))
        if isinstance(ready, Refused) or said.presence is None:
            raise Nonsense("a load without what was loaded")
        self.presence = evolve(said.presence, name=f"{said.presence.name}/{self._site}")
        self._window, self._loaded = ready.window, True
        return ready

    def ask(self, upcoming: Sequence[Question], plan: GenerationPlan) -> list[Settled]:
        if self._error is not None:
            raise self._error
        failed = self._send([one for one in upcoming if id(one) not in self._sent], plan)
        if failed:
            return failed
        call = self._calls[0]
        with self._making_sense():
            said = _brought(self._get(call.reference), len(call.questions))
        self._calls.popleft()
        for question in call.questions:
            del self._sent[id(question)]
        self._report(said.notes)
        if said.refused:
            with self._making_sense():
                self._error = self._raised(said.refused)
        if self._error is not None and not said.replies:
            raise self._error
        return [(call.questions[place], reply_in(reply)) for place, reply in said.replies]

    def release(self) -> Released:
        actor, self._actor = self._actor, None
        if actor is None:
            return Released(residue=None, seconds=0.0)
        patience = 3 * self._terms.timeouts.stop
        try:
            gone = self._terms.cancelled.is_set() or self._error is not None or self._calls
            if gone or not self._loaded:
                return Released(residue=None, seconds=0.0)
            said = self._get(actor.release.remote(), patience, "it did not release its model")
            return msgspec.msgpack.decode(said, type=Released)
        except (PlaceLost, WorkerError, msgspec.MsgspecError, TypeError):
            return Released(residue=None, seconds=0.0)  # its memory went with it
        finally:
            self._ray.kill(actor)

    def _order(self) -> bytes:
        spec = self._terms.spec
        load = Load(
            spec.name, spec.label, spec.model, self._terms.policy, spec.target, log_level=wanted()
        )
        try:
            return encode_to_child(load)
        except NOT_PLAIN as error:
            raise ConfigurationError(
                f"The options of {spec.label!r} cannot be sent to a place: {error}"
            ) from error

    def _send(self, new: list[Question], plan: GenerationPlan) -> list[Settled]:
        """Send what has not been sent; the first one's failure, if it cannot be."""
        while new:
            part = self._bundle(new)
            crossing = [self._pictures.crossing(question) for question in part]
            try:
                ask = self._outbox.compose(crossing, len(crossing), plan)
            except ImageError as error:
                failure = Failure(cause="image", message=str(error), reason=error.reason)
                return [(part[0], Reply(failure=failure))]
            except NOT_PLAIN as error:
                what = f"The question cannot be sent to its place: {error}"
                return [(part[0], Reply(failure=Failure(cause="adapter", message=what)))]
            # The questions are worded by now, and their place must not do it again.
            ask = msgspec.structs.replace(ask, plan=evolve(plan, prompt=None))
            sent = part[: len(ask.order)]
            self._calls.append(_Call(self._actor.ask.remote(encode_to_child(ask)), sent))
            self._sent.update({id(question): question for question in sent})
            new = new[len(sent) :]
        return []

    def _bundle(self, new: Sequence[Question]) -> Sequence[Question]:
        """The first whole groups that make up what the adapter takes at once."""
        for place in range(self._window, len(new)):
            if not _same_picture(new[place - 1], new[place]):
                return new[:place]
        return new

    def _sees(self, path: str, digest: str) -> bool:
        return bool(self._get(self._actor.sees.remote(path, digest)))

    def _get(self, reference: Any, longest: float | None = None, late: str = "") -> Any:
        """What a call returned.

        Raises:
            PlaceLost: its actor is gone, or it is `late`: nothing came within `longest` seconds.
            Cancelled: nobody waits for it any more.
        """
        until = None if longest is None else monotonic() + longest
        while not self._ray.wait([reference], timeout=TICK)[0]:
            if self._terms.cancelled.is_set():
                raise Cancelled
            if until is not None and monotonic() > until:
                raise PlaceLost(self._site, late)
        try:
            return self._ray.get(reference)
        except self._ray.exceptions.RayTaskError as error:
            label = self._terms.spec.label
            what = f"The place {self._site} of {label!r} failed: {error.cause!r}"
            raise WorkerError(what, label=label, cause="python", detail=str(error)) from error
        except self._ray.exceptions.RayError as error:
            raise PlaceLost(self._site, _reason(error)) from error

    def _report(self, notes: Sequence[Note]) -> None:
        for note in notes:
            self._terms.on_note(note)

    def _raised(self, refused: bytes) -> VqaEngineError:
        said = loaded(message(refused))
        if not isinstance(said, Refused):
            raise Nonsense("an error that is none")
        return raised_again(said, self._terms.spec.label)

    @contextmanager
    def _making_sense(self) -> Iterator[None]:
        """What its place says and nobody asked is this place's fault."""
        try:
            yield
        except Nonsense as error:
            label = self._terms.spec.label
            what = f"The place {self._site} of {label!r} made no sense: {error}."
            raise WorkerError(what, label=label, cause="adapter") from error


class Pictures:
    """How each picture gets to a place: as a path where the place sees the same bytes, else as
    its file's bytes, once for all questions that follow each other about it.

    One picture of each folder is compared.
    """

    def __init__(self, sees: Callable[[str, str], bool]) -> None:
        self._sees = sees
        self._shared: dict[Path, bool] = {}
        self._last: tuple[Path, bytes] | None = None

    def crossing(self, question: Question) -> Question:
        """The question as it is sent."""
        if not any(isinstance(image, Path) for image in question.all_images):
            return question
        places = range(len(question.all_images))
        image, *images = (self._crossing(question, place) for place in places)
        root = question.image_root and question.image_root.absolute()
        return evolve(question, image=image, images=tuple(images), image_root=root)

    def _crossing(self, question: Question, place: int) -> ImageSource:
        image, root = question.all_images[place], question.image_root
        if not isinstance(image, Path):
            return image
        path = (root / image if root else image).absolute()
        try:
            if self._is_shared(question, place, path):
                return path
            if self._last is None or self._last[0] != path:
                self._last = path, encoded(question, place)
        except ImageError:
            return path  # the place says what is wrong with it
        return self._last[1]

    def _is_shared(self, question: Question, place: int, path: Path) -> bool:
        folder = question.image_root or path.parent
        if folder not in self._shared:
            digest = hashlib.sha256(encoded(question, place)).hexdigest()
            self._shared[folder] = self._sees(str(path), digest)
        return self._shared[folder]


def _brought(data: bytes, count: int) -> Brought:
    """What came of an `Ask` of so many questions.

    Raises:
        Nonsense: it fits nothing that was asked.
    """
    said = read(brought, data)
    places = [place for place, _ in said.replies]
    if len({*places}) != len(places) or not {*places} <= {*range(count)}:
        raise Nonsense(f"replies to the questions {places} of {count}")
    if not places and not said.refused:
        raise Nonsense("no reply and no error")
    return said


def _same_picture(one: Question, other: Question) -> bool:
    return one.image is other.image or (
        isinstance(one.image, Path | bytes) and one.image == other.image
    )


def _reason(error: Exception) -> str:
    """The first sentences of Ray's text, without the list of ids that follows."""
    said = (line.strip() for line in str(error).splitlines())
    text = " ".join(line for line in said if line and ": " not in line[:14])
    return f"{type(error).__name__}: {text[:300]}"
