"""Words from elsewhere (agents, packages, events) on a terminal."""

from __future__ import annotations


def printable(words: str) -> str:
    """`words` without control characters, which could drive a terminal; line breaks stay."""
    return "".join(
        letter if letter.isprintable() or letter == "\n" else "\N{REPLACEMENT CHARACTER}" for letter in words
    )
