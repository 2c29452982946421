"""Settings of every test."""

from __future__ import annotations

from hypothesis import settings

# A loaded machine is slow, and that is no fault: timings belong in benchmarks.
settings.register_profile("vqa-engine", deadline=None)
settings.load_profile("vqa-engine")
