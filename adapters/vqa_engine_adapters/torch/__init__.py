"""Adapters that run on PyTorch through transformers: one driver, one small module per model."""
