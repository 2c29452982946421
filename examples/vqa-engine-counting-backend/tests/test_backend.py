"""Whether the backend counts what the library allocates."""

import pytest
from vqa_engine_counting_backend.backend import CountingBackend
from vqa_engine_counting_backend.buffers import CAPACITY, Buffer, DeviceFull

from vqa_engine.failures import cause_of


def test_what_is_freed_moves_to_the_pool_until_it_is_cleared() -> None:
    backend = CountingBackend()
    backend.calls["clear_cache"]()
    before = backend.read().active or 0
    buffer = Buffer(1000)
    assert (backend.read().active, backend.read().cache) == (before + 1000, 0)
    del buffer
    assert (backend.read().active, backend.read().cache) == (before, 1000)
    backend.calls["clear_cache"]()
    assert backend.read_held() == before


def test_its_error_is_recognised() -> None:
    with pytest.raises(DeviceFull) as caught:
        Buffer(CAPACITY + 1)
    assert cause_of(str(caught.value)) == "out_of_memory"
