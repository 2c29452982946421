"""One loaded model: load, ask, release."""
