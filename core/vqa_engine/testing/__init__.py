"""The conformance kit: subclass `AdapterConformance`, name your adapter, run pytest.

    from vqa_engine.testing import AdapterConformance
    from my_package import MyAdapter

    class TestMyAdapter(AdapterConformance):
        adapter = MyAdapter

What the adapter cannot do, or does on purpose, is declared in one place, `capabilities`.
`vqa-engine check NAME` runs the same tests on an installed adapter, without a test file.
Only this package imports pytest: `pip install 'vqa-engine[testing]'`.
"""

import pytest

# Before the modules below are imported, or a failing assert would show no values.
for _module in ("answers", "batches", "conformance", "contract", "images", "memory"):
    pytest.register_assert_rewrite(f"vqa_engine.testing.{_module}")

from vqa_engine.testing.capabilities import Capabilities  # noqa: E402
from vqa_engine.testing.conformance import AdapterConformance  # noqa: E402

__all__ = ["AdapterConformance", "Capabilities"]
