"""Brings requests to models: each round what waits, and models in and out as memory allows.

Everything is decided in the event loop's thread, so there are no locks but for taking turns.
A model has one task, which asks it again and again: what arrives while it is busy gathers, and
goes to it together in the next round.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import math
import uuid
from collections.abc import Sequence

from vqa_engine.adapter import GenerationPlan, Question
from vqa_engine.errors import OutOfMemory, RequestError, VqaEngineError
from vqa_engine.memory.fit import needed
from vqa_engine.results import Loaded, Released, Row
from vqa_engine.serving.model import Model
from vqa_engine.serving.record import Record
from vqa_engine.serving.requests import ChatRequest
from vqa_engine.serving.sharing import Holding, share, victims
from vqa_engine.serving.waiting import Ticket, shared_images
from vqa_engine.session.protocol import Settled

_LONGEST_RETRY = 60
"""Seconds; openai-python waits no longer for a Retry-After (`_base_client.py`)."""

log = logging.getLogger(__name__)


class Dispatcher:
    """The models of one server under one budget (bytes, None for no known limit).

    At most `most_waiting` requests wait, whatever model they are for. `plan` is the costliest
    one that a request may ask for.
    """

    def __init__(
        self,
        models: Sequence[Model],
        *,
        budget: int | None,
        most_waiting: int,
        plan: GenerationPlan,
        record: Record | None = None,
    ) -> None:
        self.models = {model.label: model for model in models}
        self.budget, self.record = budget, record
        self._most_waiting, self._plan = most_waiting, plan
        self._placing = asyncio.Lock()
        self._tasks: list[asyncio.Task[None]] = []
        self._pace = 0.0

    @property
    def waiting(self) -> int:
        """Requests that are not through, those with a model included."""
        return sum(len(model.waiting) for model in self.models.values())

    def start(self) -> None:
        """Begin to answer."""
        self._tasks = [asyncio.create_task(self._serve(one)) for one in self.models.values()]

    async def close(self) -> None:
        """Answer what is in flight, and let all models go."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for model in self.models.values():
            self._refuse(model.waiting, RequestError("The server is shutting down.", status=503))
            self._note(model, await model.close())

    def submit(self, asked: ChatRequest) -> Ticket:
        """Put a question into its model's line.

        Raises:
            RequestError: there is no such model, it handles fewer pictures, or too many wait.
        """
        model = self.named(asked.model)
        if len(asked.images) > model.images:
            pictures = "1 picture" if model.images == 1 else f"{model.images} pictures"
            raise RequestError(
                f"A question to {model.label!r} may have at most {pictures}, and this one has "
                f"{len(asked.images)}.",
                param="messages",
            )
        if self.waiting >= self._most_waiting:
            raise RequestError(
                f"{self.waiting} requests wait already; try again later.",
                status=429,
                code="queue_full",
                retry_after=self._seconds_to_wait(),
            )
        image_id = _image_id(asked.images)
        first, *others = shared_images(model.waiting, image_id) or asked.images
        question = Question(
            question_id=f"chatcmpl-{uuid.uuid4().hex}",
            image=first,
            images=tuple(others),
            text=asked.text,
            image_id=image_id,
        )
        ticket = Ticket(question, asked.plan, asyncio.get_running_loop().create_future())
        model.add(ticket)
        return ticket

    def named(self, label: str) -> Model:
        """The model of this name.

        Raises:
            RequestError: there is none.
        """
        model = self.models.get(label)
        if model is None:
            known = ", ".join(self.models)
            raise RequestError(
                f"There is no model {label!r} here; there is: {known}.",
                status=404,
                param="model",
                code="model_not_found",
            )
        return model

    async def unload(self, model: Model) -> bool:
        """Let an idle model go; whether there was one.

        Raises:
            RequestError: it is answering.
        """
        if model.busy:
            raise RequestError(
                f"{model.label!r} has requests in flight; try again later.",
                status=409,
                code="model_busy",
                retry_after=1,
            )
        async with model.using:
            released = await model.release()
        self._note(model, released)
        return released is not None

    async def _serve(self, model: Model) -> None:
        """One model's task, which ends with the server."""
        while True:
            await model.asked.wait()
            try:
                await self._hold(model)
                async with model.using:
                    if model.resident and (tickets := model.next()):
                        await self._round(model, tickets)
            except Exception as error:  # noqa: BLE001  whatever it is, the server goes on
                self._lost(model, error, model.waiting)
            await asyncio.sleep(0)  # whoever was answered may ask again before the next round

    async def _hold(self, model: Model) -> None:
        """See that the model is resident; models that wait for room come in turn."""
        if model.resident:
            return
        async with self._placing:
            if not model.next():
                return
            for other in self._victims(model):
                await self._let_go(other)
            try:
                await self._load(model)
            except OutOfMemory:
                others = [one for one in self.models.values() if one.resident]
                if not others:
                    raise
                for other in others:
                    await self._let_go(other)
                await self._load(model)

    def _victims(self, model: Model) -> list[Model]:
        residents = [
            Holding(one.label, one.need, one.used) for one in self.models.values() if one.resident
        ]
        return [self.models[name] for name in victims(model.need, residents, self.budget)]

    async def _load(self, model: Model) -> None:
        needs = {one.label: one.need for one in self.models.values()}
        loaded = await model.load(share(model.label, needs, self.budget))
        need = needed(loaded.profile, self._plan)
        model.need = model.need if need is None else need
        self._note(model, loaded)

    async def _let_go(self, model: Model) -> None:
        self._note(model, await model.vacate())

    def _note(self, model: Model, told: Loaded | Released | None) -> None:
        """Keep the memory events of a load or a release."""
        if told is None or self.record is None:
            return
        self.record.add_events(model.label, told.events)
        if isinstance(told, Loaded):
            self.record.add_loaded(model.label, told)

    async def _round(self, model: Model, tickets: Sequence[Ticket]) -> None:
        """Ask the model once, and pass on what it says."""
        try:
            through, seconds = await model.ask(tickets)
        except VqaEngineError as error:
            # Its workers keep dying of these, or none loads: a fresh session for the others.
            self._lost(model, error, tickets)
            self._note(model, await model.release())
            return
        each = seconds / len(through)
        self._pace += (each - self._pace) / 10
        rows = [
            (_row(model, ticket, settled, each), settled[1].events) for ticket, settled in through
        ]
        if self.record is not None:
            self.record.add(rows)
        for (ticket, _), (row, _) in zip(through, rows, strict=True):
            if not ticket.row.done():
                ticket.row.set_result(row)

    def _lost(self, model: Model, error: Exception, tickets: Sequence[Ticket]) -> None:
        """Refuse what cannot be answered; the next request has the model loaded again."""
        model.last_error = str(error)
        log.error("%s: %s", model.label, error, exc_info=not isinstance(error, VqaEngineError))
        self._refuse(
            tickets, RequestError(f"{model.label!r} is not available: {error}", status=503)
        )
        model.forget(tickets)

    def _refuse(self, tickets: Sequence[Ticket], error: RequestError) -> None:
        for ticket in tickets:
            if not ticket.row.done():
                ticket.row.set_exception(error)

    def _seconds_to_wait(self) -> int:
        """When about half of the line is through, at the pace of late."""
        return max(1, min(_LONGEST_RETRY, math.ceil(self.waiting * self._pace / 2)))


def _image_id(images: Sequence[bytes]) -> str:
    """SHA-256 (hex) of a picture's file, or over those of several."""
    digests = [hashlib.sha256(image) for image in images]
    whole = hashlib.sha256(b"".join(one.digest() for one in digests))
    return (digests[0] if len(digests) == 1 else whole).hexdigest()


def _row(model: Model, ticket: Ticket, settled: Settled, seconds: float) -> Row:
    question, reply = settled
    return Row.of(model.label, question, reply, model.planned(ticket.plan), seconds)
