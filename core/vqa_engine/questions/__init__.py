"""Question sets: one module per format."""
