"""Trying plugins without being harmed by them: each is imported in a process of its own.

The host starts one child, which has the engine's own modules and nothing else; the child
forks once for each plugin, which takes two milliseconds where a fresh interpreter takes
hundreds. It has imported no plugin and started no thread, so a fork of it is safe.
"""

from vqa_engine.plugins.probe.finding import Binding, Finding, Wanted
from vqa_engine.plugins.probe.host import LONGEST, probe

__all__ = ["LONGEST", "Binding", "Finding", "Wanted", "probe"]
