"""The conformance kit: subclass `AdapterConformance`, name your adapter, run pytest.

    from vqa_engine.testing import AdapterConformance
    from my_package import MyAdapter

    class TestMyAdapter(AdapterConformance):
        adapter = MyAdapter

What the adapter cannot do, or does on purpose, is declared in one place, `capabilities`.
`MetricConformance` and `FormatConformance` do the same for metrics and question-set formats.
`vqa-engine check NAME` runs the same tests on an installed adapter, without a test file.
Only this package imports pytest: `pip install 'vqa-engine[testing]'`.
"""

import pytest

_KIT = ("answers", "batches", "conformance", "contract", "formats", "images", "memory", "metrics")

# Before the modules below are imported, or a failing assert would show no values.
for _module in _KIT:
    pytest.register_assert_rewrite(f"vqa_engine.testing.{_module}")

from vqa_engine.testing.capabilities import Capabilities  # noqa: E402
from vqa_engine.testing.conformance import AdapterConformance  # noqa: E402
from vqa_engine.testing.formats import FormatConformance  # noqa: E402
from vqa_engine.testing.metrics import MetricConformance  # noqa: E402

__all__ = ["AdapterConformance", "Capabilities", "FormatConformance", "MetricConformance"]
