"""Plugins: entry points found, loaded and checked; what is known of each without loading it."""
