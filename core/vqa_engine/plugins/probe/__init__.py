"""Trying plugins without being harmed by them: each is imported in a process of its own.

An interpreter is asked for all of its plugins. It forks once for each of them, which takes
two milliseconds where a fresh interpreter takes hundreds. It has imported no plugin and
started no thread, so a fork of it is safe.
"""

from vqa_engine.plugins.probe.report import (
    LONGEST,
    Binding,
    PluginReport,
    State,
    check,
    report,
)

__all__ = ["LONGEST", "Binding", "PluginReport", "State", "check", "report"]
