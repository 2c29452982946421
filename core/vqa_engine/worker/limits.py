"""How long a worker may take, and how often it may die."""

from __future__ import annotations

from attrs import field, frozen, validators


@frozen(kw_only=True)
class Timeouts:
    """Seconds. `load` covers one load of a model, `answer` one question, and `stop` is
    how long each polite way of ending a worker gets before SIGKILL."""

    load: float = field(default=600.0, validator=validators.gt(0))
    answer: float = field(default=120.0, validator=validators.gt(0))
    stop: float = field(default=5.0, validator=validators.gt(0))


@frozen(kw_only=True)
class Limits:
    """When to give up.

    A question gets `workers` tries. The run stops after `deaths` workers in a row that
    answered nothing, or `loads` in a row that died while loading.
    """

    workers: int = field(default=3, validator=validators.ge(1))
    deaths: int = field(default=15, validator=validators.ge(1))
    loads: int = field(default=3, validator=validators.ge(1))
