"""The tests of vqa-engine."""
