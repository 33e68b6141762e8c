"""Which files of a package folder count: those that nobody has named as written while it runs, or left by tools."""

from __future__ import annotations

from functools import lru_cache

from pathspec import GitIgnoreSpec

IGNORED_BY_DEFAULT = (
    # First, so that what is taken back here is not taken back of what follows.
    *("core", "core.[0-9]*", "!core/", "!core.[0-9]*/"),
    *("__pycache__/", "*.py[co]", "*.egg-info/", ".mypy_cache/", ".pytest_cache/", ".ruff_cache/"),
    *(".git", ".hg/", ".svn/", ".idea/", ".vscode/", ".DS_Store"),
    *(".venv/", "venv/", "node_modules/"),
    *("*.log", "*.log.[0-9]*", "*.pid", "*.sock"),
    *("*.db", "*.db-*", "*.sqlite", "*.sqlite-*", "*.sqlite3", "*.sqlite3-*"),
    *("*~", "*.sw[op]", ".#*", "4913", "*.tmp", "*.part", ".nfs*"),
)
"""Patterns as in a `.gitignore`. `4913` is what Vim creates to find out whether it may write, `core` what the kernel
leaves of a process that crashed; no folder of that name is meant.
"""

_KNOWN = 100_000


class IgnoreRules:
    """The default patterns with a package's own after them: the last one that matches decides, `!` takes back.

    `always` are paths that count whatever the patterns say: what the package is started by.
    """

    def __init__(self, patterns: tuple[str, ...] = (), always: frozenset[str] = frozenset()) -> None:
        self._always = always
        spec = GitIgnoreSpec.from_lines((*IGNORED_BY_DEFAULT, *patterns))
        self._matches = lru_cache(maxsize=_KNOWN)(spec.match_file)

    def counts(self, path: str, *, is_folder: bool = False) -> bool:
        """Whether a path, relative to the package folder, counts; below an ignored folder nothing is asked for."""
        if path in self._always:
            return True
        if is_folder and any(kept.startswith(f"{path}/") for kept in self._always):
            return True
        return not self._matches(f"{path}/" if is_folder else path)


@lru_cache(maxsize=256)
def rules(patterns: tuple[str, ...], always: frozenset[str]) -> IgnoreRules:
    """The rules of such a package; packages with the same patterns share them. Raises ValueError for a bad pattern."""
    return IgnoreRules(patterns, always)
