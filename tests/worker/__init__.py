"""Tests of the process boundary: real processes, real signals."""
