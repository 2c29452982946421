"""Whether the adapter does what the engine relies on."""

from vqa_engine_colour_average import ColourAverage

from vqa_engine.testing import AdapterConformance, Capabilities


class TestColourAverage(AdapterConformance):
    adapter = ColourAverage
    capabilities = Capabilities(question="What colour is it?")
