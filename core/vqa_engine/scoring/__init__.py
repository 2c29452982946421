"""Metric profiles: one module per metric."""
