"""Gauges: where every memory figure comes from, one small class for each source."""

from vqa_engine.memory.gauges.base import Figure, Gauge
from vqa_engine.memory.gauges.cgroup import CgroupGauge
from vqa_engine.memory.gauges.mlx import MlxGauge
from vqa_engine.memory.gauges.process import process_gauge
from vqa_engine.memory.gauges.system import (
    AvailableGauge,
    PressureLevelGauge,
    PsiGauge,
    RlimitGauge,
    System,
    pressure_gauges,
)
from vqa_engine.memory.gauges.torch import torch_gauge

__all__ = [
    "AvailableGauge",
    "CgroupGauge",
    "Figure",
    "Gauge",
    "MlxGauge",
    "PressureLevelGauge",
    "PsiGauge",
    "RlimitGauge",
    "System",
    "pressure_gauges",
    "process_gauge",
    "torch_gauge",
]
