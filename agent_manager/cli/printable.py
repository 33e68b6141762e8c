"""Words and paths on a terminal."""

from __future__ import annotations

from pathlib import Path


def printable(words: str) -> str:
    """`words` from elsewhere (agents, packages, events), without control characters: these could drive the terminal.

    Line breaks stay.
    """
    return "".join(
        letter if letter.isprintable() or letter == "\n" else "\N{REPLACEMENT CHARACTER}" for letter in words
    )


def shown(path: Path) -> str:
    """`path` as it is named from here: relative where it is below the working directory."""
    try:
        return str(path.relative_to(Path.cwd()))
    except ValueError:
        return str(path)
