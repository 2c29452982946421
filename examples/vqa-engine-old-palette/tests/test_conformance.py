"""Whether the adapter does what the engine relies on."""

from vqa_engine_old_palette import OldPalette

from vqa_engine.testing import AdapterConformance, Capabilities


class TestOldPalette(AdapterConformance):
    adapter = OldPalette
    capabilities = Capabilities(question="What colour is it?")
