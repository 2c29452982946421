"""The real thing: MLX runs out of memory in native code, and only a question notices."""

from __future__ import annotations

import sys
from importlib.util import find_spec

import pytest

from tests.asking import reply_to
from tests.worker import PLAN, Opener, answered, ask

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(find_spec("mlx") is None, reason="needs MLX"),
    pytest.mark.skipif(sys.platform != "linux", reason="RLIMIT_AS bounds nothing on macOS"),
]

MIB = 1 << 20
QUESTIONS = 60


def test_a_leak_until_death_loses_no_question(open_session: Opener) -> None:
    """160 MiB of room and 8 MiB a question: a worker dies after about fifteen of them."""
    session = open_session("Leaks", options={"room": 160 * MIB})
    session.load()
    replies = [reply_to(session, ask(f"{n}", n), PLAN) for n in range(QUESTIONS)]
    assert [answered(reply).text for reply in replies] == [f"{n}" for n in range(QUESTIONS)]
    deaths = [attempt for reply in replies for attempt in reply.attempts]
    assert len(deaths) >= 3
    assert {death.cause for death in deaths} == {"out_of_memory"}
    assert any("SIGSEGV" in death.message for death in deaths)
    assert session.release().residue == 0
