"""Adapters for models behind an OpenAI-compatible server."""
