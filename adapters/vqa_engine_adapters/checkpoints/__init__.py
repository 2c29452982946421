"""What every driver needs to know of a checkpoint before a model library is imported."""
