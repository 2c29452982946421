"""A download before a load: reported, and outside the load's time limit."""

from __future__ import annotations

import pytest

from vqa_engine import AdapterSpec, Engine, ModelRef
from vqa_engine.adapter import Transfer
from vqa_engine.errors import WorkerError
from vqa_engine.observer import Observer
from vqa_engine.worker import Timeouts

LOAD = 4.0
"""Seconds; a worker has to greet within them too."""


class Heard(Observer):
    """Keeps what is reported of downloads."""

    def __init__(self) -> None:
        self.transfers: list[tuple[str, Transfer]] = []

    def fetching(self, label: str, transfer: Transfer) -> None:
        self.transfers.append((label, transfer))


def asked(seconds: float, isolation: str = "process") -> list[int]:
    """How many of ten bytes were there at each report of a download of so many seconds."""
    heard = Heard()
    spec = AdapterSpec(
        name="slow",
        target="tests.worker.adapters:Fetches",
        model=ModelRef(options={"seconds": seconds}),
    )
    timeouts = Timeouts(load=LOAD, answer=20, stop=2)
    with Engine(spec, timeouts=timeouts, isolation=isolation, observer=heard) as engine:  # type: ignore[arg-type]
        engine.ask(b"abc", "What?")
    assert {label for label, _ in heard.transfers} == {"slow"}
    return [transfer.done for _, transfer in heard.transfers]


@pytest.mark.slow
@pytest.mark.parametrize("isolation", ["process", "inline"])
def test_progress_is_reported(isolation: str) -> None:
    assert asked(0.1, isolation) == list(range(11))


@pytest.mark.slow
def test_a_download_may_take_longer_than_a_load() -> None:
    assert asked(1.25 * LOAD) == list(range(11))


@pytest.mark.slow
def test_a_download_that_does_not_go_on_is_hung() -> None:
    with pytest.raises(WorkerError, match="did not answer within 4 s"):
        asked(100 * LOAD)
