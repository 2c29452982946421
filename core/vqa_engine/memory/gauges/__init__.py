"""Gauges: where every memory figure comes from, one small class for each source."""

from vqa_engine.memory.gauges.base import Figure, Gauge, called, counter_in
from vqa_engine.memory.gauges.cgroup import CgroupGauge, memory_groups
from vqa_engine.memory.gauges.process import process_gauge
from vqa_engine.memory.gauges.system import (
    AvailableGauge,
    PressureLevelGauge,
    PsiGauge,
    RlimitGauge,
    System,
    pressure_gauges,
)

__all__ = [
    "AvailableGauge",
    "CgroupGauge",
    "Figure",
    "Gauge",
    "PressureLevelGauge",
    "PsiGauge",
    "RlimitGauge",
    "System",
    "called",
    "counter_in",
    "memory_groups",
    "pressure_gauges",
    "process_gauge",
]
