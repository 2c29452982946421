"""The HTTP adapter against scripted servers on loopback, and against mlx-vlm's own."""
