"""The kit on the adapter that `vqa-engine check` names; collected by its child process."""

from __future__ import annotations

import os

import msgspec

from vqa_engine.testing.conformance import AdapterConformance
from vqa_engine.testing.subject import VARIABLE, Subject

_SUBJECT = msgspec.json.decode(os.environ[VARIABLE], type=Subject)


class TestInstalled(AdapterConformance):
    """Nothing of its own."""

    adapter = _SUBJECT.adapter
    capabilities = _SUBJECT.capabilities
