"""Feeding sessions: one, in the caller's thread, or several side by side in many places."""
