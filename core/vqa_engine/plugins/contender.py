"""The former names of `vqa_engine.plugins.resolution`."""

from vqa_engine.plugins.resolution import DEFAULT, Adapter
from vqa_engine.plugins.resolution import ResolvedAdapter as Contender
from vqa_engine.plugins.resolution import resolve as contenders

__all__ = ["DEFAULT", "Adapter", "Contender", "contenders"]
