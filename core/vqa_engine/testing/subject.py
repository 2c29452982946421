"""What `vqa-engine check` tells its child process, and what the child tells back."""

from __future__ import annotations

from typing import Literal

from attrs import field, frozen

from vqa_engine.testing.capabilities import Capabilities

VARIABLE = "VQA_ENGINE_CHECK"
"""The environment variable that carries a `Subject` as JSON."""

State = Literal["running", "passed", "failed", "skipped", "died", "hung"]


@frozen(kw_only=True)
class Subject:
    """Which installed adapter to test, what it declares, and what was tested already.

    `events` is the inherited descriptor that the child writes its outcomes to, one JSON
    object a line: its standard output belongs to the adapter's libraries.
    """

    adapter: str
    capabilities: Capabilities = field(factory=Capabilities)
    done: tuple[str, ...] = ()
    events: int = 1


@frozen(kw_only=True)
class Outcome:
    """One standard test: how it ended, after how many seconds, and what it said.

    A test that ended its process has `died`, one that passed the time limit has `hung`.
    `title` is the first line of the test's docstring: what it asks for.
    """

    test: str
    state: State
    title: str = ""
    seconds: float = 0.0
    text: str = ""

    @property
    def harmless(self) -> bool:
        """Whether nothing is wrong: it passed, or does not concern this adapter."""
        return self.state in ("passed", "skipped")
