"""A memory backend in a package of its own, and an adapter whose memory it counts."""
