"""Counts that agree with their nouns."""

from __future__ import annotations


def counted(number: int, noun: str) -> str:
    """`1 question`, `2 questions`; for nouns whose plural only adds an s."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
