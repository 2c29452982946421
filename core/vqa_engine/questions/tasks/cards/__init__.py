"""The engine's own task cards, one TOML file each (docs/write-a-task.md)."""
