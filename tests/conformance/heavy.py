"""A bad adapter whose module imports its model library at the top."""

from __future__ import annotations

import mlx.core as mx

from tests.conformance.good import Good


class Heavy(Good):
    """Costs whoever lists the plugins a model library."""

    dtype = mx.float32
