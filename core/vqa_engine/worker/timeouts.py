"""How long a worker may take."""

from __future__ import annotations

from attrs import field, frozen

from vqa_engine.adapter.numbers import finite


@frozen(kw_only=True)
class Timeouts:
    """Seconds. `load` covers one load of a model, `answer` each question that is being
    answered, and `stop` is how long each polite way of ending a worker gets before SIGKILL."""

    load: float = field(default=600.0, validator=finite(0, above=True))
    answer: float = field(default=120.0, validator=finite(0, above=True))
    stop: float = field(default=5.0, validator=finite(0, above=True))
