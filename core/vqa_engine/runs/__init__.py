"""A run on disk: journal, manifest, scores, exports."""
