"""Loading without the chatter of the libraries below."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

log = logging.getLogger(__name__)


@contextmanager
def quiet() -> Iterator[None]:
    """Turn progress bars and warnings into debug messages while the block runs.

    Nothing below an error is logged meanwhile, on any thread: some libraries set their
    loggers up while they are imported, and then warn of what no user of ours can change
    (torchao 0.18 of each of its kernels that is for another GPU).
    """
    from transformers.utils import logging as chatter

    level, bars, below = chatter.get_verbosity(), chatter.is_progress_bar_enabled(), _disabled()
    chatter.set_verbosity_error()
    chatter.disable_progress_bar()
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            yield
    finally:
        logging.disable(below)
        chatter.set_verbosity(level)
        if bars:
            chatter.enable_progress_bar()
    for warning in caught:
        log.debug("while loading: %s", warning.message)


def _disabled() -> int:
    """The level up to which nothing is logged now."""
    return logging.root.manager.disable
