"""The sections of a report above its rows; each is complete without a script."""
