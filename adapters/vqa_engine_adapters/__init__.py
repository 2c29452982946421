"""First-party adapters. They enter through the same entry points as everybody's."""
