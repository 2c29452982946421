"""Whether the adapter does what the engine relies on; its bytes are counted by the backend."""

from vqa_engine_counting_backend.adapter import Buffered

from vqa_engine.testing import AdapterConformance, Capabilities


class TestBuffered(AdapterConformance):
    adapter = Buffered
    capabilities = Capabilities(question="How bright is it?")
