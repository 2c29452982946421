"""The kit on every adapter here; pytest runs this file when `test_kit.py` tells it to."""

from __future__ import annotations

from typing import Any

from tests.conformance.bad import Batches, Scores
from tests.conformance.faults import FAULTS
from tests.conformance.good import Good
from tests.conformance.heavy import Heavy
from vqa_engine.testing import AdapterConformance, Capabilities

WITHOUT_A_PROCESS = Capabilities(
    questions=12,
    waived={"test_import_is_light": "a process each; all but Heavy share Good's modules"},
)


def _suite(adapter: type) -> type[AdapterConformance]:
    members: dict[str, Any] = {"adapter": adapter}
    if adapter not in (Good, Heavy):
        members["capabilities"] = WITHOUT_A_PROCESS
    return type(f"Test{adapter.__name__}", (AdapterConformance,), members)


for _adapter in (Good, Batches, Scores, *FAULTS):
    globals()[f"Test{_adapter.__name__}"] = _suite(_adapter)


class TestOverridden(AdapterConformance):
    """A standard test was replaced, and nobody says why."""

    adapter = Good
    capabilities = WITHOUT_A_PROCESS

    def test_determinism(self) -> None:
        """Not what the kit asks for."""


class TestDeleted(AdapterConformance):
    """A standard test was taken away."""

    adapter = Good
    capabilities = WITHOUT_A_PROCESS
    test_order_independence = None  # type: ignore[assignment]


class TestWaived(AdapterConformance):
    """Both again, with reasons, and one that does not exist."""

    adapter = Good
    capabilities = Capabilities(
        waived={
            "test_determinism": "it samples on purpose",
            "test_order_independence": "it is a chat",
        }
    )
    test_order_independence = None  # type: ignore[assignment]


class TestMisspelt(AdapterConformance):
    """Waives what there is not."""

    adapter = Good
    capabilities = Capabilities(waived={"test_determinsm": "a slip"})
