"""The kit on the adapter that `vqa-engine check` names; collected by pytest."""

from __future__ import annotations

import os

import msgspec

from vqa_engine.testing.capabilities import Capabilities
from vqa_engine.testing.check import ADAPTER, CAPABILITIES
from vqa_engine.testing.conformance import AdapterConformance


class TestInstalled(AdapterConformance):
    """Nothing of its own."""

    adapter = os.environ[ADAPTER]
    capabilities = msgspec.json.decode(os.environ[CAPABILITIES], type=Capabilities)
